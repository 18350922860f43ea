/** A hole in a repository that is closed from servers, which remove their oldest WAL first. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { closeHole, type ClosedHole } from '../../core/src/guardian/close-hole.ts';
import { parseLsn } from '../../core/src/postgres/lsn.ts';
import { resolveTarget, type ConnectionTarget } from '../../core/src/postgres/target.ts';
import { segmentName } from '../../core/src/postgres/wal-file.ts';
import type { Repository } from '../../core/src/repository/repository.ts';
import { freePort } from '../support/free-port.ts';
import { fsRepository } from '../support/fs-repository.ts';
import { later } from '../support/later.ts';
import { MAJORS, PostgresServer, removeFolder, temporaryFolder } from '../support/postgres.ts';
import { systemIdOf } from '../support/ship-wal.ts';

const SEGMENT = 1024 * 1024;
const SEGMENTS = 21;
/** On another version each day: what is asked of the server is the same on all. */
const MAJOR = MAJORS[Math.floor(Date.now() / 86_400_000) % MAJORS.length] ?? 18;

let server: PostgresServer;
let systemId = '';
/** Numbers of whole segments that the server has; the one behind them is in the repository, too. */
let first = 0n;
let last = 0n;

beforeAll(async () => {
  const settings = { wal_keep_size: '1GB', wal_recycle: 'off', log_replication_commands: 'on' };
  server = await PostgresServer.start({ major: MAJOR, segmentMegabytes: 1, settings });
  systemId = await systemIdOf(server);
  const current = async (): Promise<bigint> =>
    parseLsn(await server.value('SELECT pg_current_wal_insert_lsn()')) / BigInt(SEGMENT);
  await server.query(`SELECT pg_switch_wal()`);
  first = await current();
  for (let count = 0; count <= SEGMENTS; count++) {
    await server.query(`SELECT pg_logical_emit_message(false, 'test', '')`);
    await server.query('SELECT pg_switch_wal()');
  }
  last = first + BigInt(SEGMENTS) - 1n;
  if ((await current()) !== last + 2n) throw new Error('other segments were written beside');
});
afterAll(() => server.destroy());

const name = (number: bigint): string => segmentName(1, number, SEGMENT);
const pathOf = (number: bigint): string => join(server.data, 'pg_wal', name(number));

const requests = (): number => server.log.split('received replication command: START_REPLICATION').length;

async function targetOf(url: string): Promise<ConnectionTarget> {
  return resolveTarget({ url }, { env: {}, home: '/nonexistent', applicationName: 'pgark' });
}

interface Closing {
  readonly lacking: Repository;
  readonly closed: ClosedHole;
  /** How often the server was asked for WAL. */
  readonly asked: number;
}

/** Lets a repository that has only what lies behind it close the whole hole from these servers. */
async function close(
  servers: readonly ConnectionTarget[],
  options: { readonly systemId?: string } = {},
): Promise<Closing> {
  const folder = later(temporaryFolder('hole'), removeFolder);
  const lacking = await fsRepository(join(folder, 'repository'), { compressed: false });
  await lacking.open({ create: true });
  const own = lacking.wal(options.systemId ?? systemId);
  await own.push(name(last + 1n), { path: pathOf(last + 1n) });
  const before = requests();
  const closed = await closeHole(
    lacking,
    { timeline: 1, first, last },
    {
      systemId,
      segmentSize: SEGMENT,
      others: [],
      servers,
      folder: join(folder, 'holes'),
      signal: new AbortController().signal,
      ...options,
    },
  );
  expect(existsSync(join(folder, 'holes'))).toBe(false);
  return { lacking, closed, asked: requests() - before };
}

/** Takes the oldest segments away from the server until the end of the test. */
function remove(count: number): void {
  const aside = later(join(server.folder, 'aside'), removeFolder);
  mkdirSync(aside);
  for (let number = first; number < first + BigInt(count); number += 1n) {
    const kept = join(aside, name(number));
    renameSync(pathOf(number), kept);
    later(kept, (path) => renameSync(path, pathOf(number)));
  }
}

async function digests(repository: Repository): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  for await (const { file, digest } of repository.wal(systemId).segments(1, { segmentSize: SEGMENT }))
    found.set(file.name, digest);
  expect(found.delete(name(last + 1n))).toBe(true);
  return found;
}

test.each([0, 1, 2, 7, 8, 9, 13, SEGMENTS - 2, SEGMENTS - 1, SEGMENTS])(
  'what a server still has of a hole is brought, byte for byte, when it has removed the oldest %i segments',
  async (removed) => {
    remove(removed);
    const { lacking, closed, asked } = await close([await targetOf(server.url())]);
    const begin = first + BigInt(removed);
    const theirs = new Map<string, string>();
    for (let number = begin; number <= last; number += 1n)
      theirs.set(
        name(number),
        createHash('sha256')
          .update(readFileSync(pathOf(number)))
          .digest('hex')
          .slice(0, 32),
      );
    expect(await digests(lacking)).toEqual(theirs);
    expect(closed.left).toEqual(removed === 0 ? [] : [{ timeline: 1, first, last: begin - 1n }]);
    expect(closed.silent).toEqual([]);
    expect([...closed.brought.values()]).toEqual(removed === SEGMENTS ? [] : [SEGMENTS - removed]);
    // Neither one request for each segment that is gone, nor the same WAL twice but for one segment or two.
    expect(asked).toBeLessThanOrEqual(3 + Math.ceil(Math.log2(SEGMENTS)) + Math.ceil(SEGMENTS / 8));
  },
);

test('servers are asked one after the other for what is left, and one that is away or of another system is silent, not empty', async () => {
  remove(5);
  const port = await freePort();
  const away = await targetOf(`postgres://postgres@127.0.0.1:${port}/postgres`);
  const { lacking, closed } = await close([away, await targetOf(server.url())]);
  expect((await digests(lacking)).size).toBe(SEGMENTS - 5);
  expect(closed.left).toEqual([{ timeline: 1, first, last: first + 4n }]);
  expect(closed.silent).toMatchObject([{ name: `server 127.0.0.1:${port}`, error: { code: 'SERVER_UNREACHABLE' } }]);

  const other = await close([await targetOf(server.url())], { systemId: '42' });
  expect(other.closed.left).toEqual([{ timeline: 1, first, last }]);
  expect(other.closed.silent).toMatchObject([{ error: { code: 'SYSTEM_MISMATCH' } }]);
  const taken = [];
  for await (const { file } of other.lacking.wal('42').segments(1, { segmentSize: SEGMENT })) taken.push(file.name);
  expect(taken).toEqual([name(last + 1n)]);
});
