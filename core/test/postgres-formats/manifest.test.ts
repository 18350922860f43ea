import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isArchiveError, type ArchiveError } from '../../src/contracts/errors.ts';
import { bytesToText, hasRawBytes, textToBytes } from '../../src/postgres/lossless-text.ts';
import { ManifestReader, readManifest, type Manifest, type ManifestFile } from '../../src/postgres/manifest.ts';

const SHA = 'a'.repeat(64);
const FILES = [
  `{ "Path": "backup_label", "Size": 227, "Last-Modified": "2026-11-21 05:33:13 GMT", "Checksum-Algorithm": "SHA256", "Checksum": "${SHA}" }`,
  `{ "Path": "base/5/16388", "Size": 8192, "Last-Modified": "2026-11-21 05:33:13 GMT", "Checksum-Algorithm": "CRC32C", "Checksum": "8A744722" }`,
  `{ "Encoded-Path": "62ff", "Size": 0, "Last-Modified": "2026-11-21 05:33:13 GMT" }`,
];
const RANGES = [
  '{ "Timeline": 2, "Start-LSN": "16/B374D848", "End-LSN": "16/B374D948" }',
  '{ "Timeline": 1, "Start-LSN": "16/B3000028", "End-LSN": "16/B374D848" }',
];

function seal(body: string | Uint8Array): Buffer {
  const bytes = Buffer.from(body);
  return Buffer.concat([
    bytes,
    Buffer.from(`"Manifest-Checksum": "${createHash('sha256').update(bytes).digest('hex')}"}\n`),
  ]);
}

function body(files: readonly string[] = FILES, ranges: readonly string[] = RANGES, version = 2): string {
  const systemId = version === 2 ? '"System-Identifier": 7710493345181022616,\n' : '';
  return `{ "PostgreSQL-Backup-Manifest-Version": ${version},\n${systemId}"Files": [\n${files.join(',\n')}\n],\n"WAL-Ranges": [\n${ranges.join(',\n')}\n],\n`;
}

const read = (bytes: Uint8Array, ...more: Uint8Array[]): Promise<Manifest> =>
  readManifest([bytes, ...more], 'b1/manifest');

async function refused(bytes: string | Uint8Array): Promise<ArchiveError> {
  try {
    await read(Buffer.from(bytes));
  } catch (error) {
    if (!isArchiveError(error, 'BACKUP_CORRUPT')) throw error;
    expect(error.message).toMatch(/^b1\/manifest /);
    return error;
  }
  throw new Error('the manifest was not refused');
}

