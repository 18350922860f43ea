import { describe, expect, test } from 'vitest';
import type { Codec } from '../../src/contracts/codec.ts';
import { ArchiveError } from '../../src/contracts/errors.ts';
import type { GetOptions, Storage } from '../../src/contracts/storage.ts';
import { surveyKeys, type KeyRow } from '../../src/keys/survey.ts';
import { keyFailure, keyStateOf, type AtHand } from '../../src/keys/verdict.ts';
import { bodyOf, putBytes } from '../../src/repository/objects.ts';
import type { Repository } from '../../src/repository/repository.ts';
import { makeBackup, pushWal, SYSTEM, walName } from '../copy/archives.ts';
import { keysOf, memoryStorage } from '../repository/repository.ts';
import { keyed, keyedRepository } from './keyed.ts';

const OLD = '20261101T000000Z-0001';
const NEW = '20261102T000000Z-0002';

/** The rows, without what most tests do not ask for. */
const short = (rows: readonly KeyRow[]): unknown[] =>
  rows.map(({ kind, first, last, layers, readable }) => [
    kind,
    first,
    last,
    layers.flatMap(({ keyIds }) => keyIds).join(' '),
    readable,
  ]);

const numbers = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, at) => from + at);

/** The error that "pgark keys" ends with. */
async function failureFor(
  repository: Repository,
  rows: readonly KeyRow[],
  atHand: AtHand,
): Promise<ArchiveError | undefined> {
  return keyFailure(repository, rows, await keyStateOf(repository, rows, atHand));
}

/** The codec, without what CODEC-08 asks of it. */
function silentOf(codec: Codec): Codec {
  const { suffix, keyIds = [] } = codec;
  return {
    id: 'silent',
    suffix,
    keyIds,
    encode: (...call) => codec.encode(...call),
    decode: (...call) => codec.decode(...call),
  };
}

/** A storage that tells of reads. */
function watched(inner: Storage, onGet: (key: string, options: GetOptions, bytes: number) => void): Storage {
  return {
    capabilities: inner.capabilities,
    put: (...call) => inner.put(...call),
    get: async function* (key, options = {}) {
      for await (const chunk of inner.get(key, options)) {
        onGet(key, options, chunk.byteLength);
        yield chunk;
      }
    },
    stat: (...call) => inner.stat(...call),
    list: (...call) => inner.list(...call),
    remove: (...call) => inner.remove(...call),
    close: () => inner.close(),
  };
}

/** A backup and 40 segments for k1, then a backup and segments from 40 on for k2. */
async function rotated(storage: Storage): Promise<void> {
  const before = await keyedRepository({ storage, writes: ['zst', keyed({ for: ['k1'], held: ['k1'] })] });
  await makeBackup(before, OLD, { from: 1, to: 2 });
  await pushWal(before, 1, numbers(1, 40));
  const after = await keyedRepository({ storage, writes: ['zst', keyed({ for: ['k2'], held: ['k1', 'k2'] })] });
  await makeBackup(after, NEW, { from: 41, to: 42 });
  await pushWal(after, 1, numbers(40, 60));
}

