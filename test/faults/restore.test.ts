/** Restores that are killed, fed with damaged objects, or sent to folders in use. */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { ArchiveError } from '../../core/src/contracts/errors.ts';
import { planRestore } from '../../core/src/restore/plan.ts';
import { restore, type RestoreResult } from '../../core/src/restore/restore.ts';
import { withRetry } from '../../core/src/storage/retry.ts';
import { TestArchive } from '../support/archive.ts';
import { serverUser } from '../support/binaries.ts';
import { spawnCli } from '../support/cli.ts';
import { cutStorage, type Cuts } from '../support/cut-storage.ts';
import { fsRepository } from '../support/fs-repository.ts';
import { bound } from '../support/gate.ts';
import { alive, giveToServer, PostgresServer } from '../support/postgres.ts';
import { restoreCli, startAndPromote } from '../support/restoring.ts';
import { until } from '../support/until.ts';

const always: (() => unknown)[] = [];
const cleanup: (() => unknown)[] = [];
let archive: TestArchive;
let first = '';
let second = '';

beforeAll(async () => {
  const server = await PostgresServer.start({ major: 17 });
  always.push(() => server.destroy());
  // Small parts, so that there is time to be killed between them.
  archive = new TestArchive(server);
  always.push(() => archive.destroy());
  const receiver = await archive.receive(server);
  always.push(() => receiver.kill());
  await server.query('CREATE TABLE kept AS SELECT n, md5(n::text) FROM generate_series(1, 20000) n');
  first = (await archive.backup(['--part-size', '1MiB'])).id;
  await server.query('CREATE TABLE later AS SELECT n FROM generate_series(1, 100) n');
  second = (await archive.backup(['--part-size', '1MiB'])).id;
  await server.query('CREATE TABLE last AS SELECT 1 AS n');
  await archive.switchWal(server);
  await receiver.stop();
  await server.stop();
});

afterEach(async () => {
  for (const undo of cleanup.splice(0).toReversed()) await undo();
});
afterAll(async () => {
  for (const undo of always.splice(0).toReversed()) await undo();
});

function folder(name: string): string {
  const data = join(archive.folder, name);
  cleanup.push(() => rmSync(data, { recursive: true, force: true }));
  return data;
}

function partsDone(data: string): number {
  try {
    return (JSON.parse(readFileSync(join(data, 'pgark-restore.json'), 'utf8')) as { parts: unknown[] }).parts.length;
  } catch {
    return 0; // not written yet
  }
}

/** Starts a restore and kills it with SIGKILL when some parts are through. */
async function killed(data: string, args: readonly string[] = []): Promise<void> {
  const running = spawnCli(
    ['--config', archive.config, 'restore', data, '--no-try-command', '--no-sync', '--concurrency', '1', ...args],
    { ...serverUser() },
  );
  while (partsDone(data) < 5) {
    if (running.child.exitCode !== null) throw new Error(`it ended before it was killed:\n${running.stderr()}`);
    await sleep(1);
  }
  running.kill('SIGKILL');
  expect((await running.ended).signal, 'the restore must have been killed').toBe('SIGKILL');
}

async function refusesToStart(data: string): Promise<void> {
  const server = await PostgresServer.open(17, data);
  giveToServer(join(data, 'postgresql.conf')); // made just now, if the restore had not come to it
  try {
    await server.start({ wait: 'spawned' });
    expect(await server.exited()).not.toBe(0);
    // What it said reaches the log a moment after its end.
    const reason = /could not open file .*pg_control|is not a valid data directory/;
    const said = (): string => (existsSync(join(server.folder, 'log')) ? server.log : '');
    for (const deadline = Date.now() + 10_000; !reason.test(said()) && Date.now() < deadline; await sleep(10));
    expect(said()).toMatch(reason);
    expect(server.log).not.toContain('database system is ready');
  } finally {
    await server.destroy();
  }
}

test('H-43 a killed restore cannot be started, and the same command goes on where it was', async () => {
  const data = folder('killed');
  await killed(data);
  expect(existsSync(join(data, 'global', 'pg_control'))).toBe(false);
  await refusesToStart(data);

  // What a crash of the machine may leave: a file of a finished part that is shorter than it was written.
  const victim = join(data, 'PG_VERSION');
  const known = existsSync(victim);
  if (known) writeFileSync(victim, '');
  const done = await archive.json<{ resumedBytes: number; bytes: number }>(['restore', data]);
  expect(done.resumedBytes).toBeGreaterThan(0);
  expect(done.resumedBytes).toBeLessThan(done.bytes);
  expect(readFileSync(victim, 'utf8').trim()).toBe('17');
  expect(readdirSync(data).filter((name) => name.includes('pgark'))).toEqual([]);

  const server = await PostgresServer.open(17, data);
  cleanup.push(() => server.destroy());
  await startAndPromote(server);
  expect(await server.value('SELECT count(*) FROM kept')).toBe('20000');
  expect(await server.value('SELECT count(*) FROM later')).toBe('100');
});

