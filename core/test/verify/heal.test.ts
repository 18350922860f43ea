import { expect, test } from 'vitest';
import { ArchiveError } from '../../src/contracts/errors.ts';
import type { Storage } from '../../src/contracts/storage.ts';
import { recordResults } from '../../src/verify/fact.ts';
import { heal } from '../../src/verify/heal.ts';
import type { HealOutcome } from '../../src/verify/replace.ts';
import { verify } from '../../src/verify/verify.ts';
import { bytesOf, flip, golden, invert, keyLike, look, type Golden } from './golden.ts';

/** The segment that the backup needs. */
const NEEDED = /00000001000000000000000D-/;

/** Verifies one in full and heals it from another. */
async function healed(one: Golden, other: Golden): Promise<readonly HealOutcome[]> {
  const result = await verify({ repository: one.repository, level: 'full' });
  expect(result.subjects.some(({ report }) => report.findingCount > 0)).toBe(true);
  const outcomes = await heal(result, { repository: one.repository, others: [other.repository], concurrency: 2 });
  const open = result.subjects.flatMap(({ report }) => report.findings).filter(({ healedFrom }) => !healedFrom);
  const left = outcomes.flatMap(({ key, from }) => (from === undefined ? [key] : []));
  expect(new Set(open.map(({ key }) => key))).toEqual(new Set(left));
  return outcomes;
}

/** A storage that removes nothing, as one with the credentials of a writer. */
const writerOnly = (inner: Storage): Storage => instead(inner, { remove: denied });

const denied: Storage['remove'] = async () => {
  throw new ArchiveError('STORAGE_DENIED', 'no permission to delete');
};

/** A storage of which some calls are others. */
function instead(inner: Storage, calls: Partial<Pick<Storage, 'get' | 'remove'>>): Storage {
  return {
    capabilities: inner.capabilities,
    put: (...call) => inner.put(...call),
    get: calls.get ?? ((...call) => inner.get(...call)),
    stat: (...call) => inner.stat(...call),
    list: (...call) => inner.list(...call),
    remove: calls.remove ?? ((...call) => inner.remove(...call)),
    close: () => inner.close(),
  };
}

const far = (): Promise<Golden> => golden('gzip', { name: 'far' });

test.each([
  ['a segment', NEEDED],
  ['a history', /00000002\.history/],
  ['a slice', /000017B8-00001830/],
])('%s that is damaged is healed from a repository with another codec', async (_what, pattern) => {
  const one = await golden();
  const key = await keyLike(one, pattern);
  await flip(one, key);
  expect(await healed(one, await far())).toEqual([{ key, from: 'far', reason: undefined }]);
  expect(await look(one)).toMatchObject({ findings: [], skipped: [] });
});

test('what is missing is put by a writer who may not delete', async () => {
  const one = await golden('gzip', { wrap: writerOnly });
  const keys = [
    await keyLike(one, NEEDED),
    await keyLike(one, /00000002\.history/),
    await keyLike(one, /16770\/0000\.tar/),
  ];
  await one.storage.remove(keys);
  const outcomes = await healed(one, await golden('zstd', { name: 'far' }));
  expect(outcomes.map(({ from }) => from)).toEqual(['far', 'far', 'far']);
  expect(await look(one)).toMatchObject({ findings: [], skipped: [] });
});

test('what is damaged stays where the storage refuses to delete it, and it is said what is needed', async () => {
  const one = await golden('zstd', { wrap: writerOnly });
  const key = await keyLike(one, NEEDED);
  await flip(one, key);
  const before = await bytesOf(one, key);
  const [outcome] = await healed(one, await far());
  expect(outcome).toMatchObject({ key, from: undefined });
  expect(outcome?.reason).toMatch(/must be removed before .* no permission to delete/);
  expect((await bytesOf(one, key)).equals(before)).toBe(true);
});

