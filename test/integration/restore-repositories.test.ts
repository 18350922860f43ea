/** Restores from two repositories, each of which lacks something or holds it damaged. */
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import { ArchiveError, type Storage } from '@pgark/sdk';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { parseLsn } from '../../core/src/postgres/lsn.ts';
import type { Repository } from '../../core/src/repository/repository.ts';
import type { RestorePlan } from '../../core/src/restore/plan-types.ts';
import { planRestore } from '../../core/src/restore/plan.ts';
import type { RecoveryTarget } from '../../core/src/restore/target.ts';
import { restore } from '../../core/src/restore/restore.ts';
import { serverUser } from '../support/binaries.ts';
import { runCli, type CliOptions, type CliResult } from '../support/cli.ts';
import { DamagedPair } from '../support/damaged-pair.ts';
import { fsRepository } from '../support/fs-repository.ts';
import { giveToServer, PostgresServer } from '../support/postgres.ts';
import { startAndPromote } from '../support/restoring.ts';

let pair: DamagedPair;
beforeAll(async () => {
  pair = await DamagedPair.make();
});
afterEach(() => pair.endTest());
afterAll(() => pair.destroy());

const pgark = (args: readonly string[], options: CliOptions = {}): Promise<CliResult> => pair.pgark(args, options);

interface Plan {
  readonly reachable: boolean;
  readonly repositories: readonly string[];
  readonly backup: { readonly id: string; readonly repositories: readonly string[] };
  readonly data: { readonly bytes: number };
  readonly wal: { readonly missing?: { readonly names: readonly string[] } };
  readonly settings: Readonly<Record<string, string>>;
  readonly problems: readonly { readonly code: string; readonly message: string; readonly hint: string }[];
  readonly warnings: readonly string[];
}

test('what one repository lacks or holds damaged comes from the other, and the server has all rows', async () => {
  const data = pair.newFolder('restored');
  const result = await pgark(['--json', 'restore', '--no-sync', data]);
  expect(result.code, result.stderr).toBe(0);
  const { plan, bytes, notes } = JSON.parse(result.stdout) as {
    readonly plan: Plan;
    readonly bytes: number;
    readonly notes: readonly string[];
  };
  expect(plan.backup).toMatchObject({ id: pair.backup, repositories: ['a', 'b'] });
  expect(plan.repositories).toEqual(['a', 'b']);
  expect(plan.wal.missing).toBeUndefined();
  expect(plan.settings['restore_command']).not.toContain('--repository');
  // What was written of the damaged part counts once.
  expect(bytes).toBe(plan.data.bytes);
  expect(notes).toContainEqual(
    expect.stringMatching(
      /^base\/0002\.tar\.zst of backup .* in repository a cannot be used \(.*\); repository b was used$/,
    ),
  );
  const server = await PostgresServer.open(18, data);
  pair.onTestEnd(() => server.destroy());
  await startAndPromote(server);
  expect(await server.value(`SELECT string_agg(n::text, ' ' ORDER BY n) FROM numbers`)).toBe('1 2 3');
  expect(await server.value('SELECT count(*) FROM big')).toBe('10000');
  expect(server.log).toMatch(new RegExp(`repository a: .*${pair.segments.damaged}.*; another repository is used`));
});