test('an interrupt ends a restore cleanly, and it can be resumed', async () => {
  const data = folder('interrupted');
  const running = spawnCli(
    ['--config', archive.config, 'restore', data, '--no-try-command', '--no-sync', '--concurrency', '1'],
    { ...serverUser() },
  );
  while (partsDone(data) < 3) await sleep(1);
  running.kill('SIGINT');
  const ended = await running.ended;
  expect(ended).toMatchObject({ code: 1 });
  expect(ended.stderr).toContain('was cancelled');
  expect(existsSync(join(data, 'global', 'pg_control'))).toBe(false);
  const done = await archive.json<{ resumedBytes: number }>(['restore', '--no-sync', data, '--backup', second]);
  expect(done.resumedBytes).toBeGreaterThan(0);
});

test('H-43 a folder with an interrupted restore is kept for that restore', async () => {
  const data = folder('kept');
  await killed(data, ['--backup', first]);
  const before = readdirSync(data, { recursive: true }).length;
  const other = await restoreCli(archive, [data, '--backup', second]);
  expect(other).toMatchObject({ code: 3 });
  expect(other.stderr).toContain(`holds an interrupted restore of backup ${first}`);
  expect(readdirSync(data, { recursive: true })).toHaveLength(before);

  const pid = join(data, 'postmaster.pid');
  writeFileSync(pid, '1\n');
  const running = await restoreCli(archive, [data, '--backup', first]);
  expect(running).toMatchObject({ code: 3 });
  expect(running.stderr).toContain('data directory of a server');
  rmSync(pid);

  await archive.run(['restore', '--no-sync', data, '--backup', first]);
  const again = await restoreCli(archive, [data, '--backup', first]);
  expect(again).toMatchObject({ code: 3 });
  expect(again.stderr).toContain('is not empty');
});

test('two restores into one folder: the second is refused while the first works', async () => {
  const data = folder('twice');
  const running = spawnCli(
    ['--config', archive.config, 'restore', data, '--no-try-command', '--no-sync', '--concurrency', '1'],
    { ...serverUser() },
  );
  while (partsDone(data) < 1) await sleep(1);
  running.kill('SIGSTOP');
  const second = await restoreCli(archive, [data]);
  running.kill('SIGCONT');
  expect(second).toMatchObject({ code: 3 });
  expect(second.stderr).toContain(`process ${running.pid} is restoring into`);
  expect((await running.ended).code).toBe(0);
});

test('a damaged part, manifest or file list ends the restore, and nothing can be started', async () => {
  const backup = join(archive.systemFolder, 'backups', second);
  const base = readdirSync(join(backup, 'base')).sort();
  const objects = [join('base', base[1] ?? ''), join('base', base.at(-1) ?? ''), 'backup_manifest.zst'];
  for (const name of objects) {
    const path = join(backup, name);
    const whole = readFileSync(path);
    for (const damage of ['flip', 'cut'] as const) {
      const data = folder(`damaged-${damage}-${name.replaceAll(/\W/g, '')}`);
      const bytes = damage === 'cut' ? whole.subarray(0, whole.byteLength - 7) : Buffer.from(whole);
      if (damage === 'flip') bytes.writeUInt8(bytes.readUInt8(bytes.byteLength >> 1) ^ 0x10, bytes.byteLength >> 1);
      writeFileSync(path, bytes);
      try {
        const result = await restoreCli(archive, [data, '--no-try-command', '--no-sync', '--backup', second]);
        expect(result, `${name} ${damage}`).toMatchObject({ code: 4 });
        // What is cut the plan sees already, by its size.
        if (damage === 'flip') expect(result.stderr).toContain(`${second}/${name}`);
        else expect(result.stderr).toContain(`${name.replace(/\.zst$/, '')} is not there as stored`);
        expect(existsSync(join(data, 'global', 'pg_control'))).toBe(false);
      } finally {
        writeFileSync(path, whole);
        giveToServer(path);
      }
    }
  }
  const data = join(archive.folder, `damaged-flip-${(objects[0] ?? '').replaceAll(/\W/g, '')}`);
  await refusesToStart(data);
  // The storage is healed: the same command completes what is there.
  const done = await archive.json<{ resumedBytes: number }>(['restore', '--no-sync', data, '--backup', second]);
  expect(done.resumedBytes).toBeGreaterThanOrEqual(0);
});

