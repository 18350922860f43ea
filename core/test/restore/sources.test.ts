/** Restoring from several repositories: which of them are read, which backups they hold together, which copy counts. */
import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { ArchiveError, type ErrorCode } from '../../src/contracts/errors.ts';
import type { CallOptions, Storage } from '../../src/contracts/storage.ts';
import type { BackupRecord } from '../../src/repository/backup-record.ts';
import { bodyOf, collect } from '../../src/repository/objects.ts';
import type { Repository } from '../../src/repository/repository.ts';
import { BackupSource, plainName } from '../../src/restore/backup-source.ts';
import { findBackups } from '../../src/restore/choose-backup.ts';
import { RestoreSources } from '../../src/restore/sources.ts';
import { keysOf, memoryRepository, memoryStorage } from '../repository/repository.ts';
import { ID, SAMPLE_FACTS, SYSTEM } from '../repository/sample-record.ts';

const PART = Buffer.alloc(300_000, 'of the part');

/** A repository of which every read can be made to fail, or to wait for ever. */
interface Place {
  readonly repository: Repository;
  readonly storage: Storage;
  fault: ErrorCode | 'silent' | undefined;
  reads: number;
}

async function place(name: string, options: { readonly compressed?: boolean } = {}): Promise<Place> {
  const storage = await memoryStorage();
  const state: Pick<Place, 'fault' | 'reads'> = { fault: undefined, reads: 0 };
  const check = async (call: CallOptions | undefined): Promise<void> => {
    state.reads++;
    if (state.fault === undefined) return;
    if (state.fault !== 'silent') throw new ArchiveError(state.fault, `fails with ${state.fault}`);
    await new Promise((_, reject) => {
      call?.signal?.addEventListener('abort', () => reject(new ArchiveError('ABORTED', 'cancelled')));
    });
  };
  const watched: Storage = {
    capabilities: storage.capabilities,
    put: (...call) => storage.put(...call),
    stat: (...call) => storage.stat(...call),
    remove: (...call) => storage.remove(...call),
    close: () => storage.close(),
    get: async function* (key, call) {
      await check(call);
      yield* storage.get(key, call);
    },
    list: async function* (prefix, call) {
      await check(call);
      yield* storage.list(prefix, call);
    },
  };
  const repository = await memoryRepository({ name, storage: watched, ...options });
  await repository.open({ create: true });
  return Object.assign(state, { repository, storage });
}

async function backUp({ repository }: Place, more: Partial<BackupRecord> = {}): Promise<BackupRecord> {
  const backups = repository.backups(SYSTEM);
  const id = more.id ?? ID;
  const put = (name: string, content: Uint8Array): ReturnType<typeof backups.putObject> =>
    backups.putObject(id, name, bodyOf(content), { plainHash: name !== 'base/0000.tar' });
  const record: BackupRecord = {
    ...SAMPLE_FACTS,
    id,
    dataSize: PART.byteLength,
    parts: [{ ...(await put('base/0000.tar', PART)), archive: 'base', number: 0, entries: 1 }],
    manifest: await put('backup_manifest', Buffer.from('the manifest')),
    fileList: await put('files.json', Buffer.from('the list')),
    ...more,
  };
  await backups.commit(record);
  return record;
}

async function change({ storage }: Place, part: string, how: (bytes: Buffer) => Uint8Array): Promise<void> {
  const key = (await keysOf(storage)).find((candidate) => candidate.includes(part)) ?? '';
  const bytes = Buffer.from(await collect(storage.get(key), key));
  await storage.put(key, bodyOf(how(bytes)), { ifAbsent: false });
}

const flip = (bytes: Buffer): Uint8Array => {
  const at = bytes.byteLength - 30;
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  return bytes;
};

async function two(): Promise<readonly [Place, Place]> {
  return [await place('a'), await place('b', { compressed: false })];
}

const open = ([a, b]: readonly [Place, Place], options: Parameters<typeof RestoreSources.open>[1] = {}) =>
  RestoreSources.open([a.repository, b.repository], options);
const names = ({ repositories }: RestoreSources): readonly string[] => repositories.map(({ name }) => name);

test('repositories that answer are read, one that does not is left out with a warning', async () => {
  const places = await two();
  expect(names(await open(places))).toEqual(['a', 'b']);
  places[0].fault = 'STORAGE_DENIED';
  const sources = await open(places);
  expect(names(sources)).toEqual(['b']);
  expect(sources.warnings).toEqual([
    'repository a could not be read (fails with STORAGE_DENIED): left out; what only it holds is unknown',
  ]);
  places[1].fault = 'STORAGE_UNAVAILABLE';
  expect(sources.doubt(['there may be more'])).toEqual({
    code: 'STORAGE_DENIED',
    message: 'there may be more; repository a could not be read (fails with STORAGE_DENIED): left out',
    hint: expect.stringMatching(/^Check credentials .* name what to restore from: --repository b\.$/) as string,
  });
  await expect(open(places)).rejects.toMatchObject({
    code: 'STORAGE_UNAVAILABLE',
    message: 'repository a: fails with STORAGE_DENIED; repository b: fails with STORAGE_UNAVAILABLE',
  });
});