test('while a repository cannot be read nothing is restored whose end it may know, until the operator does without it', async () => {
  pair.away('b');
  const data = pair.newFolder('truncated');
  const [planned, restored, immediate, behind, alone] = await Promise.all([
    pgark(['--json', 'restore', '--plan']),
    pgark(['restore', '--no-sync', data]),
    pgark(['--json', 'restore', '--plan', '--target', 'immediate']),
    pgark(['--json', 'restore', '--plan', '--target-lsn', 'FFFF/0']),
    pgark(['--json', 'restore', '--plan', '--repository', 'a']),
  ]);
  const plan = JSON.parse(planned.stdout) as Plan;
  expect(planned.code, planned.stderr).not.toBe(0);
  expect(plan).toMatchObject({
    reachable: false,
    repositories: ['a'],
    backup: { id: pair.backup, repositories: ['a'] },
  });
  expect(plan.warnings).toContainEqual(
    expect.stringMatching(/^repository b could not be read \(.*\): left out; what only it holds is unknown$/),
  );
  expect(plan.problems).toEqual([
    {
      code: 'STORAGE_MISCONFIGURED',
      message: expect.stringMatching(/^the hole in the WAL may be none; repository b could not be read/) as string,
      hint: expect.stringMatching(/name what to restore from: --repository a\.$/) as string,
    },
  ]);
  expect(plan.wal.missing?.names).toEqual([pair.segments.b]);
  expect(restored).toMatchObject({ code: 2 });
  expect(restored.stderr).toMatch(/repository b could not be read[^]*--repository a\./);
  expect(existsSync(data)).toBe(false);

  // A target that no other repository can lead to may lie in this one: unreachable is not what is known.
  const [problem, ...others] = (JSON.parse(behind.stdout) as Plan).problems;
  expect(problem).toMatchObject({ code: 'STORAGE_MISCONFIGURED' });
  expect(problem?.message).toMatch(/lies behind the last WAL record.*; repository b could not be read/);
  expect(problem?.hint).not.toContain('latest');
  expect([behind.code, others]).toEqual([2, []]);

  // With the hole behind the target all the same; see below for a target without one.
  expect(immediate.code).toBe(2);

  expect(alone.code, alone.stderr).toBe(0);
  const chosen = JSON.parse(alone.stdout) as Plan;
  expect(chosen).toMatchObject({ reachable: true, problems: [] });
  expect(chosen.wal.missing?.names).toEqual([pair.segments.b]);
  expect(chosen.settings['restore_command']).toContain(' wal-fetch --repository a ');

  // What is not in the one may be in the other.
  const unknown = await pgark(['restore', '--plan', '--backup', '20200101T000000Z-0000']);
  expect(unknown).toMatchObject({ code: 2 });
  expect(unknown.stderr).toMatch(/there is no backup .*; repository b could not be read/);
  pair.away('a');
  const none = await pgark(['restore', '--plan']);
  expect(none).toMatchObject({ code: 2 });
  expect(none.stderr).toMatch(/repository a: .*; repository b: /);
});

test('--repository reads from those that are named only, and an unknown name is refused', async () => {
  const plan = JSON.parse((await pgark(['--json', 'restore', '--plan', '--repository', 'b'])).stdout) as Plan;
  expect(plan).toMatchObject({ repositories: ['b'], backup: { repositories: ['b'] } });
  expect(plan.settings['restore_command']).toContain(' wal-fetch --repository b ');
  expect(plan.wal.missing?.names).toEqual([pair.segments.a]);
  const wrong = await pgark(['restore', '--plan', '--repository', 'c']);
  expect(wrong).toMatchObject({ code: 3 });
  expect(wrong.stderr).toContain('It has: a, b.');
  const gone = await pgark(['restore', '--plan', '--backup', '20200101T000000Z-0000']);
  expect(gone).toMatchObject({ code: 1 });
});

test('list and show tell what each repository has, and what they can while one is away', async () => {
  const [list, show] = await Promise.all([pgark(['list']), pgark(['show', 'latest'])]);
  expect(list.code, list.stderr).toBe(0);
  expect(list.stdout).toMatch(/REPOSITORY/);
  for (const name of ['a', 'b'])
    expect(list.stdout).toMatch(new RegExp(`^${pair.backup} +${name} +full +complete`, 'm'));
  expect(show.code, show.stderr).toBe(0);
  for (const name of ['a', 'b'])
    expect(show.stdout).toMatch(new RegExp(`^repository +${name}, with all of its WAL$`, 'm'));

  pair.away('a');
  const [unknown, shown, ...rest] = await Promise.all(
    [['show', '20200101T000000Z-0000'], ['show', 'latest'], ['list']].map((args) => pgark(args)),
  );
  expect(unknown).toMatchObject({ code: 2, stdout: '' });
  expect(shown?.stdout).not.toMatch(/^repository +a/m);
  for (const partial of [shown, ...rest]) {
    expect(partial?.stdout).toContain(pair.backup);
    expect(partial?.code).toBe(2);
    expect(partial?.stderr).toMatch(/repository a: /);
  }
});

