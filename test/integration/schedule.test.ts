/** Jobs on real servers: one runner among several, and what becomes of runs when daemons, servers and storages fail. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Archive } from '../../core/src/archive/archive.ts';
import { openArchive } from '../../core/src/archive/open.ts';
import { lockKey } from '../../core/src/schedule/cluster-lock.ts';
import type { Run, Scheduler } from '../../core/src/schedule/run.ts';
import type { JobScheduler } from '../../core/src/schedule/scheduler.ts';
import { TestArchive } from '../support/archive.ts';
import { serverUser } from '../support/binaries.ts';
import { fsRepository } from '../support/fs-repository.ts';
import { PostgresServer, removeFolder, temporaryFolder } from '../support/postgres.ts';
import { ScheduleScene } from '../support/schedule-scene.ts';
import { systemIdOf } from '../support/ship-wal.ts';
import { SOURCE_FLAGS } from '../support/source-flags.ts';
import { caughtUp, destroyStandby, promote, startStandby } from '../support/standby.ts';
import { until } from '../support/until.ts';

const PROGRAM = fileURLToPath(new URL('../support/scheduler-process.ts', import.meta.url));

interface Told {
  readonly id: string;
  readonly state: string;
  readonly kind: string;
  readonly trigger: string;
  readonly repeats?: string;
}

/** A daemon of the kind of {@link PROGRAM}. */
class SchedulerProcess {
  readonly child: ChildProcess;
  readonly runs: Told[] = [];
  state = '';
  output = '';

  /** Its clock goes faster from a moment on. */
  constructor(config: string, from: number) {
    this.child = spawn(
      process.execPath,
      [...SOURCE_FLAGS, '--conditions=@pgark/source', PROGRAM, config, String(from)],
      {
        ...serverUser(),
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    let rest = '';
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.output += text;
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        if (line.startsWith('run ')) this.runs.push(JSON.parse(line.slice(4)) as Told);
        if (line.startsWith('state ')) this.state = line.slice(6);
      }
    });
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.output += text));
    cleanup.push(() => this.end('SIGKILL'));
  }

  get isLeading(): boolean {
    return this.state.includes('"running"');
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = once(this.child, 'exit');
    this.child.kill(signal);
    await ended;
  }
}

const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const undo of cleanup.splice(0).toReversed()) await undo();
});

let server: PostgresServer;
beforeAll(async () => {
  server = await PostgresServer.start({ major: 17, segmentMegabytes: 1 });
});
afterAll(() => server.destroy());

async function withJobs(
  schedule: readonly object[],
  more: object,
): Promise<{ archive: TestArchive; open: () => Promise<Archive> }> {
  const archive = new TestArchive(server, { config: { schedule, status: { cacheAge: 'off' }, ...more } });
  cleanup.push(() => archive.destroy());
  const open = async (): Promise<Archive> => {
    const opened = await openArchive({ config: archive.config });
    cleanup.push(() => opened.close());
    return opened;
  };
  return { archive, open };
}

async function runsOf(open: () => Promise<Archive>): Promise<readonly Run[]> {
  const archive = await open();
  return (await archive.runs()).runs;
}

/** A repository in a folder of its own, and a scheduler whose work is in the hands of the test. */
async function scene(): Promise<ScheduleScene> {
  const folder = temporaryFolder('schedule');
  cleanup.push(() => {
    removeFolder(folder);
  });
  const repository = await fsRepository(folder);
  await repository.open({ create: true });
  return new ScheduleScene(repository);
}

function begin(on: ScheduleScene, url: string, host = 'backup1'): JobScheduler {
  const scheduler = on.scheduler(url, host);
  cleanup.push(() => scheduler.close());
  return scheduler;
}

const stateOf = (scheduler: Scheduler, pattern: RegExp): Promise<void> =>
  until(
    `its state is ${pattern}`,
    () => pattern.test(JSON.stringify(scheduler.state)),
    () => JSON.stringify(scheduler.state),
  );