test('one that says nothing is waited for only as long as it may take, once another has answered', async () => {
  const places = await two();
  places[0].fault = 'silent';
  const sources = await open(places, { patience: 20 });
  expect(names(sources)).toEqual(['b']);
  expect(sources.warnings).toEqual([expect.stringContaining('it gave no answer within 0.02 s')]);
  places[1].fault = 'silent';
  const abort = new AbortController();
  const opening = open(places, { patience: 20, signal: abort.signal });
  setTimeout(() => abort.abort(), 50);
  await expect(opening).rejects.toMatchObject({ code: 'ABORTED' });
});

test('a single repository is as before: its own error, and nothing is left out', async () => {
  const [a] = await two();
  a.fault = 'STORAGE_UNAVAILABLE';
  await expect(RestoreSources.open([a.repository])).rejects.toMatchObject({
    message: 'fails with STORAGE_UNAVAILABLE',
  });
  const sources = new RestoreSources([a.repository]);
  expect(sources.leaveOut(new ArchiveError('STORAGE_UNAVAILABLE', 'gone', { details: { repository: 'a' } }))).toBe(
    false,
  );
});

test('a repository that fails as a whole while the plan is made is left out; damage and conflicts are not its end', async () => {
  const places = await two();
  const sources = await open(places);
  for (const code of ['STORAGE_CORRUPT', 'CODEC_KEY', 'WAL_CONFLICT', 'ABORTED'] as const)
    expect(sources.leaveOut(new ArchiveError(code, 'x', { details: { repository: 'a' } })), code).toBe(false);
  places[0].fault = 'STORAGE_UNAVAILABLE';
  const failed: unknown = await sources
    .wal(SYSTEM)
    .timelines()
    .catch((error: unknown) => error);
  expect(sources.leaveOut(failed)).toBe(true);
  expect(names(sources)).toEqual(['b']);
  expect(sources.leaveOut(failed)).toBe(false);
  // What is not found now may be there.
  expect(sources.withDoubt(new ArchiveError('BACKUP_NOT_FOUND', 'there is no backup'))).toMatchObject({
    code: 'STORAGE_UNAVAILABLE',
    message: 'there is no backup; repository a could not be read (fails with STORAGE_UNAVAILABLE): left out',
  });
  expect(sources.withDoubt(new ArchiveError('BACKUP_CORRUPT', 'torn'))).toMatchObject({ code: 'BACKUP_CORRUPT' });
});

test('a repository without the cluster is left out, and what it should hold is in doubt: its disk may not be mounted', async () => {
  const places = await two();
  for (const key of await keysOf(places[0].storage)) await places[0].storage.remove([key]);
  const sources = await open(places);
  expect(names(sources)).toEqual(['b']);
  expect(sources.warnings).toEqual(['repository a has no cluster "main": left out; what only it holds is unknown']);
  const hint = expect.stringMatching(/mounted.* name what to restore from: --repository b\.$/) as string;
  expect(sources.withDoubt(new ArchiveError('BACKUP_NOT_FOUND', 'there is no backup'))).toMatchObject({
    code: 'REPOSITORY_NOT_FOUND',
    message: 'there is no backup; repository a has no cluster "main": left out',
    hint,
  });
  expect(sources.doubt(['x'])).toMatchObject({ code: 'REPOSITORY_NOT_FOUND', hint });
});

test('a repository that has its marker, and nothing else of the cluster, leaves the same doubt', async () => {
  const sources = await open(await two());
  expect(sources.doubt(['x'])).toBeUndefined();
  sources.leaveOutEmpty(['a'], SYSTEM);
  expect(names(sources)).toEqual(['b']);
  expect(sources.doubt(['x'])).toMatchObject({
    code: 'REPOSITORY_NOT_FOUND',
    message: `x; repository a holds nothing of the cluster ${SYSTEM}: left out`,
  });
});