test('H-20 wal-fetch: 0 for a file of any repository, 1 only when all have answered, 255 in a recovery otherwise', async () => {
  const data = pair.newFolder('fetching');
  mkdirSync(join(data, 'pg_wal'), { recursive: true });
  writeFileSync(join(data, 'recovery.signal'), '');
  for (const path of [data, join(data, 'pg_wal')]) giveToServer(path);
  let calls = 0;
  const fetch = (name: string, more: readonly string[] = []): Promise<CliResult> =>
    pgark(['wal-fetch', '--system-id', pair.systemId, ...more, name, `pg_wal/RECOVERY${++calls}`], {
      cwd: data,
      env: { PGARK_RESTORE_WAL_RETRY: '0s' },
    });
  const codes = async (names: readonly string[], more: readonly string[] = []): Promise<unknown> =>
    (await Promise.all(names.map((name) => fetch(name, more)))).map(({ code }) => code);
  expect(await codes([pair.segments.a, pair.segments.b, pair.following])).toEqual([0, 0, 1]);
  expect(await codes([pair.segments.a], ['--repository', 'c'])).toEqual([255]);

  pair.away('a');
  const found = await fetch(pair.segments.b);
  expect(found).toMatchObject({ code: 0 });
  expect(found.stderr).toMatch(/repository a: .*; another repository is used/);
  expect(await codes([pair.segments.a, pair.following])).toEqual([255, 255]);
  expect(await codes([pair.following], ['--repository', 'b'])).toEqual([1]);
  writeFileSync(join(data, 'standby.signal'), '');
  expect(await codes([pair.following])).toEqual([2]);
});

test('a host without the key of one repository works with the others', async () => {
  const keyless = join(pair.folder, 'keyless.json');
  const key = { accessKeyId: 'test', secretAccessKey: { file: './no-such-key' } };
  const gone = { name: 'gone', storage: { use: 's3', bucket: 'b', region: 'us-east-1', ...key }, codecs: [] };
  const [, b] = (JSON.parse(readFileSync(pair.config, 'utf8')) as { readonly repositories: readonly object[] })
    .repositories;
  const content = { cluster: 'main', repositories: [gone, b], receive: { spool: join(pair.folder, 'spool') } };
  writeFileSync(keyless, JSON.stringify(content));
  giveToServer(keyless);
  const segment = join(pair.folder, pair.segments.b);
  pair.onTestEnd(() => rmSync(segment, { force: true }));
  const run = (...args: readonly string[]): Promise<CliResult> =>
    runCli(['--config', keyless, '--json', ...args], {
      ...serverUser(),
      cwd: pair.folder,
      env: { PGARK_RESTORE_WAL_RETRY: '0s' },
    });
  const fetch = ['wal-fetch', '--system-id', pair.systemId];

  const [list, plan, all, fetched, check] = await Promise.all([
    run('list'),
    run('restore', '--plan', '--repository', 'b'),
    run('restore', '--plan'),
    run(...fetch, '--repository', 'b', pair.segments.b, segment),
    run('check', '--no-server'),
  ]);
  expect(list.stdout).toContain(pair.backup);
  expect(list.stderr).toMatch(/repository gone: .*no-such-key/);
  expect(plan.code, plan.stderr).toBe(0);
  expect(JSON.parse(plan.stdout)).toMatchObject({ reachable: true, repositories: ['b'] });
  expect((JSON.parse(plan.stdout) as Plan).settings['restore_command']).toContain(' wal-fetch --repository b ');
  expect((JSON.parse(all.stdout) as Plan).problems).toMatchObject([{ code: 'SECRET_UNAVAILABLE' }]);
  expect(all.code).toBe(3);
  expect(fetched.code, fetched.stderr).toBe(0);
  const { findings } = JSON.parse(check.stdout) as { readonly findings: readonly object[] };
  expect(findings).toContainEqual(expect.objectContaining({ subject: 'repository gone', state: 'failed' }));
  expect(findings).toContainEqual(expect.objectContaining({ subject: 'repository b', check: 'archive', state: 'ok' }));
  expect(check.code).toBe(1);

  const [pushed, unknown, anyway] = await Promise.all([
    run('wal-push', segment, pair.segments.b),
    run(...fetch, pair.following, join(pair.folder, 'nothing')),
    run(...fetch, pair.segments.b, `${segment}.anyway`),
  ]);
  pair.onTestEnd(() => rmSync(`${segment}.anyway`, { force: true }));
  expect(pushed).toMatchObject({ code: 2 });
  expect(JSON.parse(pushed.stdout)).toMatchObject({
    repositories: [
      { name: 'gone', code: 'SECRET_UNAVAILABLE' },
      { name: 'b', outcome: 'present' },
    ],
  });
  expect(anyway.code, anyway.stderr).toBe(0);
  // That there is none is not said while one cannot be asked.
  expect(unknown).toMatchObject({ code: 2 });
  expect(unknown.stderr).toContain('no-such-key');
});

