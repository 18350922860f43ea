/** wal-push and wal-fetch through the agent, as PostgreSQL runs them. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { RunningAgent, SCRIPT } from '../support/agent.ts';
import { TestArchive } from '../support/archive.ts';
import { serverUser } from '../support/binaries.ts';
import { runCli, spawnCli } from '../support/cli.ts';
import { later } from '../support/later.ts';
import { giveToServer, PostgresServer, removeFolder, temporaryFolder } from '../support/postgres.ts';
import { archiveCommand, restored, startAndPromote, untilPromoted } from '../support/restoring.ts';
import { until } from '../support/until.ts';

/** A storage that fails is not what these tests are about. */
const NO_RETRY = { restore: { walRetry: '0s' } };

async function archivingServer(): Promise<{ server: PostgresServer; archive: TestArchive; agent: RunningAgent }> {
  const server = later(await PostgresServer.create({ major: 17, segmentMegabytes: 1 }), (one) => one.destroy());
  const archive = later(new TestArchive(server, { config: NO_RETRY }), (one) => one.destroy());
  server.configure({ archive_mode: 'on', archive_command: archiveCommand(archive) });
  const agent = later(await RunningAgent.start(archive), (one) => one.destroy());
  await server.start();
  await archive.backup();
  return { server, archive, agent };
}

test('archive_command and restore_command go through the agent, and the restored cluster is whole', async () => {
  const { server, archive, agent } = await archivingServer();
  await server.query('CREATE TABLE numbers (n int, filler text)');
  for (let round = 0; round < 4; round++) {
    // Some segments at once, so that there is something to look ahead to.
    await server.query(`INSERT INTO numbers SELECT n, repeat(md5(n::text), 10) FROM generate_series(1, 10000) AS n`);
    await archive.switchWal(server);
  }
  const last = await archive.switchWal(server);
  const folder = join(archive.systemFolder, 'wal', '00000001', '00000000');
  const archived = readdirSync(folder).flatMap((name) => /^[0-9A-F]{24}(?=-)/.exec(name)?.[0] ?? []);
  expect(archived.length).toBeGreaterThan(12);
  expect(agent.log).toContain('archived ahead');
  await until('the request for the last segment', () => agent.answered('wal-push').includes(last));
  expect(await server.value('SELECT failed_count FROM pg_stat_archiver')).toBe('0');
  await server.stop();

  const clone = later(await restored(archive, 17, 'clone'), (one) => one.destroy());
  await startAndPromote(clone);
  expect(await clone.value('SELECT count(*) FROM numbers')).toBe('40000');
  expect(agent.answered('wal-fetch')).toContain(last);
  expect(agent.answered('wal-fetch')).toContain('00000002.history');
  expect(agent.fetchedAhead.length).toBeGreaterThan(5);
  expect(readdirSync(join(clone.data, 'pg_wal')).filter((name) => /fetch|pgark/.test(name))).toEqual([]);
  await clone.stop();
  expect(await agent.stop()).toBe(0);
  // Nothing is left of it.
  expect(readdirSync(join(archive.spool, '.agent'), { recursive: true })).toEqual([
    expect.stringMatching(/^[0-9a-f]{16}$/) as string,
  ]);
});

test('pgark-wal takes both commands to the agent without Node, and the restored cluster is whole', async () => {
  const server = later(await PostgresServer.create({ major: 18, segmentMegabytes: 1 }), (one) => one.destroy());
  const folder = later(temporaryFolder('script'), removeFolder);
  const socket = join(folder, 'agent.sock');
  const config = { ...NO_RETRY, agent: { socket, script: true } };
  const archive = later(new TestArchive(server, { config }), (one) => one.destroy());
  const agent = later(await RunningAgent.start(archive), (one) => one.destroy());
  server.configure({
    archive_mode: 'on',
    archive_command: `PGARK_AGENT_SOCKET=${socket} ${SCRIPT} ${archiveCommand(archive)}`,
  });
  await withoutNode(() => server.start());
  await archive.backup();
  await server.query(`CREATE TABLE numbers AS SELECT n, md5(n::text) FROM generate_series(1, 30000) AS n`);
  const last = await archive.switchWal(server);
  await until('the last segment', () => agent.answered('wal-push').includes(last));
  expect(await server.value('SELECT failed_count FROM pg_stat_archiver')).toBe('0');
  await server.stop();

  const clone = later(await restored(archive, 18, 'clone'), (one) => one.destroy());
  expect(readFileSync(join(clone.data, 'postgresql.auto.conf'), 'utf8')).toContain(`restore_command = '${SCRIPT} `);
  await withoutNode(() => clone.start());
  await untilPromoted(clone);
  expect(await clone.value('SELECT count(*) FROM numbers')).toBe('30000');
  expect(agent.answered('wal-fetch')).toEqual(expect.arrayContaining([last, '00000002.history']));
  expect(readdirSync(join(clone.data, 'pg_wal')).filter((name) => /fetch|pgark/.test(name))).toEqual([]);
  await clone.stop();
  expect(await agent.stop()).toBe(0);
  expect(readdirSync(folder)).toEqual([]);
});

/** Starts a server under which Node does not start. */
async function withoutNode(start: () => Promise<void>): Promise<void> {
  process.env['NODE_OPTIONS'] = '--no-such-option';
  try {
    await start();
  } finally {
    delete process.env['NODE_OPTIONS'];
  }
}

