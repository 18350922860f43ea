import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';

/** An LZ4 frame (lz4_Frame_format.md): version 1, independent blocks, no checksums; one block as it is; the end mark. */
const LZ4 = Buffer.from('04224d186040820500008068656c6c6f00000000', 'hex');

/** The begin of every age file (age-encryption.org/v1) for one X25519 recipient. */
const AGE = [
  'age-encryption.org/v1',
  '-> X25519 TEiF0ypqr+bpvcqXNyCVJpL7OuwPdVwPL7KQEbFDOCc',
  'EmECAEcKN+n/Vs9SbWiV+Hu0r+E8R77DdWYyd83nw7U',
  '--- Vn+54jqiiUCE+WZcEVY3f1sqHjlu/z1LCQ/T7Xm7qI0\n',
].join('\n');

/** Begins of formats of which this process has no writer. */
const MAGIC: readonly (readonly [string, string])[] = [
  ['a bzip2 file', '425a6839314159265359'],
  ['an xz file', 'fd377a585a000004e6d6b446'],
  ['a zip file', '504b0304140000000800'],
  ['an OpenPGP message', '8c0d04090302'],
  ['an encrypted file of OpenSSL', '53616c7465645f5f0102030405060708'],
];

/**
 * Streams of other formats than that of `own`, whole or only begun, each with its name; `content` is what is in them. What begins with the
 * same two bytes is of the same format: zlib has no longer mark.
 */
export function foreignStreams(own: Uint8Array, content: Uint8Array): readonly (readonly [string, Uint8Array])[] {
  const samples: readonly (readonly [string, Uint8Array])[] = [
    ['a gzip stream', gzipSync(content)],
    ['an empty gzip stream', gzipSync(new Uint8Array(0))],
    ['a zlib stream', deflateSync(content)],
    ['a raw deflate stream', deflateRawSync(content)],
    ['a brotli stream', brotliCompressSync(content)],
    ['a zstd stream', zstdCompressSync(content)],
    ['an lz4 frame', LZ4],
    ['an age file', Buffer.concat([Buffer.from(AGE), content])],
    ['an age file of a header only', Buffer.from(AGE)],
    ...MAGIC.map(([what, hex]) => [what, Buffer.concat([Buffer.from(hex, 'hex'), content])] as const),
  ];
  return samples.filter(([, bytes]) => {
    if (isZlib(own) && isZlib(bytes)) return false;
    return Buffer.compare(bytes.subarray(0, 2), own.subarray(0, 2)) !== 0;
  });
}

/** By its two bytes of header (RFC 1950, 2.2), of which the second depends on the level. */
function isZlib([first = 0, second = 0]: Uint8Array): boolean {
  return (first & 0x0f) === 8 && (first * 256 + second) % 31 === 0;
}