test('a repository that takes connections and says nothing does not hold up a fetch that another one can do', async () => {
  const sockets = new Set<Socket>();
  const mute = createServer((socket) => void sockets.add(socket.on('error', () => undefined)));
  await once(mute.listen(0, '127.0.0.1'), 'listening');
  pair.onTestEnd(() => {
    for (const socket of sockets) socket.destroy();
    mute.close();
  });
  const { port } = mute.address() as AddressInfo;
  const silent = join(pair.folder, 'silent.json');
  const keys = { accessKeyId: 'test', secretAccessKey: { env: 'TEST_SECRET' } };
  const storage = { use: 's3', bucket: 'mute', region: 'us-east-1', endpoint: `http://127.0.0.1:${port}`, ...keys };
  const [, b] = (JSON.parse(readFileSync(pair.config, 'utf8')) as { readonly repositories: readonly object[] })
    .repositories;
  const content = { cluster: 'main', repositories: [{ name: 'mute', storage, codecs: [] }, b] };
  writeFileSync(silent, JSON.stringify({ ...content, receive: { spool: join(pair.folder, 'spool') } }));
  giveToServer(silent);
  const path = pair.newFolder('from-b');
  const begun = performance.now();
  const result = await runCli(['--config', silent, 'wal-fetch', '--system-id', pair.systemId, pair.segments.b, path], {
    ...serverUser(),
    cwd: pair.folder,
    env: { TEST_SECRET: 'test' },
  });
  expect(result.code, result.stderr).toBe(0);
  expect(result.stderr).toContain('repository mute gave no sign for 2 s; another repository is used');
  expect(sockets.size).toBeGreaterThan(0);
  expect(existsSync(path)).toBe(true);
  // The storage itself gives up after a minute at the earliest.
  expect(performance.now() - begun).toBeLessThan(50_000);
});

/** Its reads fail while `dead` says so. */
function dying(storage: Storage, dead: () => boolean): Storage {
  const check = (): void => {
    if (dead()) throw new ArchiveError('STORAGE_UNAVAILABLE', 'dead');
  };
  return {
    capabilities: storage.capabilities,
    put: (...call) => storage.put(...call),
    stat: (...call) => storage.stat(...call),
    remove: (...call) => storage.remove(...call),
    close: () => storage.close(),
    list: async function* (...call) {
      check();
      yield* storage.list(...call);
    },
    get: async function* (...call) {
      check();
      yield* storage.get(...call);
    },
  };
}