describe('one runner among several', () => {
  test('H-82 of two daemons one runs the jobs; when it is killed the other one does its run again, once', async () => {
    // It takes minutes, at that rate.
    const slow = { backup: { maxRate: '32KiB', checkpoint: 'fast' } };
    const { archive, open } = await withJobs([{ do: 'backup', at: '0 */5 * * * *', window: '1h' }], slow);
    const receiver = await archive.receive(server);
    cleanup.push(() => receiver.stop());
    const from = Date.now();
    const first = new SchedulerProcess(archive.config, from);
    await until(
      'the first one leads',
      () => first.isLeading,
      () => first.output,
    );
    const second = new SchedulerProcess(archive.config, from);
    await until(
      'the second one waits, and knows for whom',
      () => second.state.includes('runs the jobs of cluster \\"main\\"'),
      () => second.output,
    );
    await until(
      'a backup goes on',
      () => first.runs.length > 0,
      () => first.output,
    );
    const [killed] = first.runs as [Told];
    expect(killed).toMatchObject({ state: 'running', kind: 'backup' });
    await first.end('SIGKILL');
    await until(
      'the second one does it again',
      () => second.runs.some(({ state }) => state === 'running'),
      () => second.output,
    );
    expect(second.runs).toMatchObject([
      { id: killed.id, state: 'interrupted' },
      { state: 'running', trigger: 'catch-up', repeats: killed.id },
    ]);
    await second.end('SIGTERM');
    const runs = await runsOf(open);
    expect(runs.map(({ id, state }) => [id, state])).toEqual([
      [second.runs[1]?.id, 'interrupted'],
      [killed.id, 'interrupted'],
    ]);
    expect(runs[0]).toMatchObject({ repeats: killed.id, trigger: 'catch-up' });
    // What the archive says to people and to programs.
    expect(await archive.run(['runs', '--limit', '1'])).toMatch(
      /^ID +DOES .*\nbackup-\S+ +backup +catch-up +interrupted .*was stopped\n$/,
    );
    const shown = await archive.json<Run[]>(['runs', '--job', 'backup', '--state', 'interrupted']);
    expect(shown.map(({ id }) => id)).toEqual(runs.map(({ id }) => id));
  });

  test('who has lost the lock to another one cancels what runs, and leaves it to that one', async () => {
    const on = await scene();
    const scheduler = begin(on, server.url());
    const drill = await on.drill(scheduler);
    // Who waits for the lock on the server gets it the moment that the connection is gone.
    const other = await server.client();
    cleanup.push(() => other.end());
    const key = String(lockKey('main', await systemIdOf(server)));
    const taken = other.query('SELECT pg_advisory_lock($1::bigint)', [key]);
    const ended = await server.query(
      `SELECT pg_terminate_backend(pid) AS done FROM pg_stat_activity WHERE application_name LIKE 'pgark scheduler%'`,
    );
    expect(ended).toEqual([{ done: true }]);
    await taken;
    await stateOf(scheduler, /"waiting".*runs the jobs of cluster/);
    await until('it is cancelled', async () =>
      (await on.runs('drill', 'interrupted')).some(({ id }) => id === drill.id),
    );
    expect(on.work.get(drill.id)?.signal.aborted).toBe(true);
    await other.query('SELECT pg_advisory_unlock_all()');
    await stateOf(scheduler, /"running"/);
  });

  test('a connection that is gone, and of which the server does not know yet, is no other daemon: what runs goes on', async () => {
    const on = await scene();
    const ways: [near: Socket, far: Socket][] = [];
    const relay = createServer((near) => {
      const far = connect(server.port, '127.0.0.1');
      ways.push([near, far]);
      near.on('error', () => undefined).on('data', (bytes) => far.write(bytes));
      far.on('error', () => undefined).on('data', (bytes) => near.destroyed || near.write(bytes));
      cleanup.push(() => far.destroy());
    });
    cleanup.push(() => relay.close());
    relay.listen(0, '127.0.0.1');
    await once(relay, 'listening');
    const { port } = relay.address() as AddressInfo;
    const scheduler = begin(on, `postgres://postgres@127.0.0.1:${port}/postgres`);
    const drill = await on.drill(scheduler);
    const before = [...ways];
    for (const [near] of before) near.destroy();
    await stateOf(scheduler, /"waiting".*a former connection of this daemon is gone/);
    expect(on.work.get(drill.id)?.signal.aborted).toBe(false);
    for (const [, far] of before) far.destroy();
    await stateOf(scheduler, /"running"/);
    expect(scheduler.running().map(({ id }) => id)).toEqual([drill.id]);
    expect(on.work.get(drill.id)?.signal.aborted).toBe(false);
  });
});

