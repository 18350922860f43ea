import { hash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { ArchiveError } from '../../src/contracts/errors.ts';
import type { Storage } from '../../src/contracts/storage.ts';
import { bodyOf, collect } from '../../src/repository/objects.ts';
import type { Problem } from '../../src/verify/finding.ts';
import { BACKUP, bytesOf, flip, golden, invert, keyLike, look, reseal, SYSTEM, type Golden } from './golden.ts';

const WAL = `main/${SYSTEM}/wal/`;
const FOLDER = `main/${SYSTEM}/backups/${BACKUP}/`;
/** The only segment that the backup needs; it begins at 0/D00000. */
const NEEDED = '00000001000000000000000D';

test.each(['zstd', 'gzip'] as const)('an archive of an earlier version is whole: %s', async (chain) => {
  const one = await golden(chain, { sealed: false });
  for (const level of ['chain', 'sample', 'full'] as const) {
    const { findings, skipped, stopped, notes } = await look(one, { level });
    expect({ findings, skipped, stopped }).toEqual({ findings: [], skipped: [], stopped: undefined });
    expect(notes).toEqual([expect.stringContaining('gave backup.json no digest')]);
  }
});

test('histories and slices without a backup are looked at too', async () => {
  const one = await golden('plain');
  const found = await look(one);
  expect(found).toMatchObject({ findings: [], skipped: [] });
  expect(found.objects).toBe(await countOf(one.storage));
});

test('every object is looked at once, and with its own digest there is no doubt left', async () => {
  const one = await golden();
  const found = await look(one);
  expect(found).toMatchObject({ findings: [], skipped: [], notes: [] });
  expect(found.objects).toBe(await countOf(one.storage));
});

async function countOf(storage: Storage): Promise<number> {
  let count = 0;
  for await (const _ of storage.list('')) count++;
  return count;
}

interface Case {
  readonly key: RegExp;
  readonly problem: Problem;
  readonly backups: readonly string[];
  readonly wal?: { readonly timeline: number; readonly from: string };
  readonly timelines?: readonly number[];
}

const CASES: Readonly<Record<string, Case>> = {
  'a part': { key: /base\/0001\.tar/, problem: 'damaged', backups: [BACKUP] },
  'the manifest': { key: /backup_manifest/, problem: 'damaged', backups: [BACKUP] },
  'the file list': { key: /files\.json/, problem: 'damaged', backups: [BACKUP] },
  'backup.json': { key: /backup\.json/, problem: 'damaged', backups: [BACKUP] },
  'the segment of the backup': {
    key: new RegExp(`${NEEDED}-`),
    problem: 'damaged',
    backups: [BACKUP],
    wal: { timeline: 1, from: '0/D00000' },
  },
  'a segment before the backup': { key: /00000001000000000000000C-/, problem: 'damaged', backups: [] },
  'a history': { key: /00000002\.history/, problem: 'damaged', backups: [], timelines: [2] },
  'a slice at the end of a timeline': {
    key: /000017B8-00001830/,
    problem: 'damaged',
    backups: [],
    wal: { timeline: 1, from: '0/E017B8' },
  },
};

describe('H-59 a flipped bit is found, and it is said what it makes unrestorable:', () => {
  test.each(Object.entries(CASES))('%s', async (_what, { key: pattern, problem, backups, wal, timelines }) => {
    const one = await golden();
    const key = await keyLike(one, pattern);
    await flip(one, key);
    const { findings } = await look(one);
    const [finding, ...others] = findings;
    expect(finding).toMatchObject({ key, problem });
    expect(finding?.message).toContain(key);
    expect(finding?.unrestorable).toEqual({ backups, ...(wal && { wal }), ...(timelines && { timelines }) });
    // What a backup needs of the WAL is told with the backup too.
    expect(others.map((other) => other.key)).toEqual(backups.length > 0 && wal !== undefined ? [key] : []);
  });
});

describe('H-30 what is gone is missing, whether it is read or not:', () => {
  test.each([
    ['a part', /base\/0001\.tar/, [BACKUP]],
    ['the manifest', /backup_manifest/, [BACKUP]],
    ['the segment of the backup', new RegExp(`${NEEDED}-`), [BACKUP]],
    ['a history', /00000002\.history/, []],
    ['a slice before another one', /00000000-000017B8|00000000-00001816/, []],
  ] as const)('%s', async (_what, pattern, backups) => {
    for (const level of ['chain', 'full'] as const) {
      const one = await golden();
      const gone: string[] = [];
      for await (const { key } of one.storage.list('')) if (pattern.test(key)) gone.push(key);
      await one.storage.remove(gone);
      const { findings, skipped } = await look(one, { level });
      expect(skipped).toEqual([]);
      expect(findings.length).toBeGreaterThan(0);
      for (const { problem, key, unrestorable } of findings) {
        expect(problem).toBe('missing');
        expect(gone.some((removed) => removed.startsWith(key))).toBe(true);
        expect(unrestorable.backups).toEqual(backups);
      }
    }
  });
});

/** A storage whose `get` of some keys fails. */
function failing(storage: Storage, keys: RegExp, error: ArchiveError): Storage {
  return {
    capabilities: storage.capabilities,
    put: (...call) => storage.put(...call),
    get: (key, options) => (keys.test(key) ? failed(error) : storage.get(key, options)),
    stat: (...call) => storage.stat(...call),
    list: (...call) => storage.list(...call),
    remove: (...call) => storage.remove(...call),
    close: () => storage.close(),
  };
}

// eslint-disable-next-line require-yield
async function* failed(error: ArchiveError): AsyncGenerator<Uint8Array> {
  throw error;
}

test('H-50 what the storage refuses is not checked, and neither missing nor damaged', async () => {
  const refusal = new ArchiveError('STORAGE_DENIED', 'the storage refused the request');
  const one = await golden('zstd', { wrap: (inner) => failing(inner, /0001\.tar|D-|history/, refusal) });
  const { findings, skipped, stopped } = await look(one);
  expect(stopped).toBeUndefined();
  expect(findings).toEqual([]);
  const names = skipped.map(({ key, code }) => `${code} ${key.slice(key.lastIndexOf('/') + 1).slice(0, 16)}`);
  expect(names.toSorted()).toEqual([
    'STORAGE_DENIED 0000000100000000',
    'STORAGE_DENIED 0000000100000000',
    'STORAGE_DENIED 00000002.history',
    'STORAGE_DENIED 0001.tar.zst',
  ]);
});

test('H-50 a storage that is away ends the run: what was not looked at is among no subjects', async () => {
  const away = new ArchiveError('STORAGE_UNAVAILABLE', 'no answer');
  const one = await golden('zstd', { wrap: (inner) => failing(inner, /0001\.tar/, away) });
  const { findings, skipped, stopped } = await look(one);
  expect(stopped).toBe(away);
  expect({ findings, skipped }).toEqual({ findings: [], skipped: [] });
});

test('without a codec stored bytes are compared all the same, and what they hold is not known', async () => {
  const one = await golden('zstd', { known: [] });
  const key = await keyLike(one, /base\/0001\.tar/);
  await flip(one, key);
  const { findings, skipped } = await look(one);
  expect(findings.map((finding) => finding.key)).toEqual([key]);
  expect(skipped.every(({ code }) => code === 'CODEC_UNKNOWN')).toBe(true);
  const manifest = skipped.find((other) => other.key.includes('backup_manifest'));
  expect(manifest?.message).toContain('its stored bytes are whole');
  // No part counts as good without the manifest: their bytes are, and that is said with the manifest.
  expect(skipped.map((other) => other.key).filter((other) => other.startsWith(FOLDER))).toHaveLength(1);
});

/** Stores a part anew, with a record that agrees. */
async function rewritePart(one: Golden, name: string, change: (tar: Buffer) => Buffer): Promise<void> {
  const catalog = one.repository.backups(SYSTEM);
  const record = await catalog.read(BACKUP);
  const part = record.parts.find((other) => other.name.startsWith(name));
  if (part === undefined) throw new Error(`no part ${name}`);
  const tar = Buffer.from(await collect(catalog.readObject(BACKUP, part), name));
  await one.storage.remove([catalog.objectKey(BACKUP, part.name)]);
  const stored = await catalog.putObject(BACKUP, name, bodyOf(change(tar)), { plainHash: false });
  await reseal(one, (before) => ({
    ...before,
    parts: before.parts.map((other) => (other.name === part.name ? { ...other, ...stored } : other)),
  }));
}

/** Where the header of a file is in a tar. */
const headerOf = (tar: Buffer, path: string): number => tar.indexOf(`${path}\0`);

describe('what was stored wrong is found although every digest is right:', () => {
  const cases: Readonly<Record<string, { readonly change: (tar: Buffer) => Buffer; readonly says: RegExp }>> = {
    'H-39 bytes behind the end mark': {
      change: (tar) => Buffer.concat([tar, Buffer.alloc(512, 'x')]),
      says: /bytes after its end mark/,
    },
    'H-39 an archive without its end mark': {
      change: (tar) => tar.subarray(0, tar.byteLength - 1024),
      says: /ends without an end mark/,
    },
    'H-30 an archive that ends with whole files before its time': {
      change: (tar) => Buffer.concat([tar.subarray(0, headerOf(tar, 'global/pg_control')), Buffer.alloc(1024)]),
      says: /does not hold global\/pg_control/,
    },
    'a file with other bytes': {
      change: (tar) => {
        const at = headerOf(tar, 'global/pg_control') + 512 + 300;
        invert(tar, at, 1);
        return tar;
      },
      says: /global\/pg_control in the backup has checksum/,
    },
  };
  test.each(Object.entries(cases))('%s', async (_what, { change, says }) => {
    const one = await golden();
    await rewritePart(one, 'base/0002.tar', change);
    const { findings } = await look(one);
    const of = findings.filter(({ key }) => key.includes('base/0002.tar'));
    expect(of.length).toBeGreaterThan(0);
    expect(of.every(({ problem }) => problem === 'invalid')).toBe(true);
    expect(of.map(({ message }) => message).join('\n')).toMatch(says);
  });
});

test('H-35 a manifest that was printed anew is found, although the record has its digest', async () => {
  const one = await golden();
  const catalog = one.repository.backups(SYSTEM);
  const { manifest } = await catalog.read(BACKUP);
  const text = Buffer.from(await collect(catalog.readObject(BACKUP, manifest), 'manifest')).toString('utf8');
  await one.storage.remove([catalog.objectKey(BACKUP, manifest.name)]);
  const again = Buffer.from(text.replace('"Last-Modified"', '"Last-Modified" '));
  const stored = await catalog.putObject(BACKUP, 'backup_manifest', bodyOf(again));
  await reseal(one, (record) => ({ ...record, manifest: stored }));
  const { findings } = await look(one);
  expect(findings).toMatchObject([{ key: catalog.objectKey(BACKUP, manifest.name), problem: 'invalid' }]);
  expect(findings[0]?.message).toContain('its own checksum');
});

/** Puts a segment in the place of an archived one, under the digest that it has. */
async function rewriteSegment(one: Golden, name: string, change: (bytes: Buffer) => void): Promise<string> {
  const wal = one.repository.wal(SYSTEM);
  const object = await wal.find(name);
  if (object === undefined) throw new Error(`no ${name}`);
  const bytes = Buffer.from(await collect(wal.read(object), name));
  change(bytes);
  await one.storage.remove([object.key]);
  await wal.push(name, { bytes });
  return (await wal.find(name))?.key ?? '';
}

/** A byte inside of the data of the first record that has any, in the middle of what is written of a segment. */
function inRecord(bytes: Buffer): number {
  let end = bytes.byteLength;
  while (bytes[end - 1] === 0) end--;
  return end >> 1;
}

test('a record that was broken before it was archived is told apart from damage of the archive', async () => {
  const one = await golden();
  const key = await rewriteSegment(one, NEEDED, (bytes) => invert(bytes, inRecord(bytes), 0x10));
  const { findings } = await look(one);
  expect(findings.length).toBeGreaterThan(0);
  for (const finding of findings) expect(finding).toMatchObject({ key, problem: 'invalid' });
  expect(findings[0]?.message).toContain('was archived as it is');
  expect(findings[0]?.unrestorable).toMatchObject({ backups: [BACKUP] });
});

test('H-07 a segment of another cluster under a good name is found', async () => {
  const one = await golden();
  const key = await rewriteSegment(one, NEEDED, (bytes) => void bytes.writeBigUInt64LE(1234n, 24));
  const { findings } = await look(one);
  expect(findings.map((finding) => [finding.key, finding.problem])).toContainEqual([key, 'invalid']);
});

test('two contents of one name are a conflict', async () => {
  const one = await golden();
  const key = await keyLike(one, new RegExp(`${NEEDED}-`));
  const other = key.replace(/-[0-9a-f]{32}/, `-${hash('sha256', 'other').slice(0, 32)}`);
  await one.storage.put(other, bodyOf(Buffer.from('x')), { ifAbsent: true });
  const { findings } = await look(one, { level: 'chain' });
  expect(findings.map(({ problem }) => problem)).toContain('conflict');
});

test('a record that is contradicted by the cluster in the backup is found, although its digest is right', async () => {
  const one = await golden();
  await reseal(one, (record) => ({
    ...record,
    nextXid: '77',
    label: 'another',
    serverVersion: 160_002,
    dataChecksums: false,
    fromStandby: true,
    files: 276,
    stopLsn: '0/D00128',
    tablespaces: [{ oid: '16770', location: '/elsewhere' }],
  }));
  const { findings } = await look(one);
  const text = findings.map(({ message }) => message).join('\n');
  for (const says of [
    'next transaction id',
    'another label',
    'backup.json 16',
    'page checksums',
    'from a primary',
    'names 277 files',
    'up to another position',
    '/elsewhere',
  ])
    expect(text).toContain(says);
  expect(findings.every(({ unrestorable }) => unrestorable.backups.includes(BACKUP))).toBe(true);
});

test('a segment that comes a moment after the one behind it is no hole', async () => {
  const one = await golden();
  const wal = one.repository.wal(SYSTEM);
  const object = await wal.find(NEEDED);
  if (object === undefined) throw new Error('no segment');
  const bytes = await collect(wal.read(object), NEEDED);
  // One far behind it makes it a hole that no backup sees.
  await reseal(one, (record) => ({ ...record, startLsn: '0/C00028', stopLsn: '0/C00120' }));
  await wal.push('00000001000000000000000E', { bytes });
  await one.storage.remove([object.key]);
  const looking = look(one, { level: 'chain', wal: true, backups: [], patience: 60_000 });
  setTimeout(() => void wal.push(NEEDED, { bytes }), 300);
  const { findings, notes } = await looking;
  expect(findings).toEqual([]);
  expect(notes).toEqual([expect.stringContaining(`${NEEDED} came while`)]);
  await one.storage.remove([(await wal.find(NEEDED))?.key ?? '']);
  const { findings: after } = await look(one, { level: 'chain', wal: true, backups: [] });
  expect(after).toMatchObject([{ problem: 'missing', message: `${NEEDED} is not there` }]);
});

test('what the last verification saw at the end of a timeline and what is gone now is missing', async () => {
  const one = await golden();
  const { recordResults } = await import('../../src/verify/fact.ts');
  const { verify } = await import('../../src/verify/verify.ts');
  const run = async (): Promise<Awaited<ReturnType<typeof verify>>> =>
    verify({ repository: one.repository, level: 'chain', patience: 0 });
  expect(await recordResults(one.repository, await run())).toBeUndefined();
  await one.storage.remove([await keyLike(one, /000017B8-00001830/), await keyLike(one, /00000000-00001816/)]);
  for (const _ of [1, 2]) {
    // It stays a finding.
    const result = await run();
    const findings = result.subjects.flatMap(({ report }) => report.findings);
    expect(findings).toMatchObject([{ problem: 'missing', unrestorable: { wal: { timeline: 1, from: '0/E017B8' } } }]);
    expect(await recordResults(one.repository, result)).toBeUndefined();
  }
});

test('H-74 a backup that lost its record after it was verified is missing; one that never had one is not', async () => {
  const one = await golden();
  const key = `${FOLDER}backup.json`;
  const bytes = await bytesOf(one, key);
  await one.storage.remove([key]);
  const unknown = await look(one);
  expect(unknown.findings).toEqual([]);
  expect(unknown.notes).toEqual([expect.stringContaining('is incomplete')]);
  // Elsewhere it may be complete while it still runs here.
  const known = await look(one, { elsewhere: new Set([BACKUP]) });
  expect(known).toMatchObject({ findings: [], notes: [expect.stringContaining('another repository has it')] });
  await one.storage.put(key, bodyOf(bytes), { ifAbsent: true });
  const { recordResults } = await import('../../src/verify/fact.ts');
  const { verify } = await import('../../src/verify/verify.ts');
  expect(await recordResults(one.repository, await verify({ repository: one.repository }))).toBeUndefined();
  await one.storage.remove([key]);
  expect((await look(one)).findings).toMatchObject([{ key, problem: 'missing', unrestorable: { backups: [BACKUP] } }]);
});

test('a sample reads some, by its seed the same ones', async () => {
  const read: string[][] = [];
  for (const seed of [1, 1, 2]) {
    const keys: string[] = [];
    const one = await golden('zstd', {
      wrap: (inner) => ({
        capabilities: inner.capabilities,
        put: (...call) => inner.put(...call),
        get: (key, options) => {
          keys.push(key);
          return inner.get(key, options);
        },
        stat: (...call) => inner.stat(...call),
        list: (...call) => inner.list(...call),
        remove: (...call) => inner.remove(...call),
        close: () => inner.close(),
      }),
    });
    const { findings } = await look(one, { level: 'sample', seed });
    expect(findings).toEqual([]);
    read.push([...new Set(keys)].sort());
  }
  expect(read[0]).toEqual(read[1]);
  // Always what is read of each backup, and the segment that it needs.
  for (const keys of read)
    for (const wanted of [/backup_manifest/, /files\.json/, /base\/0002\.tar/, new RegExp(`${WAL}.*${NEEDED}-`)])
      expect(keys.some((key) => wanted.test(key))).toBe(true);
});

test('the marker and facts carry their digest too, and without the marker no command finds the backups', async () => {
  const one = await golden();
  const marker = 'main/pgark.json';
  await one.storage.remove([marker]);
  expect((await look(one)).findings).toMatchObject([
    { key: marker, problem: 'missing', unrestorable: { backups: [BACKUP] } },
  ]);
  await one.repository.open({ create: true });
  await one.repository.facts(SYSTEM).add(BACKUP, { kind: 'pin', time: Date.now(), data: { reason: 'audit' } });
  expect((await look(one)).findings).toEqual([]);
  const fact = await keyLike(one, /-pin\.json/);
  for (const key of [marker, fact]) {
    await flip(one, key);
    expect((await look(one)).findings).toMatchObject([{ key, problem: 'damaged', unrestorable: { backups: [] } }]);
    await flip(one, key);
  }
});
