/** Agents that die or hang while PostgreSQL waits for them. */
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RunningAgent } from '../support/agent.ts';
import { TestArchive } from '../support/archive.ts';
import { serverUser } from '../support/binaries.ts';
import { spawnCli } from '../support/cli.ts';
import { later } from '../support/later.ts';
import { giveToServer, PostgresServer, removeFolder, temporaryFolder } from '../support/postgres.ts';
import { archiveCommand, restored } from '../support/restoring.ts';
import { until } from '../support/until.ts';

/** So slow that there is time to be in the middle of a segment. */
const RATE = '2MiB';
const SEGMENTS = 12;

let server: PostgresServer;
let archive: TestArchive;
const undo: (() => unknown)[] = [];

beforeAll(async () => {
  server = await PostgresServer.create({ major: 17, segmentMegabytes: 1 });
  undo.push(() => server.destroy());
  archive = new TestArchive(server, {
    codecs: [{ use: 'none' }],
    repository: { maxUploadRate: RATE, maxDownloadRate: RATE },
    config: { restore: { walRetry: '1s' } },
  });
  undo.push(() => archive.destroy());
  server.configure({ archive_mode: 'on', archive_command: archiveCommand(archive) });
  await server.start();
  await archive.backup();
  await server.query('CREATE TABLE numbers (n int)');
});
afterAll(async () => {
  for (const one of undo.toReversed()) await one();
});

/** Kills agents in the middle of commands, and starts new ones, until it was so often; gives the files that they were at. */
async function killOften(
  command: 'wal-push' | 'wal-fetch',
  times: number,
  goOn: () => boolean | Promise<boolean>,
): Promise<readonly string[]> {
  const cut: string[] = [];
  while (cut.length < times && (await goOn())) {
    const agent = await RunningAgent.start(archive);
    try {
      while (!agent.isBusyWith(command) && (await goOn())) await sleep(5);
      await agent.stop('SIGKILL');
      if (agent.isBusyWith(command)) cut.push(agent.asked(command).at(-1) ?? '');
    } finally {
      await agent.destroy();
    }
  }
  return cut;
}

describe('an agent that dies', () => {
  test('H-21 agents that are killed in the middle of pushes: no segment is lost, and the archiver counts no death', async () => {
    const archiver = (): Promise<string> =>
      server.value(`SELECT pid FROM pg_stat_activity WHERE backend_type = 'archiver'`);
    const pid = await archiver();
    let last = '';
    for (let n = 1; n <= SEGMENTS; n++) {
      await server.query(`INSERT INTO numbers VALUES (${n})`);
      last = await server.value('SELECT pg_walfile_name(pg_switch_wal())');
    }
    let cut = await killOften('wal-push', 4, () => !archive.holds(last));
    // Where agents are slow to begin, the commands have done the work by themselves meanwhile.
    while (cut.length < 2) {
      for (let n = 0; n < 4; n++) {
        await server.query(`SELECT pg_logical_emit_message(false, 'test', '')`);
        last = await server.value('SELECT pg_walfile_name(pg_switch_wal())');
      }
      cut = [...cut, ...(await killOften('wal-push', 2, () => !archive.holds(last)))];
    }
    await until('the last segment', () => archive.holds(last));
    expect(await archiver()).toBe(pid);
    expect(await server.value('SELECT failed_count FROM pg_stat_archiver')).toBe('0');
    const folder = join(archive.systemFolder, 'wal', '00000001', '00000000');
    for (const name of cut)
      expect(readdirSync(folder).filter((object) => object.startsWith(`${name}-`))).toHaveLength(1);
    await server.stop();
  });

  test('H-20 agents that are killed in the middle of a recovery: it goes on, and reaches the end', async () => {
    const clone = later(await restored(archive, 17, 'killed'), (one) => one.destroy());
    await clone.start({ wait: 'spawned' });
    const recovering = (): boolean => clone.running && existsSync(join(clone.data, 'recovery.signal'));
    const cut = await killOften('wal-fetch', 4, recovering);
    expect(cut.length).toBeGreaterThan(1);
    await until(
      'the end of the recovery',
      () => !recovering(),
      () => clone.log,
    );
    await clone.recovered();
    expect(await clone.value('SELECT max(n) || $$ $$ || count(*) FROM numbers')).toBe(`${SEGMENTS} ${SEGMENTS}`);
    expect(readdirSync(join(clone.data, 'pg_wal')).filter((name) => /fetch|pgark/.test(name))).toEqual([]);
    await clone.stop();
  });

  test('H-20 an agent that hangs in the middle of a recovery is not waited for, and does no harm when it goes on', async () => {
    const agent = later(await RunningAgent.start(archive), (one) => one.destroy());
    const clone = later(await restored(archive, 17, 'hanging'), (one) => one.destroy());
    await clone.start({ wait: 'spawned' });
    await until('a request', () => agent.answered('wal-fetch').length > 2 && agent.isBusyWith('wal-fetch'));
    agent.signal('SIGSTOP');
    const before = agent.answered('wal-fetch').length;
    await until('a segment without the agent', () => clone.log.split('restored log file').length > before + 2);
    agent.signal('SIGCONT');
    await clone.recovered();
    expect(await clone.value('SELECT max(n) || $$ $$ || count(*) FROM numbers')).toBe(`${SEGMENTS} ${SEGMENTS}`);
    await clone.stop();
  });
});

test('H-21 a signal ends a client that waits for the agent with a code that PostgreSQL takes as it is meant', async () => {
  const folder = temporaryFolder('signals');
  later(folder, removeFolder);
  giveToServer(folder);
  const waiting = new TestArchive(server, { repository: { storage: { use: './slow.mjs' } } });
  later(waiting, (one) => one.destroy());
  writeFileSync(
    join(waiting.folder, 'slow.mjs'),
    `export default { name: 'slow', kind: 'storage', apiVersion: 1,
       options: { '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value }) } },
       create: () => { const wait = () => new Promise(() => setTimeout(() => undefined, 1e6));
         return { capabilities: { conditionalPut: true, retention: false, metadata: false }, put: wait, stat: wait, remove: wait,
           close: () => Promise.resolve(), get: async function* () { await wait(); }, list: async function* () { await wait(); } }; } };\n`,
  );
  const agent = later(await RunningAgent.start(waiting), (one) => one.destroy());
  const path = join(folder, '00000002.history');
  writeFileSync(path, '1\t0/5000000\tno reason\n');
  giveToServer(path);
  const push = ['wal-push', '--system-id', '42', path, '00000002.history'];
  const fetch = ['wal-fetch', '--system-id', '42', '00000002.history', 'x'];
  writeFileSync(join(folder, 'recovery.signal'), '');
  for (const [args, signal, code] of [
    [push, 'SIGTERM', 1],
    [push, 'SIGINT', 1],
    [push, 'SIGHUP', 1],
    [push, 'SIGQUIT', 1],
    [fetch, 'SIGTERM', 143],
    [fetch, 'SIGINT', 255],
  ] as const) {
    const command = args[0] === 'wal-push' ? 'wal-push' : 'wal-fetch';
    const before = agent.asked(command).length;
    const client = spawnCli(['--config', waiting.config, ...args], { ...serverUser(), cwd: folder });
    await until(
      'the request',
      () => agent.asked(command).length > before,
      () => agent.log + client.stderr(),
    );
    client.kill(signal);
    expect({ sent: signal, code: (await client.ended).code }).toEqual({ sent: signal, code });
  }
  expect(await agent.stop()).toBe(0);
});