test('a missing part is named, and its backup is passed over where none was asked for', async () => {
  const backup = join(archive.systemFolder, 'backups', second, 'base');
  const [name = ''] = readdirSync(backup).sort();
  const bytes = readFileSync(join(backup, name));
  rmSync(join(backup, name));
  cleanup.push(() => {
    writeFileSync(join(backup, name), bytes);
    giveToServer(join(backup, name));
  });
  const data = folder('missing');
  const result = await restoreCli(archive, [data, '--no-try-command', '--no-sync', '--backup', second]);
  expect(result).toMatchObject({ code: 4 });
  expect(result.stderr).toContain(`base/${name.replace(/\.zst$/, '')} is not there as stored`);
  expect(existsSync(join(data, 'global', 'pg_control'))).toBe(false);
  // Nobody named it: the one before leads to the same end.
  const plan = await archive.json<{ backup: { id: string }; warnings: string[] }>(['restore', '--plan']);
  expect(plan.backup.id).toBe(first);
  expect(plan.warnings).toContainEqual(expect.stringContaining(second));
});

test('H-30 the newest backup that is complete is taken: not one that is under way, nor a suspect one that nobody named', async () => {
  const path = join(archive.systemFolder, 'backups', second, 'backup.json');
  const whole = readFileSync(path, 'utf8');
  const chosen = async (args: readonly string[] = []): Promise<string> =>
    (await archive.json<{ backup: { id: string } }>(['restore', '--plan', ...args])).backup.id;
  try {
    expect(await chosen()).toBe(second);
    rmSync(path);
    expect(await chosen()).toBe(first);
    expect(await restoreCli(archive, ['--plan', '--backup', second])).toMatchObject({ code: 1 });
    // H-36
    const record = JSON.parse(whole) as Record<string, unknown>;
    writeFileSync(path, JSON.stringify({ ...record, suspect: { message: 'pages', files: ['base/1/2'] } }));
    giveToServer(path);
    expect(await chosen()).toBe(first);
    expect(await chosen(['--backup', second])).toBe(second);
    expect(await archive.run(['restore', '--plan', '--backup', second])).toMatch(
      /warning +backup .* is suspect: pages/,
    );
  } finally {
    writeFileSync(path, whole);
    giveToServer(path);
  }
  const backups = join(archive.systemFolder, 'backups');
  renameSync(backups, `${backups}.away`);
  try {
    const none = await restoreCli(archive, ['--plan']);
    expect(none).toMatchObject({ code: 1 });
    expect(none.stderr).toContain('has no complete backup');
  } finally {
    renameSync(`${backups}.away`, backups);
  }
});

