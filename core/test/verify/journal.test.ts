import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { isArchiveError } from '../../src/contracts/errors.ts';
import type { Storage } from '../../src/contracts/storage.ts';
import { FileJournal } from '../../src/verify/journal.ts';
import { verify } from '../../src/verify/verify.ts';
import { golden, keyLike, look, replace, type Golden } from './golden.ts';

function journalPath(): string {
  const folder = mkdtempSync(join(tmpdir(), 'pgark-journal-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return join(folder, 'state');
}

const RUN = { level: 'full', seed: 1, repositories: ['primary'] } as const;

/** An archive that notes which objects of some kind are read, and calls `before` ahead of each. */
async function watched(of: RegExp, before: (key: string) => void): Promise<Golden & { readonly read: string[] }> {
  const read: string[] = [];
  const one = await golden('zstd', {
    wrap: (inner: Storage) => ({
      capabilities: inner.capabilities,
      put: (...call) => inner.put(...call),
      get: (key, options) => {
        if (of.test(key)) {
          before(key);
          read.push(key);
        }
        return inner.get(key, options);
      },
      stat: (...call) => inner.stat(...call),
      list: (...call) => inner.list(...call),
      remove: (...call) => inner.remove(...call),
      close: () => inner.close(),
    }),
  });
  return { ...one, read };
}

test('an interrupted run goes on with what was not looked at', async () => {
  const path = journalPath();
  const abort = new AbortController();
  let wanted = 2;
  const one = await watched(/\.tar\./, () => {
    if (wanted-- === 0) abort.abort();
  });
  const first = new FileJournal(path, RUN);
  const { stopped, subjects } = await verify({
    repository: one.repository,
    level: 'full',
    concurrency: 1,
    journal: first,
    signal: abort.signal,
  });
  expect(isArchiveError(stopped, 'ABORTED')).toBe(true);
  // A backup that was not looked at to its end has no result.
  expect(subjects.map(({ subject }) => subject)).toEqual(['repository', 'wal']);
  expect(one.read.splice(0)).toHaveLength(3);
  appendFileSync(path, '{"good":"half a li'); // as a crash leaves it

  wanted = Number.POSITIVE_INFINITY;
  const second = new FileJournal(path, { ...RUN, seed: 2 });
  expect([second.isResumed, second.seed]).toEqual([true, 1]);
  const rest = await look(one, { journal: second, concurrency: 1 });
  expect(rest).toMatchObject({ findings: [], skipped: [], stopped: undefined });
  expect(one.read).toHaveLength(2); // of four parts two were found good
  second.remove();
  expect(existsSync(path)).toBe(false);
});

const TIMELINE = /\/wal\/00000001\//;

test('WAL goes on with the last object that was read, and is read anew where the listing has changed before it', async () => {
  const path = journalPath();
  const all = await watched(TIMELINE, () => undefined);
  expect((await look(all, { wal: true, backups: [] })).findings).toEqual([]);
  const order = all.read;
  expect(order.length).toBeGreaterThan(5);
  for (const removed of [undefined, order[1]]) {
    rmSync(path, { force: true });
    const abort = new AbortController();
    let isOver = false;
    const one = await watched(TIMELINE, (key) => {
      if (!isOver && key === order[5]) abort.abort();
    });
    const options = { wal: true, backups: [], concurrency: 1 };
    const first = await look(one, { ...options, journal: new FileJournal(path, RUN), signal: abort.signal });
    expect(isArchiveError(first.stopped, 'ABORTED')).toBe(true);
    isOver = true;
    one.read.length = 0;
    // A slice of a segment that came whole may go.
    if (removed !== undefined) await one.storage.remove([removed]);
    const rest = await look(one, { ...options, journal: new FileJournal(path, RUN) });
    expect(rest).toMatchObject({ findings: [], skipped: [], stopped: undefined });
    // The fourth object was marked: records that go on behind it need it again.
    expect(one.read).toEqual(removed === undefined ? order.slice(3) : order.filter((key) => key !== removed));
    expect(rest.objects).toBe((await look(one, options)).objects);
  }
});

test('what was replaced since, by an object of another size, is read again', async () => {
  const path = journalPath();
  const one = await golden();
  expect((await look(one, { journal: new FileJournal(path, RUN) })).findings).toEqual([]);
  const key = await keyLike(one, /base\/0000\.tar/);
  await replace(one, key, Buffer.from('short'));
  expect((await look(one, { journal: new FileJournal(path, RUN) })).findings).toMatchObject([{ key }]);
});

test('what was damaged is not on the list: it is read again', async () => {
  const path = journalPath();
  const one = await golden();
  const key = await keyLike(one, /base\/0000\.tar/);
  const { size } = await one.storage.stat(key);
  await replace(one, key, Buffer.alloc(size));
  for (const _ of ['first', 'second'])
    expect((await look(one, { journal: new FileJournal(path, RUN) })).findings).toMatchObject([{ key }]);
  expect(readFileSync(path, 'utf8')).not.toContain(key);
});

test('a file of another run is refused, and so is one that cannot be written', () => {
  const path = journalPath();
  expect(new FileJournal(path, RUN).isResumed).toBe(false);
  for (const [place, run] of [
    [path, { ...RUN, level: 'sample' }],
    [path, { ...RUN, repositories: ['primary', 'far'] }],
    ['/proc/none', RUN],
  ] as const)
    expect(() => new FileJournal(place, run)).toThrow(expect.toSatisfy((error) => isArchiveError(error, 'USAGE')));
});