test.each([
  { signal: 'recovery.signal', failed: 255 },
  { signal: 'standby.signal', failed: 2 },
])('H-20 H-26 what the agent answers is what the command says by itself, with $signal', async ({ signal, failed }) => {
  const { server, archive, agent } = await archivingServer();
  const name = await archive.switchWal(server);
  const cwd = join(archive.folder, 'calls');
  const calls = async (): Promise<readonly object[]> => {
    const results: object[] = [];
    for (const args of [
      ['wal-fetch', '00000009.history', 'x'],
      ['wal-fetch', '--json', name, 'x'],
      ['wal-fetch', 'no-wal-file', 'x'],
      ['wal-fetch', '--system-id', '42', name, 'x'],
      ['wal-fetch', '--repository', 'other', name, 'x'],
      ['--json', 'wal-push', join(server.data, 'pg_wal', name), name],
      ['wal-push', join(server.data, 'pg_wal', name), '000000010000000000000FFF'],
      ['wal-push', join(server.data, 'PG_VERSION'), '00000002.history'],
    ]) {
      rmSync(cwd, { recursive: true, force: true });
      execFileSync('mkdir', [cwd]);
      writeFileSync(join(cwd, signal), '');
      giveToServer(cwd);
      const systemId = archive.systemFolder.split('/').at(-1) ?? '';
      const more = args[0] === 'wal-fetch' && !args.includes('--system-id') ? ['--system-id', systemId] : [];
      const { code, stdout, stderr } = await runCli(['--config', archive.config, ...args, ...more], {
        ...serverUser(),
        cwd,
      });
      const timeless = stderr.replaceAll(/^\d{4}-\S+ /gm, '');
      results.push({ args, code, stdout, stderr: timeless, files: readdirSync(cwd), mode: modeOf(join(cwd, 'x')) });
    }
    return results;
  };
  const through = await calls();
  expect(agent.answered('wal-fetch').filter((file) => file === name)).not.toEqual([]);
  expect(await agent.stop()).toBe(0);
  const alone = await calls();
  expect(through).toEqual(alone);
  expect(alone).toMatchObject([
    { code: 1, stderr: '' },
    { code: 0 },
    { code: failed },
    { code: failed },
    { code: failed },
    { code: 0 },
    { code: 4 },
    { code: 4 },
  ]);
});

function modeOf(path: string): number | undefined {
  return existsSync(path) ? statSync(path).mode & 0o777 : undefined;
}

test('one agent per config: a second one refuses, one after a killed one takes over, and a changed config holds at once', async () => {
  const { server, archive, agent } = await archivingServer();
  const second = await runCli(['--config', archive.config, 'agent'], { ...serverUser() });
  expect(second).toMatchObject({ code: 2, stderr: expect.stringContaining('is the agent of this config') as string });
  await agent.destroy();
  const next = later(await RunningAgent.start(archive), (one) => one.destroy());
  await next.stop('SIGKILL');
  // The dead socket is still there.
  const third = later(await RunningAgent.start(archive), (one) => one.destroy());
  const name = await archive.switchWal(server);
  expect(third.asked('wal-push')).toContain(name);

  // The config is replaced at once, so that nobody ever reads half of it.
  const other = `${archive.repository}.2`;
  execFileSync('cp', ['-a', archive.repository, other]);
  const content = readFileSync(archive.config, 'utf8').replaceAll(archive.repository, other);
  writeFileSync(`${archive.config}.new`, content);
  giveToServer(`${archive.config}.new`);
  renameSync(`${archive.config}.new`, archive.config);
  await server.query(`SELECT pg_logical_emit_message(false, 'test', '')`);
  const after = await server.value('SELECT pg_walfile_name(pg_switch_wal())');
  await until(
    'the segment in the other place',
    () => third.answered('wal-push').includes(after),
    () => third.log,
  );
  expect(third.log).toContain('the config has changed');
  expect(archive.holds(after)).toBe(false);
  const [stored] = readdirSync(other, { recursive: true, encoding: 'utf8' }).filter((path) => path.includes(after));
  expect(stored).toBeDefined();
  expect(await server.value('SELECT failed_count FROM pg_stat_archiver')).toBe('0');
});

test('an agent that the config gives a socket is found there, and without the folder it says what to do', async () => {
  const server = later(await PostgresServer.create({ major: 17 }), (one) => one.destroy());
  const folder = temporaryFolder('socket');
  later(folder, removeFolder);
  giveToServer(folder);
  const socket = join(folder, 'agent.sock');
  const archive = later(new TestArchive(server, { config: { ...NO_RETRY, agent: { socket } } }), (one) =>
    one.destroy(),
  );
  const agent = later(await RunningAgent.start(archive), (one) => one.destroy());
  expect(statSync(socket).mode & 0o777).toBe(0o600);
  const data = temporaryFolder('asking');
  later(data, removeFolder);
  giveToServer(data);
  const ask = async (args: readonly string[], env = {}): Promise<number> => {
    const before = agent.asked('wal-fetch').length;
    await runCli([...args, 'wal-fetch', '00000002.history', 'x'], { ...serverUser(), cwd: data, env });
    return agent.asked('wal-fetch').length - before;
  };
  expect(await ask(['--config', archive.config])).toBe(1);
  expect(await ask(['--config', archive.config], { PGARK_AGENT_SOCKET: socket })).toBe(1);
  expect(await ask([], { PGARK_CONFIG: archive.config })).toBe(1);
  expect(await ask(['--config', archive.config], { PGARK_AGENT_SOCKET: join(folder, 'none') })).toBe(0);
  expect(await agent.stop()).toBe(0);
  expect(readdirSync(folder)).toEqual([]);

  const elsewhere = new TestArchive(server, { config: { agent: { socket: '/no/such/folder/socket' } } });
  later(elsewhere, (one) => one.destroy());
  const refused = await spawnCli(['--config', elsewhere.config, 'agent'], { ...serverUser() }).ended;
  expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining('there is no folder') as string });
});