describe('a restore_command is tried out while files are copied', () => {
  /** A restore that stands still at its fourth part until it is told to end, and then runs `atPart`. */
  async function restoreUntil(
    name: string,
    { command, atPart }: { readonly command: string; readonly atPart: (data: string) => Promise<void> },
  ): Promise<{ readonly data: string; readonly done: Promise<RestoreResult> }> {
    const data = folder(name);
    let parts = 0;
    const repository = await fsRepository(archive.repository, {
      wrap: (storage) => ({
        ...bound(storage),
        get: async function* (key, get) {
          if (key.includes('/base/') && ++parts === 4) {
            await atPart(data);
            await new Promise((resolve) => get?.signal?.addEventListener('abort', resolve));
            throw get?.signal?.reason;
          }
          yield* storage.get(key, get);
        },
      }),
    });
    const plan = await planRestore({ repositories: [repository], target: { kind: 'latest' }, directory: data });
    const fetchCommand = ['/bin/sh', '-c', command];
    const done = restore(plan, { fetchCommand, env: process.env, sync: false, concurrency: 1 });
    done.catch(() => undefined); // the test looks at it
    return { data, done };
  }

  test('H-43 one that fails ends the copying at once, and the restore can be resumed', async () => {
    const { data, done } = await restoreUntil('command', {
      command: 'until test -e copying; do sleep 0.05; done; echo out of order >&2; exit 3',
      atPart: async (directory) => writeFileSync(join(directory, 'copying'), ''),
    });
    await expect(done).rejects.toMatchObject({
      code: 'RESTORE_FAILED',
      message: expect.stringMatching(
        /^the restore_command does not fetch [0-9A-F]{24}: exit code 3: out of order/,
      ) as string,
      hint: expect.stringContaining('it resumes') as string,
    });
    expect(partsDone(data)).toBe(3);
    expect(existsSync(join(data, 'global', 'pg_control'))).toBe(false);
    expect(readdirSync(data).filter((entry) => entry.startsWith('pgark-restore.0'))).toEqual([]);
    rmSync(join(data, 'copying'));
    const repositories = [await fsRepository(archive.repository)] as const;
    const plan = await planRestore({ repositories, target: { kind: 'latest' }, directory: data });
    const again = await restore(plan, { fetchCommand: ['/bin/false'], tryCommand: false, sync: false });
    expect(again.resumedBytes).toBeGreaterThan(0);
    expect(again.resumedBytes).toBeLessThan(again.bytes);
    expect(existsSync(join(data, 'global', 'pg_control'))).toBe(true);
  });

  test('a copying that fails ends the command', async () => {
    let pids: readonly number[] = [];
    const { data, done } = await restoreUntil('copying', {
      command: 'touch "pid.$$"; sleep 300',
      atPart: async (directory) => {
        const started = (): readonly string[] => readdirSync(directory).filter((entry) => entry.startsWith('pid.'));
        await until('both commands run', () => started().length === 2);
        pids = started().map((entry) => Number(entry.slice('pid.'.length)));
        throw new ArchiveError('STORAGE_CORRUPT', 'the part is damaged');
      },
    });
    await expect(done).rejects.toMatchObject({ message: expect.stringContaining('the part is damaged') as string });
    expect(pids).toHaveLength(2);
    expect(pids.filter(alive)).toEqual([]);
    expect(existsSync(join(data, 'global', 'pg_control'))).toBe(false);
  });
});

describe('H-41 a connection that ends early', () => {
  async function restoreThrough(
    name: string,
    cut: { readonly how: 'break' | 'end'; readonly bytes: number },
  ): Promise<{ readonly cuts: Cuts; readonly data: string; readonly done: Promise<RestoreResult> }> {
    const cuts: Cuts = { count: 0 };
    const data = folder(name);
    const repository = await fsRepository(archive.repository, {
      wrap: (storage) => withRetry(cutStorage(storage, { ...cut, part: '/base/', cuts }), { firstDelay: 1 }),
    });
    const plan = await planRestore({ repositories: [repository], target: { kind: 'latest' }, directory: data });
    const done = restore(plan, { fetchCommand: ['/bin/false'], tryCommand: false, sync: false });
    done.catch(() => undefined); // the test looks at it
    return { cuts, data, done };
  }

  test('is opened again where it broke', async () => {
    const { cuts, data, done } = await restoreThrough('cut', { how: 'break', bytes: 20_000 });
    const { files } = await done;
    expect(cuts.count).toBeGreaterThan(20);
    expect(files).toBeGreaterThan(900);
    expect(existsSync(join(data, 'global', 'pg_control'))).toBe(true);
  });

  test('is noticed when it looks like the end of the object', async () => {
    const { cuts, data, done } = await restoreThrough('short', { how: 'end', bytes: 20_000 });
    await expect(done).rejects.toMatchObject({ exitCode: 4 });
    expect(cuts.count).toBeGreaterThan(0);
    expect(existsSync(join(data, 'global', 'pg_control'))).toBe(false);
  });
});

test('H-35 the manifest is the one that PostgreSQL wrote, byte for byte', async () => {
  const data = folder('manifest');
  await archive.run(['restore', '--no-sync', data]);
  const repository = await fsRepository(archive.repository);
  const catalog = repository.backups(basename(archive.systemFolder));
  const { manifest } = await catalog.read(second);
  const chunks: Uint8Array[] = [];
  for await (const chunk of catalog.readObject(second, manifest)) chunks.push(chunk);
  const restoredManifest = readFileSync(join(data, 'backup_manifest'));
  expect(restoredManifest.equals(Buffer.concat(chunks))).toBe(true);
  expect(restoredManifest.toString()).toMatch(/"System-Identifier": \d{19},/);
});

test('the state of another restore program is not taken for ours', async () => {
  const data = folder('foreign');
  mkdirSync(data);
  writeFileSync(join(data, 'pgark-restore.json'), '{"format": 99}');
  giveToServer(data);
  giveToServer(join(data, 'pgark-restore.json'));
  const result = await restoreCli(archive, [data]);
  expect(result).toMatchObject({ code: 3 });
  expect(result.stderr).toContain('is not the state of a restore');
});
