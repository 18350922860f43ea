/** What the repository offers for copying: listing everything, comparing what is there, streams whose digest is known. */
import { createHash, randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { isArchiveError } from '../../src/contracts/errors.ts';
import { splitObjectName } from '../../src/repository/backups.ts';
import { bodyOf, putBytes } from '../../src/repository/objects.ts';
import { keysOf, memoryRepository, memoryStorage } from './repository.ts';

const SYSTEM = '7710493345181022616';
const ID = '20261121T064530Z-fd70';
const SEGMENT = '000000010000000A000000FE';
const SIZE = 16 << 20;
const digestOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex').slice(0, 32);
const code = (wanted: string): unknown => expect.toSatisfy((error) => isArchiveError(error) && error.code === wanted);

test('the name of an object is taken apart, whatever the codecs', () => {
  expect(
    [
      'base/0000.tar.zst.age',
      '16385/0001.tar',
      'backup_manifest.gz',
      'files.json.zst',
      'backup_manifest',
      'base/0000.tarzan',
    ].map(splitObjectName),
  ).toEqual([
    { name: 'base/0000.tar', suffixes: ['zst', 'age'] },
    { name: '16385/0001.tar', suffixes: [] },
    { name: 'backup_manifest', suffixes: ['gz'] },
    { name: 'files.json', suffixes: ['zst'] },
    { name: 'backup_manifest', suffixes: [] },
    { name: 'base/0000', suffixes: ['tarzan'] },
  ]);
});

test('an object that is there is compared with plain bytes, and told as it was when it was stored', async () => {
  for (const compressed of [true, false]) {
    const storage = await memoryStorage();
    const backups = (await memoryRepository({ storage, compressed })).backups(SYSTEM);
    const bytes = randomBytes(3_000_000);
    const stored = await backups.putObject(ID, 'base/0000.tar', bodyOf(bytes));
    expect(await backups.matchObject(ID, 'base/0000.tar', bodyOf(bytes))).toEqual(stored);
    for (const other of [bytes.subarray(0, -1), Buffer.concat([bytes, Buffer.from('x')]), randomBytes(3_000_000)])
      expect(await backups.matchObject(ID, 'base/0000.tar', bodyOf(other))).toBeUndefined();
    expect([...(await backups.objectNames(ID))]).toEqual([stored.name]);
    // One that is damaged is not equal, and not taken for one that is merely different.
    const key = `main/${SYSTEM}/backups/${ID}/${stored.name}`;
    expect(await keysOf(storage)).toEqual([key]);
    if (!compressed) continue;
    await storage.remove([key]);
    await putBytes(storage, key, randomBytes(1000));
    await expect(backups.matchObject(ID, 'base/0000.tar', bodyOf(bytes))).rejects.toEqual(code('CODEC_CORRUPT'));
  }
});

test('a stream whose digest is known is read once, and stored only if the digest is right', async () => {
  const storage = await memoryStorage();
  const wal = (await memoryRepository({ storage })).wal(SYSTEM);
  const bytes = randomBytes(100_000);
  let readings = 0;
  const read = (): AsyncIterable<Uint8Array> => {
    readings++;
    return bodyOf(bytes);
  };
  await expect(wal.push(SEGMENT, { digest: digestOf(randomBytes(1)), read })).rejects.toEqual(code('STORAGE_CORRUPT'));
  expect(await keysOf(storage)).toEqual([]);
  expect(await wal.push(SEGMENT, { digest: digestOf(bytes), read })).toBe('stored');
  expect(await wal.push(SEGMENT, { digest: digestOf(bytes), read })).toBe('present');
  expect(readings).toBe(2);
  await expect(wal.push(SEGMENT, { digest: digestOf(randomBytes(1)), read })).rejects.toEqual(code('WAL_CONFLICT'));
});

test('everything of a timeline from a segment on is listed in order', async () => {
  const wal = (await memoryRepository()).wal(SYSTEM);
  const bytes = randomBytes(100);
  for (const name of [
    '000000010000000A000000FD',
    SEGMENT,
    `${SEGMENT}.00000028.backup`,
    `${SEGMENT}.partial`,
    '000000010000000B00000000',
    '00000001.history',
    '000000020000000B00000000',
  ])
    await wal.push(name, { bytes });
  for (const from of [0, 100]) await wal.pushTail(SEGMENT, from, from + 100, bytes);
  const names: string[] = [];
  for await (const entry of wal.contents(1, { from: 0xafen, segmentSize: SIZE }))
    names.push('file' in entry ? entry.file.name : `${entry.segment.name} ${entry.from}-${entry.to}`);
  expect(names).toEqual([
    SEGMENT,
    `${SEGMENT}.00000028.backup`,
    `${SEGMENT}.partial`,
    `${SEGMENT} 0-100`,
    `${SEGMENT} 100-200`,
    '000000010000000B00000000',
  ]);
});
