import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { isArchiveError } from '../../src/contracts/errors.ts';
import type { BackupRecord } from '../../src/repository/backup-record.ts';
import { bodyOf, collect, putBytes } from '../../src/repository/objects.ts';
import { keysOf, memoryRepository, memoryStorage } from './repository.ts';
import { ID, SAMPLE_FACTS, SYSTEM } from './sample-record.ts';

const code = (wanted: string): unknown => expect.toSatisfy((error) => isArchiveError(error) && error.code === wanted);

async function record(catalog: Awaited<ReturnType<typeof memoryRepository>>, id: string): Promise<BackupRecord> {
  const backups = catalog.backups(SYSTEM);
  const put = (name: string): ReturnType<typeof backups.putObject> =>
    backups.putObject(id, name, bodyOf(randomBytes(1000)));
  return {
    ...SAMPLE_FACTS,
    id,
    dataSize: 1000,
    parts: [{ ...(await put('base/0000.tar')), archive: 'base', number: 0, entries: 1 }],
    manifest: await put('backup_manifest'),
    fileList: await put('files.json'),
  };
}

test('a backup exists when its record is written, and gives its objects back', async () => {
  const storage = await memoryStorage();
  const repository = await memoryRepository({ storage });
  const backups = repository.backups(SYSTEM);
  const written = await record(repository, ID);
  expect(await backups.list()).toEqual([{ id: ID, state: 'incomplete' }]);
  await expect(backups.read(ID)).rejects.toEqual(code('BACKUP_NOT_FOUND'));
  await backups.commit(written);
  expect(await backups.list()).toEqual([{ id: ID, state: 'complete', record: written }]);
  const prefix = `main/${SYSTEM}/backups/${ID}/`;
  expect(await keysOf(storage)).toEqual(
    ['backup.json', 'backup_manifest.zst', 'base/0000.tar.zst', 'files.json.zst'].map((name) => prefix + name),
  );
  const [part] = written.parts;
  if (part === undefined) throw new Error('no part');
  expect((await collect(backups.readObject(ID, part), 'part')).byteLength).toBe(1000);
});

test('H-30 an interrupted backup is never taken for a whole one, and one record is never written over another', async () => {
  const repository = await memoryRepository();
  const backups = repository.backups(SYSTEM);
  await backups.commit(await record(repository, ID));
  await expect(backups.commit(await record(repository, ID).catch(() => backups.read(ID)))).rejects.toEqual(
    code('STORAGE_EXISTS'),
  );
  await backups.putObject('20261121T064531Z-0000', 'base/0000.tar', bodyOf(randomBytes(10)));
  expect((await backups.list()).map(({ id, state }) => [id, state])).toEqual([
    [ID, 'complete'],
    ['20261121T064531Z-0000', 'incomplete'],
  ]);
});

test('a compressed part is hashed as it is stored, a plain one once, and both are verified', async () => {
  for (const compressed of [true, false]) {
    const storage = await memoryStorage();
    const backups = (await memoryRepository({ storage, compressed })).backups(SYSTEM);
    const part = await backups.putObject(ID, 'base/0000.tar', bodyOf(randomBytes(100_000)), { plainHash: false });
    expect(part.plainSha256 === undefined).toBe(compressed);
    expect((await collect(backups.readObject(ID, part), 'part')).byteLength).toBe(100_000);
    const other = { ...part, storedSha256: '0'.repeat(64) };
    await expect(collect(backups.readObject(ID, other), 'part')).rejects.toEqual(code('STORAGE_CORRUPT'));
  }
});

test('a record that can not be read is shown, not left out', async () => {
  const storage = await memoryStorage();
  const repository = await memoryRepository({ storage });
  const key = `main/${SYSTEM}/backups/${ID}/backup.json`;
  await putBytes(storage, key, Buffer.from('{"format": 2}'));
  const [entry] = await repository.backups(SYSTEM).list();
  expect(entry).toMatchObject({ id: ID, state: 'unreadable', error: { code: 'REPOSITORY_FORMAT' } });
});

test('H-59 a damaged part is an error before its last byte is given out as good', async () => {
  const storage = await memoryStorage();
  const repository = await memoryRepository({ storage, compressed: false });
  const written = await record(repository, ID);
  const [part] = written.parts;
  if (part === undefined) throw new Error('no part');
  const key = `main/${SYSTEM}/backups/${ID}/${part.name}`;
  await storage.remove([key]);
  await putBytes(storage, key, randomBytes(part.storedSize));
  await expect(collect(repository.backups(SYSTEM).readObject(ID, part), 'part')).rejects.toEqual(
    code('STORAGE_CORRUPT'),
  );
});

test('the format marker: created once, checked ever after', async () => {
  const storage = await memoryStorage();
  await expect((await memoryRepository({ storage })).open()).rejects.toEqual(code('REPOSITORY_NOT_FOUND'));
  await Promise.all([1, 2, 3].map(async () => (await memoryRepository({ storage })).open({ create: true })));
  await (await memoryRepository({ storage })).open();
  expect(await keysOf(storage)).toEqual(['main/pgark.json']);
  await storage.remove(['main/pgark.json']);
  await putBytes(storage, 'main/pgark.json', Buffer.from('{"format": 99, "cluster": "main"}'));
  await expect((await memoryRepository({ storage })).open()).rejects.toEqual(code('REPOSITORY_FORMAT'));
});

test('H-57 a cluster whose name begins with that of another is not listed with it', async () => {
  const storage = await memoryStorage();
  for (const cluster of ['db1', 'db10']) {
    const repository = await memoryRepository({ storage, cluster });
    await repository.open({ create: true });
    await repository.wal(cluster === 'db1' ? '1' : '10').push('00000002.history', { bytes: Buffer.from('x') });
  }
  expect(await (await memoryRepository({ storage, cluster: 'db1' })).systemIds()).toEqual(['1']);
});

test('facts come back in order', async () => {
  const facts = (await memoryRepository()).facts(SYSTEM);
  const gap = (time: number): { kind: string; time: number; data: object } => ({
    kind: 'gap',
    time,
    data: { from: '0/1', to: '0/2' },
  });
  for (const time of [2000, 1000]) await facts.add('wal', { ...gap(time), data: { time } });
  expect((await facts.list('wal')).map(({ time }) => time)).toEqual([1000, 2000]);
  await expect(facts.add('wal', { ...gap(1000), data: {} })).rejects.toEqual(code('STORAGE_EXISTS'));
  expect(await facts.list(ID)).toEqual([]);
});