describe('a backup manifest', () => {
  test('H-35 is read without losing a digit or a byte of a name', async () => {
    const manifest = await read(seal(body()));
    expect(manifest).toMatchObject({ version: 2, systemId: '7710493345181022616', fileCount: 3 });
    expect([...manifest.files.values()]).toEqual([
      {
        path: 'backup_label',
        size: 227,
        lastModified: '2026-11-21 05:33:13 GMT',
        algorithm: 'SHA256',
        checksum: SHA,
      },
      {
        path: 'base/5/16388',
        size: 8192,
        lastModified: '2026-11-21 05:33:13 GMT',
        algorithm: 'CRC32C',
        checksum: '8a744722',
      },
      {
        path: 'b\udcff',
        size: 0,
        lastModified: '2026-11-21 05:33:13 GMT',
        algorithm: 'NONE',
        checksum: undefined,
      },
    ]);
    expect(manifest.walRanges).toEqual([
      { timeline: 2, start: 0x16b374d848n, end: 0x16b374d948n },
      { timeline: 1, start: 0x16b3000028n, end: 0x16b374d848n },
    ]);
  });

  test('of version 1 has no system identifier', async () => {
    expect(await read(seal(body(FILES, RANGES, 1)))).toMatchObject({ version: 1, systemId: undefined, fileCount: 3 });
  });

  test('may be without files', async () => {
    const empty = body().replace(/"Files": \[\n[^]*?\n\],/, '"Files": [\n],');
    expect(await read(seal(empty))).toMatchObject({ fileCount: 0 });
  });

  test('is read the same, split at every border, and byte by byte', async () => {
    const bytes = seal(body());
    const expected = await read(bytes);
    for (let at = 0; at <= bytes.byteLength; at++)
      expect(await read(bytes.subarray(0, at), bytes.subarray(at))).toEqual(expected);
    expect(await readManifest(Array.from(bytes, (byte) => Uint8Array.of(byte)))).toEqual(expected);
  });

  test('holds no bytes of a chunk that its caller uses again', async () => {
    const bytes = seal(body());
    const reused = Buffer.alloc(100);
    const files: ManifestFile[] = [];
    const reader = new ManifestReader({ file: (file) => void files.push(file) });
    for (let at = 0; at < bytes.byteLength; at += 100) {
      const size = bytes.copy(reused, 0, at);
      reader.push(reused.subarray(0, size));
      reused.fill(0);
    }
    expect(reader.end().fileCount).toBe(3);
    expect(files).toEqual([...(await read(bytes)).files.values()]);
  });

  test('any name comes through', async () => {
    const part = fc
      .uint8Array({ minLength: 1, maxLength: 20 })
      .map((bytes) => bytesToText(bytes.filter((byte) => byte !== 0 && byte !== 0x2f)))
      .filter((text) => !['', '.', '..'].includes(text));
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(part, { maxLength: 8 }), fc.boolean(), async (names, encode) => {
        const lines = names.map((name) => {
          const path = `base/${name}`;
          return encode || hasRawBytes(path)
            ? `{ "Encoded-Path": "${Buffer.from(textToBytes(path)).toString('hex')}", "Size": 1 }`
            : `{ "Path": ${JSON.stringify(path)}, "Size": 1 }`;
        });
        const manifest = await read(seal(lines.length === 0 ? body() : body(lines)));
        if (lines.length > 0) expect([...manifest.files.keys()]).toEqual(names.map((name) => `base/${name}`));
      }),
    );
  });

  test('no altered bit passes', async () => {
    const bytes = seal(body());
    const expected = await read(bytes);
    for (let offset = 0; offset < bytes.byteLength; offset++) {
      for (let bit = 0; bit < 8; bit++) {
        const altered = Buffer.from(bytes);
        altered[offset] = (altered[offset] ?? 0) ^ (1 << bit);
        // The digits of the checksum itself may be in upper case: that changes no value.
        const harmless =
          offset > bytes.byteLength - 70 && bit === 5 && /[a-f]/.test(String.fromCharCode(bytes[offset] ?? 0));
        if (harmless) expect(await read(altered)).toEqual(expected);
        else await refused(altered);
      }
    }
  });

  test('H-30 cut short anywhere is refused', async () => {
    const bytes = seal(body());
    for (let length = 0; length < bytes.byteLength; length++) await refused(bytes.subarray(0, length));
    expect((await refused(bytes.subarray(0, bytes.byteLength - 5))).message).toBe(
      'b1/manifest does not end with the line of its checksum',
    );
  });

  test('says so when its checksum is wrong', async () => {
    const error = await refused(seal(body()).toString().replace('"Size": 227', '"Size": 228'));
    expect(error.message).toBe('b1/manifest does not match its own checksum (line 12)');
  });

  test('H-39 names that lead out of the folder are refused', async () => {
    for (const path of ['/etc/passwd', '../x', 'a/../../x', 'a//b', './a', '', 'a/', 'a\0b']) {
      await refused(seal(body([`{ "Path": ${JSON.stringify(path)}, "Size": 1 }`])));
      const hex = Buffer.from(path).toString('hex');
      await refused(seal(body([`{ "Encoded-Path": "${hex}", "Size": 1 }`])));
    }
  });

  test('a file that is named twice is refused, however it is spelled', async () => {
    const line = '{ "Path": "base/a", "Size": 1 }';
    expect((await refused(seal(body([line, line])))).message).toContain('(line 5)');
    await refused(seal(body([line, '{ "Encoded-Path": "626173652f61", "Size": 1 }'])));
    await refused(seal(body([line, '{ "Path": "base\\/\\u0061", "Size": 1 }'])));
  });

  const size = (value: string): string => `{ "Path": "a", "Size": ${value} }`;
  test.each([
    ['a wrong size', body([size('-1')])],
    ['a size that is no integer', body([size('1.5')])],
    ['a size that is text', body([size('"1"')])],
    ['a size beyond 2^53', body([size('9007199254740993')])],
    ['no size', body(['{ "Path": "a" }'])],
    ['no path', body(['{ "Size": 1 }'])],
    ['two paths', body(['{ "Path": "a", "Encoded-Path": "61", "Size": 1 }'])],
    ['a path that is no hex', body(['{ "Encoded-Path": "6", "Size": 1 }'])],
    ['a path that is no text', body(['{ "Path": "\\udcff", "Size": 1 }'])],
    ['an unknown field', body(['{ "Path": "a", "Size": 1, "Mode": 1 }'])],
    ['an unknown algorithm', body(['{ "Path": "a", "Size": 1, "Checksum-Algorithm": "MD5", "Checksum": "aa" }'])],
    [
      'an inherited algorithm',
      body(['{ "Path": "a", "Size": 1, "Checksum-Algorithm": "toString", "Checksum": "aa" }']),
    ],
    ['no checksum', body(['{ "Path": "a", "Size": 1, "Checksum-Algorithm": "SHA256" }'])],
    ['a short checksum', body(['{ "Path": "a", "Size": 1, "Checksum-Algorithm": "CRC32C", "Checksum": "8a7447" }'])],
    ['a checksum of nothing', body(['{ "Path": "a", "Size": 1, "Checksum": "8a744722" }'])],
    ['a list in place of a file', body(['[]'])],
    ['two files on a line', body([`${size('1')}, ${size('2')}`])],
    ['a missing comma', body([FILES.slice(0, 2).join('\n')])],
    ['a comma too many', body([`${size('1')},`]).replace(',,', ',')],
    ['a wrong LSN', body(FILES, ['{ "Timeline": 1, "Start-LSN": "x", "End-LSN": "0/1" }'])],
    ['an LSN that is a number', body(FILES, ['{ "Timeline": 1, "Start-LSN": 1, "End-LSN": "0/1" }'])],
    ['a range that runs backwards', body(FILES, ['{ "Timeline": 1, "Start-LSN": "0/2", "End-LSN": "0/1" }'])],
    ['timeline 0', body(FILES, ['{ "Timeline": 0, "Start-LSN": "0/1", "End-LSN": "0/1" }'])],
    ['another version', body(FILES, RANGES, 3)],
    ['no system identifier', body().replace(/"System-Identifier.*\n/, '')],
    ['a system identifier in quotes', body().replace('7710493345181022616', '"7710493345181022616"')],
    ['everything on one line', body().replaceAll('\n', ' ')],
    ['no files', body().replace('"Files"', '"Filez"')],
    ['something after the ranges', `${body()}"More": 1,\n`],
    ['a line without end', body([`{ "Path": "${'a'.repeat(70_000)}", "Size": 1 }`])],
  ])('with %s is refused', async (_, text) => {
    await refused(seal(text));
  });

  test('with bytes that are not UTF-8, or with more after its end, is refused', async () => {
    const latin1 = Buffer.from(body(['{ "Path": "\u00e4", "Size": 1 }']), 'latin1');
    expect((await refused(seal(latin1))).message).toContain('UTF-8');
    await refused(Buffer.concat([seal(body()), Buffer.from('\n')]));
    await refused(Buffer.concat([seal(body()), Buffer.from(' ')]));
    await refused(Buffer.concat([seal(body()), seal(body())]));
  });
});