test('what a retention lock holds stays as it is', async () => {
  const one = await golden('zstd', {
    wrap: (inner) => instead(inner, { remove: async (keys) => ({ retained: keys }) }),
  });
  const key = await keyLike(one, /base\/0000\.tar/);
  await flip(one, key);
  const [outcome] = await healed(one, await far());
  expect(outcome).toMatchObject({ key, from: undefined });
  expect(outcome?.reason).toContain('a retention lock holds it');
});

test('a part comes back byte by byte where its codec makes the same bytes again', async () => {
  const one = await golden('gzip');
  const key = await keyLike(one, /16770\/0000\.tar/);
  const record = await bytesOf(one, await keyLike(one, /backup\.json/));
  await flip(one, key);
  expect(await healed(one, await golden('zstd', { name: 'far' }))).toEqual([{ key, from: 'far', reason: undefined }]);
  expect(await look(one)).toMatchObject({ findings: [], skipped: [] });
  expect((await bytesOf(one, await keyLike(one, /backup\.json/))).equals(record)).toBe(true);
});

test('H-74 a backup whose record is lost is copied anew: the record goes first and comes last, what is whole stays', async () => {
  const calls: string[] = [];
  const one = await golden('zstd', {
    wrap: (inner) => ({
      ...instead(inner, {
        remove: async (keys, options) => {
          calls.push(...keys.map((key) => `remove ${key.slice(key.lastIndexOf('/') + 1)}`));
          return inner.remove(keys, options);
        },
      }),
      put: async (key, body, options) => {
        await inner.put(key, body, options);
        calls.push(`put ${key.slice(key.lastIndexOf('/') + 1)}`);
      },
    }),
  });
  await flip(one, await keyLike(one, /backup\.json/));
  await flip(one, await keyLike(one, /base\/0001\.tar/));
  const outcomes = await healed(one, await far());
  expect(outcomes.every(({ from }) => from === 'far')).toBe(true);
  expect(calls).toEqual(['remove backup.json', 'remove 0001.tar.zst', 'put 0001.tar.zst', 'put backup.json']);
  expect(await look(one)).toMatchObject({ findings: [], skipped: [] });
});

test('a backup that was complete and has no record gets one again, without anything being removed', async () => {
  const one = await golden('zstd', { wrap: writerOnly });
  const before = await verify({ repository: one.repository });
  expect(await recordResults(one.repository, before)).toBeUndefined();
  await one.storage.remove([await keyLike(one, /backup\.json/)]);
  const outcomes = await healed(one, await far());
  expect(outcomes).toMatchObject([{ from: 'far' }]);
  expect(await look(one)).toMatchObject({ findings: [], skipped: [] });
});

test('nothing is removed for a copy that is not whole either', async () => {
  const one = await golden();
  const other = await far();
  const segment = await keyLike(one, NEEDED);
  const record = await keyLike(one, /backup\.json/);
  for (const key of [segment, record]) await flip(one, key);
  await flip(other, await keyLike(other, NEEDED));
  await flip(other, await keyLike(other, /base\/0001\.tar/));
  const before = [await bytesOf(one, segment), await bytesOf(one, record)];
  const outcomes = await healed(one, other);
  expect(outcomes.map(({ from }) => from)).toEqual(outcomes.map(() => undefined));
  expect(outcomes.map(({ reason }) => reason).join('\n')).toMatch(
    /no other repository has it whole|not whole in repository far either/,
  );
  expect([await bytesOf(one, segment), await bytesOf(one, record)]).toEqual(before);
});

test('what is whole when it is read again is not removed: it was the way to it that was at fault', async () => {
  let reads = 0;
  const one = await golden('zstd', {
    wrap: (inner) =>
      instead(inner, {
        get: (key, options) =>
          NEEDED.test(key) && reads++ === 0 ? altered(inner.get(key, options)) : inner.get(key, options),
        remove: async () => {
          throw new Error('something was removed');
        },
      }),
  });
  const [outcome] = await healed(one, await far());
  expect(outcome?.from).toBeUndefined();
  expect(outcome?.reason).toContain('was whole when it was read again');
});

async function* altered(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) {
    const bytes = Buffer.from(chunk);
    invert(bytes, bytes.byteLength >> 1, 1);
    yield bytes;
  }
}