describe('jobs do what their commands do', () => {
  test('and say what came of it, with the log of the run', async () => {
    const { open } = await withJobs([], { backup: { checkpoint: 'fast' } });
    const opened = await open();
    const received = opened.receive();
    received.catch(() => undefined); // it is cancelled with the archive
    const scheduler = await opened.openScheduler({ lockInterval: 100 });
    await stateOf(scheduler, /"running"/);
    const done = async (kind: Run['kind']): Promise<Run> => {
      const { id } = await scheduler.start({ kind, by: 'anna' });
      await until(`${kind} ends`, () => scheduler.running().every((run) => run.id !== id));
      expect(scheduler.log(id)?.at(-1)?.message).toContain(id);
      const { runs } = await opened.runs({ jobs: [kind], limit: 1 });
      return runs[0] as Run;
    };
    const backup = await done('backup');
    expect(backup).toMatchObject({ state: 'succeeded', by: 'anna', summary: expect.stringMatching(/^backup 2.*MiB$/) });
    const { backups } = await opened.backups();
    expect(backups.map(({ id }) => id)).toEqual([backup.result?.['backup']]);
    expect(await done('verify')).toMatchObject({ state: 'succeeded', summary: 'verified primary (sample)' });
    expect(await done('expire')).toMatchObject({ state: 'succeeded', result: { objects: 0 } });
    expect(await done('gc')).toMatchObject({ state: 'succeeded' });
    // Servers of tests run with fsync off.
    expect(await done('check')).toMatchObject({
      state: 'failed',
      error: { code: 'CHECK_FAILED' },
      result: { failed: 1 },
    });
    expect(await done('drill')).toMatchObject({ state: 'failed', error: { code: 'USAGE' } });
    const { runs } = await opened.runs({ states: ['failed'] });
    expect(runs.map(({ kind }) => kind)).toEqual(['drill', 'check']);
  });
});

describe('the server', () => {
  test('is restarted: what runs goes on, nothing begins meanwhile, and the same daemon goes on afterwards', async () => {
    const own = await PostgresServer.start({ major: 17, segmentMegabytes: 1 });
    cleanup.push(() => own.destroy());
    const on = await scene();
    const scheduler = begin(on, own.url());
    const drill = await on.drill(scheduler);
    await own.stop('fast');
    await stateOf(scheduler, /"waiting".*(lost|REFUSED)/);
    await expect(scheduler.start({ kind: 'check', by: 'anna' })).rejects.toMatchObject({ code: 'SCHEDULER_WAITING' });
    const checks = (await on.runs('check', 'succeeded')).length;
    await stateOf(scheduler, /"waiting".*REFUSED/);
    expect(on.work.get(drill.id)?.signal.aborted).toBe(false);
    await own.start();
    await stateOf(scheduler, /"running"/);
    await until('more is run', async () => (await on.runs('check', 'succeeded')).length > checks);
    on.work.get(drill.id)?.end();
    await until('it has ended', async () => (await on.runs('drill', 'succeeded')).some(({ id }) => id === drill.id));
    expect(await on.runs('drill', 'interrupted')).toEqual([]);
  });

  test('is a standby, which cannot be the judge: after a promotion the lock is taken on the new primary', async () => {
    const primary = await PostgresServer.start({ major: 17, segmentMegabytes: 1 });
    cleanup.push(() => primary.destroy());
    await primary.stop();
    const standby = await startStandby(primary);
    cleanup.push(() => destroyStandby(standby));
    const on = await scene();
    const hosts = `postgres://postgres@127.0.0.1:${standby.port},127.0.0.1:${primary.port}/postgres`;
    const scheduler = begin(on, hosts);
    const drill = await on.drill(scheduler);
    const locked = `SELECT count(*)::int AS locks FROM pg_locks WHERE locktype = 'advisory' AND granted`;
    expect([await primary.query(locked), await standby.query(locked)]).toEqual([[{ locks: 1 }], [{ locks: 0 }]]);
    await caughtUp(primary, standby);
    await primary.stop('immediate');
    await stateOf(scheduler, /"waiting".*a standby cannot say/);
    await promote(standby);
    await stateOf(scheduler, /"running"/);
    expect(await standby.query(locked)).toEqual([{ locks: 1 }]);
    expect(on.work.get(drill.id)?.signal.aborted).toBe(false);
    on.work.get(drill.id)?.end();
    await until('it has ended', async () => (await on.runs('drill', 'succeeded')).some(({ id }) => id === drill.id));
  });
});
