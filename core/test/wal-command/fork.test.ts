/** The end of a timeline that another one has left. With servers it is in test/faults/standby-fork.test.ts. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Secret } from '../../src/contracts/secret.ts';
import { formatLsn } from '../../src/postgres/lsn.ts';
import { Spool } from '../../src/receive/spool.ts';
import type { Repository } from '../../src/repository/repository.ts';
import { walFetch, type WalFetchOptions } from '../../src/wal-command/fetch.ts';
import { fetchFromServer } from '../../src/wal-command/fetch-from-server.ts';
import { ask, serving, target, TOKEN } from '../server/serving.ts';
import { memoryRepository, pluginContext } from '../repository/repository.ts';
import { SEGMENT_SIZE, SYSTEM_ID, walSegment } from './segments.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'pgark-fork-'));
  mkdirSync(join(folder, 'pg_wal'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Of segment 5 the former primary had sent 512 KiB, of which the new one got the first 256. */
const { name, bytes } = walSegment(5n);
const [FORK, SENT] = [SEGMENT_SIZE / 4, SEGMENT_SIZE / 2];
const lsnOf = (segment: bigint, offset: number): string => formatLsn(segment * BigInt(SEGMENT_SIZE) + BigInt(offset));
const historyAt = (lsn: string): Uint8Array => Buffer.from(`1\t${lsn}\tno recovery target specified\n`);
const atFork = historyAt(lsnOf(5n, FORK));

async function archiveWith(histories: Readonly<Record<string, Uint8Array>>): Promise<Repository> {
  const repository = await memoryRepository();
  await repository.open({ create: true });
  const archive = repository.wal(SYSTEM_ID);
  const before = walSegment(4n);
  await archive.push(before.name, { bytes: before.bytes });
  await archive.pushTail(name, 0, SENT, bytes.subarray(0, SENT));
  for (const [history, content] of Object.entries(histories)) await archive.push(history, { bytes: content });
  return repository;
}

/** How many bytes are given of segment 5; undefined when it is missing. */
async function given(repository: Repository, options: Partial<WalFetchOptions> = {}): Promise<number | undefined> {
  const path = join(folder, 'pg_wal', 'RECOVERYXLOG');
  const { outcome } = await walFetch({
    name,
    path,
    repositories: [repository],
    systemId: SYSTEM_ID,
    dataDirectories: [folder],
    mode: 'standby',
    retry: 0,
    logger: pluginContext.logger,
    ...options,
  });
  if (outcome === 'missing') return undefined;
  const found = readFileSync(path);
  expect(found.byteLength).toBe(SEGMENT_SIZE);
  const length = found.findLastIndex((byte) => byte !== 0) + 1;
  expect(found.subarray(0, length).equals(bytes.subarray(0, length))).toBe(true);
  return length;
}

test('H-08 slices from behind a fork that the archive knows are not given, unless the old timeline is followed', async () => {
  const repository = await archiveWith({ '00000002.history': atFork });
  expect(await given(repository)).toBe(FORK);
  expect(await given(repository, { mode: 'recovery' })).toBe(FORK);
  expect(await given(repository, { timeline: 2 })).toBe(FORK);
  expect(await given(repository, { timeline: 1 })).toBe(SENT);
  expect(await given(await archiveWith({}))).toBe(SENT);
});

test('H-08 the newest timeline that descends from it says where it ends; another one only when it is followed', async () => {
  const repository = await archiveWith({
    '00000002.history': historyAt(lsnOf(5n, FORK / 2)),
    '00000003.history': atFork,
    '00000004.history': Buffer.from(`2\t${lsnOf(6n, 40)}\tno recovery target specified\n`),
  });
  expect(await given(repository)).toBe(FORK);
  expect(await given(repository, { timeline: 2 })).toBe(FORK / 2);
  expect(await given(repository, { timeline: 4 }), 'it says nothing of timeline 1').toBe(SENT);
});

test.each([
  ['in an earlier segment', lsnOf(4n, 100), undefined],
  ['at the first byte of the segment', lsnOf(5n, 0), undefined],
  ['behind all that there is', lsnOf(5n, SENT), SENT],
  ['at the end of the segment', lsnOf(6n, 0), SENT],
])('H-08 a fork %s', async (_, lsn, expected) => {
  const warnings: string[] = [];
  const logger = { ...pluginContext.logger, warn: (_fields: object, message: string) => void warnings.push(message) };
  const repository = await archiveWith({ '00000002.history': historyAt(lsn) });
  expect(await given(repository, { mode: 'recovery', logger })).toBe(expected);
  expect(warnings.length).toBe(expected === undefined ? 1 : 0);
});

test('H-08 the fork is known from the spool, too, and cuts what lies there and what a server archived', async () => {
  const repository = await archiveWith({});
  const root = join(folder, 'spool');
  const spool = new Spool(root, repository.cluster).folderOf(SYSTEM_ID);
  mkdirSync(spool, { recursive: true });
  writeFileSync(join(spool, '00000002.history'), atFork);
  expect(await given(repository, { spool: root })).toBe(FORK);
  writeFileSync(join(spool, `${name}.partial`), bytes);
  expect(await given(repository, { spool: root })).toBe(FORK);
  expect(await given(repository, { spool: root, timeline: 1 })).toBe(SEGMENT_SIZE);
  rmSync(join(spool, `${name}.partial`));
  await repository.wal(SYSTEM_ID).push(`${name}.partial`, { bytes });
  expect(await given(repository, { spool: root })).toBe(FORK);
});

test('H-08 a server gives it up to the fork, unless it is told that the old timeline is followed', async () => {
  const server = await serving({ repositories: [await archiveWith({ '00000002.history': atFork })] });
  const path = join(folder, 'pg_wal', 'RECOVERYXLOG');
  for (const [timeline, expected] of [
    [{}, FORK],
    [{ timeline: 2 }, FORK],
    [{ timeline: 1 }, SENT],
  ] as const) {
    await fetchFromServer({
      name,
      path,
      url: `${server.url}/v1/main`,
      token: new Secret(TOKEN),
      systemId: SYSTEM_ID,
      dataDirectories: [],
      mode: 'none',
      retry: 0,
      logger: pluginContext.logger,
      ...timeline,
    });
    expect(readFileSync(path).findLastIndex((byte) => byte !== 0) + 1).toBe(expected);
  }
  const wrong = await ask(server, target(name), { headers: { 'pgark-timeline': 'latest' } });
  expect(wrong.status).toBe(400);
});