test('a backup that both hold is one, with two copies; what only one has, or has damaged, is found all the same', async () => {
  const [a, b] = await two();
  await backUp(a);
  await backUp(b);
  const later = { id: '20261121T074530Z-0001', stopLsn: '0/3000158' };
  await backUp(b, later);
  const both = [a.repository, b.repository] as const;
  const found = await findBackups(both, {});
  expect(found.records.map(({ id }) => id)).toEqual([ID, later.id]);
  const copies = (id: string): unknown => found.copies.get(id)?.map(({ repository }) => repository.name);
  expect([copies(ID), copies(later.id)]).toEqual([['a', 'b'], ['b']]);
  expect(found).toMatchObject({ systemId: SYSTEM, warnings: [], empty: [] });

  await change(a, 'backup.json', () => Buffer.from('{'));
  const mended = await findBackups(both, {});
  expect(mended.copies.get(ID)?.map(({ repository }) => repository.name)).toEqual(['b']);
  expect(mended.warnings).toEqual([expect.stringMatching(`^backup ${ID} in repository a is passed over: `)]);
  b.fault = 'STORAGE_UNAVAILABLE';
  await expect(findBackups(both, {})).rejects.toMatchObject({ details: { repository: 'b' } });
});

test('two backups of one id are not taken for copies of each other', async () => {
  const [a, b] = await two();
  await backUp(a);
  await backUp(b, { stopLsn: '0/2000300' });
  const found = await findBackups([a.repository, b.repository], {});
  expect(found.copies.get(ID)?.map(({ repository }) => repository.name)).toEqual(['a']);
  expect(found.warnings).toEqual([expect.stringMatching(/in repository b is passed over: it is another one/)]);
});

test('a repository that holds nothing of the cluster is told from one that has none of its backups', async () => {
  const [a, b] = await two();
  await backUp(a);
  const both = [a.repository, b.repository] as const;
  expect((await findBackups(both, { systemId: SYSTEM })).empty).toEqual(['b']);
  await b.repository.wal(SYSTEM).push('00000002.history', { bytes: randomBytes(10) });
  expect((await findBackups(both, {})).empty).toEqual([]);
});

/** One backup in two repositories, and what is said while it is read. */
async function twoCopies(): Promise<{
  a: Place;
  b: Place;
  record: BackupRecord;
  warnings: string[];
  source: BackupSource;
}> {
  const [a, b] = await two();
  const record = await backUp(a);
  const copies = [
    { repository: a.repository, record },
    { repository: b.repository, record: await backUp(b) },
  ];
  const warnings: string[] = [];
  return { a, b, record, warnings, source: new BackupSource(copies, (text) => void warnings.push(text)) };
}

test('a damaged part begins anew with the next copy, and the warning names the bad one', async () => {
  const { a, b, record, warnings, source } = await twoCopies();
  const used: string[] = [];
  const read = (): Promise<Uint8Array> =>
    source.read(record.parts[0] ?? record.manifest, (stream, name) => {
      used.push(name);
      return collect(stream, name);
    });
  expect(PART.equals(await read())).toBe(true);
  expect(used).toEqual(['base/0000.tar.zst']);
  await change(a, '0000.tar', flip);
  expect(PART.equals(await read())).toBe(true);
  expect(used.slice(1)).toEqual(['base/0000.tar.zst', 'base/0000.tar']);
  expect(warnings).toEqual([
    expect.stringMatching(/^base\/0000\.tar\.zst of backup .* in repository a .*; repository b was used$/),
  ]);
  await change(b, '0000.tar', flip);
  await expect(read()).rejects.toMatchObject({
    message: expect.stringMatching(/^repository a: .*; repository b: /) as string,
  });
});

test('a repository that is down is read last from then on; what no copy heals is thrown at once', async () => {
  const { a, record, warnings, source } = await twoCopies();
  const read = (): Promise<Uint8Array> => source.read(record.manifest, (stream, name) => collect(stream, name));
  a.fault = 'STORAGE_UNAVAILABLE';
  a.reads = 0;
  for (let time = 0; time < 3; time++) expect(Buffer.from(await read()).toString()).toBe('the manifest');
  expect(a.reads).toBe(1);
  expect(warnings).toHaveLength(1);

  let uses = 0;
  const full = source.read(record.manifest, async () => {
    uses++;
    throw new ArchiveError('RESTORE_FAILED', 'the disk is full');
  });
  await expect(full).rejects.toMatchObject({ code: 'RESTORE_FAILED', message: 'the disk is full' });
  expect(uses).toBe(1);
});

test('objects have one plain name whatever their codecs', () => {
  expect(
    ['base/0000.tar', 'base/0000.tar.zst.age', 'files.json.gz', 'backup_manifest', 'backup_manifest.zst'].map(
      plainName,
    ),
  ).toEqual(['base/0000.tar', 'base/0000.tar', 'files.json', 'backup_manifest', 'backup_manifest']);
});