describe('surveyKeys', () => {
  test('after a rotation: what is for the old key and what for the new one, with the border, and which can be read', async () => {
    const storage = await memoryStorage();
    await rotated(storage);
    const both = await keyedRepository({ storage, writes: ['zst', keyed({ for: ['k2'], held: ['k1', 'k2'] })] });
    const survey = await surveyKeys(both);
    expect(short(survey.rows)).toEqual([
      ['backup', OLD, OLD, 'k1', true],
      ['backup', NEW, NEW, 'k2', true],
      ['segment', walName(1, 1), walName(1, 39), 'k1', true],
      ['segment', walName(1, 40), walName(1, 59), 'k2', true],
    ]);
    expect(survey.objects).toBe(10 + 59);
    expect(survey.lookedAt).toBeLessThan(25);
    expect(await keyStateOf(both, survey.rows, { identities: true })).toBe('readable');
    expect(await failureFor(both, survey.rows, { identities: true })).toBeUndefined();

    const newOnly = await keyedRepository({ storage, writes: ['zst', keyed({ for: ['k2'], held: ['k2'] })] });
    const { rows } = await surveyKeys(newOnly);
    expect(rows.map(({ readable }) => readable)).toEqual([false, true, false, true]);
    const failure = await failureFor(newOnly, rows, { identities: true });
    expect(failure?.code).toBe('CODEC_KEY');
    expect(failure?.message).toBe(
      `repository primary: the keys at hand do not open backup ${OLD} (none of its keys is at hand; at hand: k2); ` +
        `segment ${walName(1, 1)} to ${walName(1, 39)} of timeline 1 (none of its keys is at hand; at hand: k2)`,
    );
    expect(failure?.hint).toBe('Find it.');
  });

  test('a key that was in use between two looks at the same one is found by a look at each, and only promised by that', async () => {
    const storage = await memoryStorage();
    const write = async (key: string, segments: readonly number[]): Promise<void> => {
      await pushWal(await keyedRepository({ storage, writes: [keyed({ for: [key] })] }), 1, segments);
    };
    await write('k1', [...numbers(1, 70), ...numbers(71, 141)]);
    await write('k2', [70]);
    const repository = await keyedRepository({ storage, writes: [keyed({ for: ['k1'], held: ['k1'] })] });
    const some = await surveyKeys(repository);
    expect([some.objects, some.lookedAt]).toEqual([140, 8]);
    expect(some.rows.map(({ lookedAt, of }) => [lookedAt, of])).toEqual([[8, 140]]);
    const all = await surveyKeys(repository, { all: true });
    expect([all.objects, all.lookedAt]).toEqual([140, 140]);
    expect(short(all.rows)).toEqual([
      ['segment', walName(1, 1), walName(1, 140), 'k1', true],
      ['segment', walName(1, 70), walName(1, 70), 'k2', false],
    ]);
    expect(all.rows.map(({ lookedAt }) => lookedAt)).toEqual([139, 1]);
  });

  test('WAL of every kind, a backup that is not finished, and a record that cannot be read', async () => {
    const storage = await memoryStorage();
    const repository = await keyedRepository({ storage, writes: [keyed({ for: ['k1'], held: ['k1'] })] });
    await makeBackup(repository, OLD, { from: 1, to: 1 });
    await storage.remove([`main/${SYSTEM}/backups/${OLD}/backup.json`]);
    await putBytes(storage, `main/${SYSTEM}/backups/${NEW}/backup.json`, Buffer.from('{}'));
    const wal = repository.wal(SYSTEM);
    const bytes = Buffer.from('bytes');
    for (const name of [
      `${walName(1, 1)}.00000028.backup`,
      `${walName(1, 2)}.partial`,
      '00000002.history',
      walName(2, 2),
    ])
      await wal.push(name, { bytes });
    await wal.pushTail(walName(2, 3), 0, 5, bytes);
    const { rows } = await surveyKeys(repository);
    expect(rows.map(({ kind, timeline, readable }) => [kind, timeline, readable])).toEqual([
      ['incomplete', undefined, true],
      ['backup', undefined, undefined],
      ['label', 1, true],
      ['partial', 1, true],
      ['segment', 2, true],
      ['slice', 2, true],
      ['history', 2, true],
    ]);
    expect(rows[1]?.problem?.code).toBe('REPOSITORY_FORMAT');
    expect(await keyStateOf(repository, rows, { identities: true })).toBe('unknown');
    expect((await failureFor(repository, rows, { identities: true }))?.code).toBe('REPOSITORY_FORMAT');
  });

  test('a codec with keys below another one is looked at too, if that one opens', async () => {
    const storage = await memoryStorage();
    const outer = { suffix: 'out', for: ['o'] };
    const inner = { suffix: 'in', for: ['i'] };
    const writer = await keyedRepository({ storage, writes: [keyed(inner), 'zst', keyed(outer), 'zst'] });
    await pushWal(writer, 1, [1]);
    const layersFor = async (heldOut: string, heldIn: string): Promise<unknown> => {
      const writes = [keyed({ ...inner, held: [heldIn] }), 'zst', keyed({ ...outer, held: [heldOut] })] as const;
      const { rows } = await surveyKeys(await keyedRepository({ storage, writes }));
      return rows.map(({ layers, readable }) => [
        layers.map((layer) => `${layer.suffix} ${layer.keyIds.join(' ')}`),
        readable,
      ]);
    };
    expect(await layersFor('o', 'i')).toEqual([[['in i', 'out o'], true]]);
    expect(await layersFor('o', 'x')).toEqual([[['in i', 'out o'], false]]);
    expect(await layersFor('x', 'i')).toEqual([[['out o'], false]]);
  });

  test('of a large object its head is read, and no more; without keys nothing', async () => {
    const inner = await memoryStorage();
    const writer = await keyedRepository({ storage: inner, writes: [keyed({ for: ['k1'], held: ['k1'] })] });
    await makeBackup(writer, OLD, { from: 1, to: 1, partSize: 3_000_000 });
    let read = 0;
    const storage = watched(inner, (key, _, bytes) => (read += key.endsWith('.key') ? bytes : 0));
    const writes = [keyed({ for: ['k1'], held: ['k1'] })];
    expect((await surveyKeys(await keyedRepository({ storage, writes }))).rows[0]?.readable).toBe(true);
    expect(read).toBeGreaterThan(0);
    expect(read).toBeLessThanOrEqual(64 * 1024);

    const plain = await memoryStorage();
    await pushWal(await keyedRepository({ storage: plain, writes: ['zst'] }), 1, [1, 2]);
    const reads: string[] = [];
    const quiet = watched(plain, (key) => reads.push(key));
    const { rows } = await surveyKeys(await keyedRepository({ storage: quiet, writes: ['zst'] }));
    expect(short(rows)).toEqual([['segment', walName(1, 1), walName(1, 2), '', true]]);
    expect(reads.filter((key) => key.includes('/wal/'))).toEqual([]);
  });

  test('H-62 a suffix that no codec reads is named, and makes what bears it unreadable', async () => {
    const storage = await memoryStorage();
    await pushWal(await keyedRepository({ storage, writes: [keyed({ suffix: 'gone', for: ['k'] })] }), 1, [1]);
    const repository = await keyedRepository({ storage, writes: ['zst'] });
    const { rows } = await surveyKeys(repository);
    expect(rows).toMatchObject([{ suffixes: ['gone'], readable: false, problem: { code: 'CODEC_UNKNOWN' } }]);
    // Not even without identities is this what a host that only writes is meant to be.
    expect(await keyStateOf(repository, rows, { identities: false })).toBe('unreadable');
    const failure = await failureFor(repository, rows, { identities: false });
    expect(failure).toMatchObject({ code: 'CODEC_UNKNOWN' });
    expect(failure?.message).toContain('no installed codec reads ".gone"');
  });

  test('a codec that does not say for whom it wrote leaves it unknown, which is neither readable nor not', async () => {
    const storage = await memoryStorage();
    const whole = keyed({ for: ['k1'], held: ['k1'] });
    await pushWal(await keyedRepository({ storage, writes: [whole] }), 1, [1]);
    const repository = await keyedRepository({ storage, writes: [silentOf(whole)] });
    const { rows } = await surveyKeys(repository);
    expect(rows.map(({ readable }) => readable)).toEqual([undefined]);
    expect(await keyStateOf(repository, rows, { identities: true })).toBe('unknown');
    expect((await failureFor(repository, rows, { identities: true }))?.message).toContain(
      'it is not known whether the keys at hand open segment',
    );
  });

  test('a header that is damaged is damage, not a missing key', async () => {
    const storage = await memoryStorage();
    const repository = await keyedRepository({ storage, writes: [keyed({ for: ['k1'], held: ['k1'] })] });
    await pushWal(repository, 1, [1, 2]);
    const key = (await keysOf(storage)).find((each) => each.includes(walName(1, 2))) ?? '';
    await storage.remove([key]);
    await storage.put(key, bodyOf(Buffer.from('nothing of ours')), { ifAbsent: true });
    const { rows } = await surveyKeys(repository);
    expect(rows.map(({ readable, problem }) => [readable, problem?.code])).toEqual([
      [true, undefined],
      [false, 'CODEC_CORRUPT'],
    ]);
    const failure = await failureFor(repository, rows, { identities: false });
    expect(failure).toMatchObject({ code: 'CODEC_CORRUPT', exitCode: 4 });
    expect(failure?.message).toContain(key);
  });

  test('objects that are shorter than their record says are damaged, and do not end the look', async () => {
    const storage = await memoryStorage();
    const repository = await keyedRepository({ storage, writes: [keyed({ for: ['k'.repeat(70_000)] })] });
    for (const [id, left] of [
      [OLD, 65_536],
      [NEW, 0],
    ] as const) {
      await makeBackup(repository, id, { from: 1, to: 1 });
      for (const key of (await keysOf(storage)).filter((each) => each.includes(`${id}/`) && each.endsWith('.key'))) {
        await storage.remove([key]);
        const start = Buffer.from(`KEYS ${'k'.repeat(70_000)}`).subarray(0, left);
        await storage.put(key, bodyOf(start), { ifAbsent: true });
      }
    }
    const { rows } = await surveyKeys(repository);
    expect(rows.map(({ first, last, problem }) => [first, last, problem?.code])).toEqual([[OLD, NEW, 'CODEC_CORRUPT']]);
  });

  test('a host that has recipients only is told so, and one that lacks another key is not excused', async () => {
    const storage = await memoryStorage();
    const recipients = { for: ['k1', 'k2'], hidden: true };
    const writer = await keyedRepository({ storage, writes: [keyed(recipients)] });
    await makeBackup(writer, OLD, { from: 1, to: 1 });
    await pushWal(writer, 1, [1]);
    const { rows } = await surveyKeys(writer);
    expect(rows.map(({ layers, readable }) => [layers[0]?.unknown, readable])).toEqual([
      [2, false],
      [2, false],
    ]);
    expect(await keyStateOf(writer, rows, { identities: false })).toBe('write-only');
    expect((await failureFor(writer, rows, { identities: false }))?.message).toContain('restore.identities is empty');
    // With an identity that opens nothing it is an alarm; so it is where a header names a key that is not written for.
    expect(await keyStateOf(writer, rows, { identities: true })).toBe('unreadable');
    // Nor is it meant so where what is written today can be read: a passphrase that was changed, say.
    const changed = await keyedRepository({ storage, writes: [keyed({ for: ['new'], held: ['new'], hidden: true })] });
    expect(await keyStateOf(changed, (await surveyKeys(changed)).rows, { identities: false })).toBe('unreadable');
    const other = await keyedRepository({ storage, writes: [keyed({ for: ['k3'] })] });
    expect(await keyStateOf(other, (await surveyKeys(other)).rows, { identities: false })).toBe('unreadable');
  });

  test('a host that only writes is not excused where anything else is wrong, and ends with that', async () => {
    const storage = await memoryStorage();
    const writer = await keyedRepository({ storage, writes: [keyed({ for: ['k1'], hidden: true })] });
    await makeBackup(writer, OLD, { from: 1, to: 1 });
    await pushWal(writer, 1, [1]);
    await putBytes(storage, `main/${SYSTEM}/backups/${NEW}/backup.json`, Buffer.from('{broken'));
    const { rows } = await surveyKeys(writer);
    expect(rows.map(({ readable, problem }) => [readable, problem?.code])).toEqual([
      [false, undefined],
      [undefined, 'REPOSITORY_FORMAT'],
      [false, undefined],
    ]);
    expect(await keyStateOf(writer, rows, { identities: false })).toBe('unreadable');
    const failure = await failureFor(writer, rows, { identities: false });
    expect(failure).toMatchObject({ code: 'REPOSITORY_FORMAT', exitCode: 4 });
    expect(failure?.message).toContain(`backup ${NEW} (REPOSITORY_FORMAT: `);
    // A missing key does not hide the damage either.
    expect((await failureFor(writer, rows, { identities: true }))?.code).toBe('REPOSITORY_FORMAT');
  });

  test('a codec that does not say for whom it wrote is not excused as a host that only writes', async () => {
    const storage = await memoryStorage();
    const recipients = keyed({ for: ['k1'], hidden: true });
    const silent = silentOf(keyed({ suffix: 'silent', for: ['k2'] }));
    await pushWal(await keyedRepository({ storage, writes: [recipients] }), 1, [1]);
    await pushWal(await keyedRepository({ storage, writes: [silent] }), 1, [2]);
    const repository = await keyedRepository({ storage, writes: [recipients], reads: [silent] });
    const { rows } = await surveyKeys(repository);
    expect(rows.map(({ readable }) => readable)).toEqual([false, undefined]);
    expect(await failureFor(repository, rows, { identities: false })).toMatchObject({ code: 'PLUGIN_INVALID' });
  });

  test('an object without keys is readable only if it is there, as long as its record says', async () => {
    const storage = await memoryStorage();
    const repository = await keyedRepository({ storage, writes: ['zst'] });
    const record = await makeBackup(repository, OLD, { from: 1, to: 1 });
    const { rows: whole } = await surveyKeys(repository);
    expect(whole.map(({ readable, lookedAt, of }) => [readable, lookedAt, of])).toEqual([[true, 1, 5]]);
    const folder = `main/${SYSTEM}/backups/${OLD}/`;
    const objects = (await keysOf(storage)).filter((key) => key.startsWith(folder) && key.endsWith('.zst'));
    expect(objects).toHaveLength(5);
    for (const key of objects) {
      await storage.remove([key]);
      await storage.put(key, bodyOf(Buffer.from('short')), { ifAbsent: true });
    }
    const cut = await surveyKeys(repository, { all: true });
    expect(cut.rows).toMatchObject([{ readable: false, problem: { code: 'STORAGE_CORRUPT' }, lookedAt: 5, of: 5 }]);
    expect(cut.rows[0]?.problem?.message).toContain(`should be ${record.manifest.storedSize} bytes, the storage has 5`);
    expect(await failureFor(repository, cut.rows, { identities: true })).toMatchObject({ exitCode: 4 });

    await storage.remove(objects);
    const gone = await surveyKeys(repository);
    expect(gone.rows).toMatchObject([{ readable: false, problem: { code: 'STORAGE_NOT_FOUND' } }]);
    const failure = await failureFor(repository, gone.rows, { identities: true });
    expect(failure?.code).toBe('STORAGE_NOT_FOUND');
    expect(failure?.message).toContain(`repository primary: not readable: backup ${OLD} (STORAGE_NOT_FOUND: `);
    expect(failure?.hint).toContain('The record of the backup names it');
  });

  test('an object of a backup that is gone is a finding; WAL that retention takes meanwhile is not', async () => {
    const inner = await memoryStorage();
    const writes = [keyed({ for: ['k1'], held: ['k1'] })];
    const writer = await keyedRepository({ storage: inner, writes });
    await makeBackup(writer, OLD, { from: 1, to: 1 });
    await pushWal(writer, 1, [1, 2]);
    let taken = 0;
    const storage: Storage = {
      ...watched(inner, () => undefined),
      get: async function* (key, options = {}) {
        if (/\.tar|manifest|files/.test(key) || key.includes(walName(1, 1))) {
          taken++;
          throw new ArchiveError('STORAGE_NOT_FOUND', `${key} is gone`);
        }
        yield* inner.get(key, options);
      },
    };
    const survey = await surveyKeys(await keyedRepository({ storage, writes }));
    expect(taken).toBeGreaterThan(1);
    expect(survey.rows.map(({ kind, readable, problem }) => [kind, readable, problem?.code])).toEqual([
      ['backup', false, 'STORAGE_NOT_FOUND'],
      ['segment', true, undefined],
    ]);
    expect(survey.rows[1]).toMatchObject({ first: walName(1, 2), lookedAt: 1, of: 2 });
  });

  test('a storage that cannot answer is an error, never "unreadable"', async () => {
    const inner = await memoryStorage();
    const writes = [keyed({ for: ['k1'], held: ['k1'] })];
    await pushWal(await keyedRepository({ storage: inner, writes }), 1, [1]);
    const storage = watched(inner, (key) => {
      if (key.endsWith('.key')) throw new ArchiveError('STORAGE_UNAVAILABLE', 'the storage is down');
    });
    await expect(surveyKeys(await keyedRepository({ storage, writes }))).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
    });
  });
});
