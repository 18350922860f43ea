/**
 * The web service of examples/embed as a program of its own: two archives in one process, both servers under load, the backup of one cancelled
 * in its middle, that of the other restored and started.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import { TestArchive } from '../support/archive.ts';
import { serverUser } from '../support/binaries.ts';
import { CLI } from '../support/cli.ts';
import { ledger, Writers } from '../support/load.ts';
import { giveToServer, PostgresServer } from '../support/postgres.ts';
import { untilPromoted } from '../support/restoring.ts';
import { SOURCE_FLAGS } from '../support/source-flags.ts';
import { until } from '../support/until.ts';

const MAIN = fileURLToPath(new URL('../../examples/embed/main.ts', import.meta.url));

const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const undo of cleanup.splice(0).toReversed()) await undo();
});

interface Job {
  readonly id: string;
  readonly state: 'running' | 'done' | 'failed';
  readonly progress?: { readonly id?: string; readonly stage: string; readonly bytes?: number };
  readonly result?: { readonly id?: string; readonly directory?: string; readonly backup?: string };
  readonly error?: { readonly code: string };
}

test('two archives in one process under load: one backup is aborted, the other one is restored; nothing is left open', async () => {
  const [orders, users] = await Promise.all([cluster('orders'), cluster('users')]);
  const restores = join(users.archive.folder, 'restores');
  mkdirSync(restores);
  giveToServer(restores);
  const service = await start(restores, [orders.archive.config, users.archive.config]);
  await Promise.all([orders, users].map(({ server }) => streams(server)));
  const writers = await Promise.all([orders, users].map(({ server }) => Writers.start(server, 2)));
  cleanup.push(() => Promise.all(writers.map((load) => load.stop())));

  const [aborted, kept] = await Promise.all([
    service.post('/clusters/orders/backups', { maxRate: '2MB' }),
    service.post('/clusters/users/backups', { label: 'kept' }),
  ]);
  const middle = await service.job(
    aborted.id,
    ({ progress }) => progress?.stage === 'copying' && (progress.bytes ?? 0) > 6_000_000,
  );
  expect(middle.state).toBe('running');
  await service.call('DELETE', `/jobs/${aborted.id}`);
  expect(await service.job(aborted.id, ended)).toMatchObject({ state: 'failed', error: { code: 'ABORTED' } });
  const done = await service.job(kept.id, ended);
  expect(done, JSON.stringify(done)).toMatchObject({ state: 'done' });
  const [, acknowledged = []] = writers.map((load) => load.acknowledged);

  // The other one is untouched, and the archive of the aborted one takes the next.
  expect(await service.call('GET', '/clusters/users/backups')).toMatchObject([
    { id: done.result?.id, state: 'complete' },
  ]);
  expect(await service.call('GET', '/clusters/orders/backups')).toMatchObject([
    { id: middle.progress?.id, state: 'incomplete' },
  ]);
  const next = await service.post('/clusters/orders/backups', {});
  expect(await service.job(next.id, ended)).toMatchObject({ state: 'done' });
  expect(await service.call('GET', '/clusters/users/status')).toMatchObject({ lastBackup: done.result?.id });

  expect(await service.call('POST', '/clusters/users/restores', { folder: '../tuesday' })).toMatchObject({
    error: { code: 'USAGE' },
  });
  const planned = await service.call('POST', '/clusters/users/restores', { folder: 'tuesday', plan: true });
  expect(planned).toMatchObject({ reachable: true, backup: done.result?.id, problems: [] });
  expect(existsSync(join(restores, 'tuesday'))).toBe(false);
  const [restoring, second] = await Promise.all([
    service.post('/clusters/users/restores', { folder: 'tuesday' }),
    service.post('/clusters/users/restores', { folder: 'tuesday' }),
  ]);
  const both = await Promise.all([restoring, second].map(({ id }) => service.job(id, ended)));
  // Of two into one folder one is refused, and the other is whole.
  const [refused, restored] = both.toSorted((one, other) => other.state.localeCompare(one.state));
  expect(refused).toMatchObject({ state: 'failed', error: { code: 'RESTORE_TARGET_IN_USE' } });
  expect(restored).toMatchObject({ state: 'done', result: { backup: done.result?.id } });

  await Promise.all(writers.map((load) => load.stop()));
  // Its stdout and stderr; it ends by itself.
  expect(await service.stop()).toEqual({ code: 0, handles: ['PipeWrap', 'PipeWrap'] });
  const clone = await PostgresServer.open(users.server.major, join(restores, 'tuesday'));
  cleanup.push(() => clone.destroy());
  await clone.start();
  await untilPromoted(clone);
  const { last, holes } = await ledger(clone);
  expect(holes).toBe(0);
  for (const [session, number] of acknowledged.entries()) expect(last[session]).toBeGreaterThanOrEqual(number);

  // What the aborted backup has left is named by gc, and gone after it.
  const { archive } = orders;
  const id = middle.progress?.id ?? '';
  const left = (): boolean => filesOf(archive.repository).some((file) => file.includes(id));
  expect(left()).toBe(true);
  const [found] = await archive.json<{ found: { kind: string; subject: string }[] }[]>(['gc', '--grace', '1s']);
  expect(found?.found).toContainEqual(expect.objectContaining({ kind: 'backup', subject: id, action: 'remove' }));
  await archive.run(['gc', '--grace', '1s', '--confirm']);
  expect(filesOf(archive.repository).filter((file) => file.includes(id) || file.includes('/leases/'))).toEqual([]);
  const [clean] = await archive.json<{ found: unknown[] }[]>(['gc', '--grace', '1s']);
  expect(clean?.found).toEqual([]);
});

const ended = ({ state }: Job): boolean => state !== 'running';

interface Cluster {
  readonly server: PostgresServer;
  readonly archive: TestArchive;
}

async function cluster(name: string): Promise<Cluster> {
  const server = await PostgresServer.create({ major: name === 'orders' ? 16 : 18, segmentMegabytes: 1 });
  cleanup.push(() => server.destroy());
  await server.start();
  // Small parts, so that a backup that is aborted has stored some.
  const archive = new TestArchive(server, { config: { cluster: name, backup: { partSize: '1MiB' } } });
  cleanup.push(() => archive.destroy());
  return { server, archive };
}

async function streams(server: PostgresServer): Promise<void> {
  const query = `SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'`;
  await until('the service streams', async () => (await server.value(query)) === '1');
}

/** The names of all files below a folder. */
function filesOf(folder: string): readonly string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' });
}