test('a target that those which answer reach for certain needs no other; the end of the WAL does, also without a hole', async () => {
  const whole = await fsRepository(join(pair.folder, 'whole'), { name: 'whole', compressed: false });
  const dead = await fsRepository(join(pair.folder, 'a'), { name: 'a', wrap: (storage) => dying(storage, () => true) });
  const plans = async (repositories: readonly [Repository, ...Repository[]]): Promise<readonly RestorePlan[]> => {
    const latest = await planRestore({ repositories, target: { kind: 'latest' } });
    const lsn = parseLsn(latest.backup.stopLsn);
    const certain: readonly RecoveryTarget[] = [{ kind: 'immediate' }, { kind: 'lsn', lsn, exclusive: false }];
    return [latest, ...(await Promise.all(certain.map((target) => planRestore({ repositories, target }))))];
  };
  const codes = ({ problems }: RestorePlan): readonly string[] => problems.map(({ code }) => code);
  const one = await plans([whole]);
  expect(one.map(({ wal }) => wal.gap)).toEqual([undefined, undefined, undefined]);
  expect(one.map(codes)).toEqual([[], [], []]);

  const two = await plans([dead, whole]);
  expect(two.map(codes)).toEqual([['STORAGE_UNAVAILABLE'], [], []]);
  for (const { warnings } of two)
    expect(warnings).toContain('repository a could not be read (dead): left out; what only it holds is unknown');
  const [latest] = two;
  if (latest === undefined) throw new Error('no plan');
  await expect(restore(latest, { fetchCommand: ['/bin/false'] })).rejects.toMatchObject({
    code: 'STORAGE_UNAVAILABLE',
    message: 'there may be more WAL than was found; repository a could not be read (dead): left out',
  });

  // The folder of a disk that is not mounted answers too.
  const empty = await fsRepository(join(pair.folder, 'unmounted'), { name: 'empty' });
  expect((await plans([empty, whole])).map(codes)).toEqual([['REPOSITORY_NOT_FOUND'], [], []]);
});

test('a repository that dies at any moment of the planning is left out, and the plan is that of the other', async () => {
  const b = await fsRepository(join(pair.folder, 'b'), { name: 'b', compressed: false });
  let calls = 0;
  let alive = 0;
  const a = await fsRepository(join(pair.folder, 'a'), {
    name: 'a',
    wrap: (storage) => dying(storage, () => ++calls > alive),
  });
  const deaths: string[] = [];
  for (; alive < 200; alive++) {
    calls = 0;
    const plan = await planRestore({ repositories: [a, b], target: { kind: 'latest' } });
    const used = plan.sources.repositories.map(({ name }) => name).join();
    expect(plan.backup.id).toBe(pair.backup);
    // Without a there is a hole, which a may fill.
    expect(plan.problems.map(({ code }) => code)).toEqual(used === 'b' ? ['STORAGE_UNAVAILABLE'] : []);
    expect(plan.wal.gap?.names, `after ${alive} calls`).toEqual(used === 'b' ? [pair.segments.a] : undefined);
    if (calls <= alive) break;
    expect(plan.warnings).toContainEqual(expect.stringMatching(/repository a.*dead/));
    deaths.push(used);
  }
  expect(calls).toBeLessThanOrEqual(alive);
  expect(deaths.length).toBeGreaterThan(5);
  expect(deaths).toContain('b');
});

test('a restore that one repository left half done is resumed from the other', async () => {
  const data = pair.newFolder('resumed');
  let parts = 0;
  const failing = (storage: Storage): Storage => ({
    capabilities: storage.capabilities,
    put: (...call) => storage.put(...call),
    stat: (...call) => storage.stat(...call),
    list: (...call) => storage.list(...call),
    remove: (...call) => storage.remove(...call),
    close: () => storage.close(),
    get: async function* (key, options) {
      if (key.includes('.tar') && ++parts > 2) throw new ArchiveError('STORAGE_UNAVAILABLE', 'the storage is gone');
      yield* storage.get(key, options);
    },
  });
  const options = { fetchCommand: ['/bin/false'], tryCommand: false, sync: false, concurrency: 1 };
  const common = { target: { kind: 'latest' }, directory: data } as const;
  const a = await fsRepository(join(pair.folder, 'a'), { name: 'a', wrap: failing });
  await expect(restore(await planRestore({ ...common, repositories: [a] }), options)).rejects.toMatchObject({
    code: 'STORAGE_UNAVAILABLE',
  });
  expect(parts).toBe(3);
  const b = await fsRepository(join(pair.folder, 'b'), { name: 'b', compressed: false });
  const result = await restore(await planRestore({ ...common, repositories: [b] }), options);
  expect(result.resumedBytes).toBeGreaterThan(1 << 20);
  expect(existsSync(join(data, 'global', 'pg_control'))).toBe(true);
});
