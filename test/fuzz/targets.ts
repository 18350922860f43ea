/** The codecs that are fuzzed, alone and in the chains that configs have. */
import { AesGcmCodec } from '@pgark/codec-aes-gcm';
import { AgeCodec } from '@pgark/codec-age';
import { GzipCodec } from '@pgark/codec-gzip';
import { Lz4Codec } from '@pgark/codec-lz4';
import { ZstdCodec } from '@pgark/codec-zstd';
import { abortable, Secret, type Codec } from '@pgark/sdk';
import { chainCodecs } from '@pgark/sdk/testing';
import { constants, gzipSync, zstdCompressSync } from 'node:zlib';

export interface FuzzTarget {
  readonly create: () => Codec;
  /** Bytes of content in the largest piece that is worked on alone. */
  readonly blockSize: number;
  /** Whether streams, one after the other, are a stream again. */
  readonly concatenates: boolean;
}

const MIB = 1024 * 1024;

// Keys of these tests, always the same, so that a stream that was kept can be decoded again.
const AGE_RECIPIENT = 'age1rt80jg6fgkjwqe8aekvj97dt27076mza0kydnm7gu48xa6gafefq6k88le';
const AGE_SECRET = 'AGE-SECRET-KEY-13V8MWNR2J483AA9SSU5TH2PE9KY0S438T27U0XEVV7GRQC0PQWTQJR3JVR';
const AES_KEY = Buffer.alloc(32, 'fuzz').toString('base64');

const age = (): Codec =>
  new AgeCodec({ recipients: [AGE_RECIPIENT] }, { identities: async () => [new Secret(AGE_SECRET)] });
const aesGcm = (): Codec => new AesGcmCodec({ keys: [{ id: 'fuzz', key: new Secret(AES_KEY) }] });

/** Decodes with `codec` what another producer of the format writes, all of it in one piece. */
function writtenBy(codec: Codec, compress: (content: Buffer) => Uint8Array): Codec {
  return {
    id: codec.id,
    suffix: codec.suffix,
    async *encode(source, { signal }) {
      const chunks: Uint8Array[] = [];
      for await (const chunk of abortable(source, signal, codec.id)) chunks.push(chunk);
      yield compress(Buffer.concat(chunks));
    },
    decode: (source, context) => codec.decode(source, context),
  };
}

/** One frame of any size goes another way than the small ones that the codec itself writes. */
const oneZstdFrame = (content: Buffer): Uint8Array =>
  zstdCompressSync(content, { params: { [constants.ZSTD_c_checksumFlag]: 1, [constants.ZSTD_c_windowLog]: 23 } });

export const FUZZ_TARGETS: Readonly<Record<string, FuzzTarget>> = {
  gzip: { create: () => new GzipCodec({ level: 1 }), blockSize: MIB, concatenates: true },
  zstd: { create: () => new ZstdCodec({ level: 1 }), blockSize: MIB, concatenates: true },
  lz4: { create: () => new Lz4Codec(), blockSize: MIB, concatenates: true },
  'gzip-foreign': {
    create: () => writtenBy(new GzipCodec({ level: 1 }), (content) => gzipSync(content, { level: 3 })),
    blockSize: 2 * MIB,
    concatenates: true,
  },
  'zstd-foreign': {
    create: () => writtenBy(new ZstdCodec({ level: 1 }), oneZstdFrame),
    blockSize: 4 * MIB,
    concatenates: true,
  },
  age: { create: age, blockSize: MIB, concatenates: false },
  'aes-gcm': { create: aesGcm, blockSize: MIB, concatenates: false },
  'zstd+age': {
    create: () => chainCodecs(new ZstdCodec({ level: 1 }), age()),
    blockSize: MIB,
    concatenates: false,
  },
  'lz4+aes-gcm': { create: () => chainCodecs(new Lz4Codec(), aesGcm()), blockSize: MIB, concatenates: false },
};