interface Running {
  call(method: string, path: string, body?: unknown): Promise<unknown>;
  post(path: string, body: unknown): Promise<Job>;
  /** Looks at a job until it is so. */
  job(id: string, wanted: (job: Job) => boolean): Promise<Job>;
  /** Asks it to stop, and waits until it has ended by itself. */
  stop(): Promise<{ readonly code: number | null; readonly handles: readonly string[] | undefined }>;
}

/** Starts the program as the user of the servers. */
async function start(restores: string, configs: readonly string[]): Promise<Running> {
  const child = spawn(process.execPath, [...SOURCE_FLAGS, '--conditions=@pgark/source', MAIN, restores, ...configs], {
    ...serverUser(),
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], NODE_NO_WARNINGS: '1', EMBED_COMMAND: CLI.join(' ') },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  const closed = once(child, 'close') as Promise<[number | null]>;
  cleanup.push(() => child.kill('SIGKILL'));
  await until('the service listens', () => {
    if (child.exitCode !== null) throw new Error(`the service ended with ${child.exitCode}:\n${output}`);
    return output.includes('listening at');
  });
  const url = /listening at (\S+)/.exec(output)?.[1] ?? '';
  const call = async (method: string, path: string, body?: unknown): Promise<unknown> => {
    const content = body === undefined ? {} : { body: JSON.stringify(body) };
    const answer = await fetch(url + path, { method, ...content });
    return answer.json();
  };
  return {
    call,
    post: async (path, body) => (await call('POST', path, body)) as Job,
    job: async (id, wanted) => {
      for (let before = ''; ;) {
        let job: Job | undefined;
        // It may take its time, but not stand still.
        const moves = async (): Promise<boolean> => {
          job = (await call('GET', `/jobs/${id}`)) as Job;
          return wanted(job) || JSON.stringify(job) !== before;
        };
        await until('the job goes on', moves, () => before + output);
        if (job !== undefined && wanted(job)) return job;
        before = JSON.stringify(job);
      }
    },
    stop: async () => {
      child.kill('SIGTERM');
      const [code] = await closed;
      const handles = /closed(.*)/.exec(output)?.[1]?.trim().split(' ');
      return { code, handles };
    },
  };
}
