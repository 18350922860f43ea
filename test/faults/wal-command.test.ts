/** Exit codes of wal-fetch and wal-push by themselves, and a plan over a hole. What PostgreSQL makes of them is in `*-exit-codes.test.ts`. */
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { TestArchive } from '../support/archive.ts';
import { runCli, spawnCli } from '../support/cli.ts';
import { PostgresServer, removeFolder, temporaryFolder } from '../support/postgres.ts';
import { restoreCli, restored, startAndPromote } from '../support/restoring.ts';

const always: (() => unknown)[] = [];
const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const undo of cleanup.splice(0).toReversed()) await undo();
});
afterAll(async () => {
  for (const undo of always.splice(0).toReversed()) await undo();
});

describe('restore_command', () => {
  let archive: TestArchive;
  let server: PostgresServer;
  /** Whole segments after the backup, each with its rows. */
  const segments: string[] = [];

  beforeAll(async () => {
    server = await PostgresServer.start({ major: 16 });
    always.push(() => server.destroy());
    archive = new TestArchive(server, { config: { restore: { walRetry: '1s' } } });
    always.push(() => archive.destroy());
    const receiver = await archive.receive(server);
    always.push(() => receiver.kill());
    await server.query('CREATE TABLE numbers (n int)');
    await archive.backup();
    for (const number of [1, 2, 3, 4]) {
      await server.query(`INSERT INTO numbers VALUES (${number})`);
      segments.push(await archive.switchWal(server));
    }
    await receiver.stop();
    // Slot and spool would only be in the way: all there is lies in the archive.
    rmSync(join(archive.spool, 'main'), { recursive: true, force: true });
  });

  function later(opened: PostgresServer): PostgresServer {
    cleanup.push(async () => {
      await opened.destroy();
      rmSync(opened.data, { recursive: true, force: true });
    });
    return opened;
  }

  /** The path of the stored object of a segment. */
  function objectOf(name: string): string {
    const folder = join(archive.systemFolder, 'wal', name.slice(0, 8), name.slice(8, 16));
    return join(folder, readdirSync(folder).find((file) => file.startsWith(`${name}-`)) ?? '');
  }

  async function rows(of: PostgresServer): Promise<string> {
    return of.value(`SELECT coalesce(string_agg(n::text, ' ' ORDER BY n), '') FROM numbers`);
  }

  test('a plan over a hole refuses what lies behind it, names it, and goes up to it when asked for the latest', async () => {
    const path = objectOf(segments[1] ?? '');
    const aside = join(archive.folder, 'aside');
    const time = await server.value('SELECT clock_timestamp()::text');
    const lsn = await server.value('SELECT pg_current_wal_lsn()');
    renameSync(path, aside);
    try {
      for (const target of [
        ['--target-time', time.replace(' ', 'T')],
        ['--target-lsn', lsn],
      ]) {
        const refused = await restoreCli(archive, [join(archive.folder, 'refused'), ...target]);
        expect(refused).toMatchObject({ code: 1 });
        expect(refused.stderr).toContain(`${segments[1]} is missing`);
        expect(refused.stderr).toContain(`WAL from ${segments[2]} to ${segments[3]} lies behind a hole`);
        expect(existsSync(join(archive.folder, 'refused'))).toBe(false);
      }
      const clone = later(await restored(archive, 16, 'before-hole'));
      await startAndPromote(clone);
      expect(await rows(clone)).toBe('1');
    } finally {
      renameSync(aside, path);
    }
  });

  test('H-20 every wrong way to call wal-fetch stops a recovery, and a standby is spared', async () => {
    const data = temporaryFolder('calls');
    cleanup.push(() => removeFolder(data));
    const calls = [
      ['wal-fetch', '--no-such-option', segments[0] ?? '', 'x'],
      ['wal-fetch', segments[0] ?? ''],
      ['wal-fetch', '../etc/passwd', 'x'],
      ['--config', '/no/such/file', 'wal-fetch', segments[0] ?? '', 'x'],
      ['--config', archive.config, 'wal-fetch', '--system-id', '42', segments[0] ?? '', 'x'],
      ['--config', archive.config, 'wal-fetch', segments[0] ?? '', 'no/such/folder/x'],
    ];
    writeFileSync(join(data, 'recovery.signal'), '');
    for (const call of calls) expect(await runCli(call, { cwd: data }), call.join(' ')).toMatchObject({ code: 255 });
    writeFileSync(join(data, 'standby.signal'), '');
    for (const call of calls) expect(await runCli(call, { cwd: data }), call.join(' ')).toMatchObject({ code: 2 });
  });

  test('H-26 a file that does not exist is answered with 1 and without a word', async () => {
    const data = temporaryFolder('misses');
    cleanup.push(() => removeFolder(data));
    writeFileSync(join(data, 'recovery.signal'), '');
    for (const name of ['00000002.history', '000000010000000000000FFF']) {
      const result = await runCli(['--config', archive.config, 'wal-fetch', name, 'x'], { cwd: data });
      expect(result).toEqual({ code: 1, signal: undefined, stdout: '', stderr: '' });
    }
    expect(readdirSync(data)).toEqual(['recovery.signal']);
  });

  test('SIGTERM ends a wal-fetch that waits with 143', async () => {
    const data = temporaryFolder('terminated');
    cleanup.push(() => removeFolder(data));
    writeFileSync(join(data, 'recovery.signal'), '');
    const away = join(archive.folder, 'away.json');
    const content = JSON.parse(readFileSync(archive.config, 'utf8')) as {
      restore: object;
      repositories: { storage: object }[];
    };
    content.restore = { walRetry: '60s' };
    for (const repository of content.repositories) repository.storage = { use: 'fs', path: '/no/such/folder' };
    writeFileSync(away, JSON.stringify(content));
    const running = spawnCli(['--config', away, 'wal-fetch', segments[0] ?? '', 'x'], { cwd: data });
    await running.waitFor(/trying again/);
    running.kill('SIGTERM');
    expect((await running.ended).code).toBe(143);
  });
});

describe('archive_command', () => {
  test('H-21 no ending of wal-push is above 125', async () => {
    const folder = temporaryFolder('endings');
    cleanup.push(() => removeFolder(folder));
    const config = join(folder, 'pgark.json');
    writeFileSync(
      config,
      JSON.stringify({ cluster: 'main', repositories: [{ storage: { use: 'fs', path: '/no/such/parent/folder' } }] }),
    );
    const path = join(folder, '00000002.history');
    writeFileSync(path, '1\t0/5000000\tno reason\n');
    const push = ['wal-push', '--system-id', '42', path, '00000002.history'];
    const ends = [
      await runCli(['--config', config, ...push]),
      await runCli(['--config', '/no/such/file', ...push]),
      await runCli(['--config', config, 'wal-push']),
      await runCli(['--config', config, 'wal-push', path, 'no-wal-file']),
    ];
    for (const { code } of ends) expect(code).toSatisfy((value: number) => value > 0 && value <= 125);
    // A storage that never answers, until the command is told to stop, twice.
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT'] as const) {
      const waiting = join(folder, `${signal}.json`);
      writeFileSync(waiting, JSON.stringify({ cluster: 'main', repositories: [{ storage: { use: './slow.mjs' } }] }));
      writeFileSync(
        join(folder, 'slow.mjs'),
        `export default { name: 'slow', kind: 'storage', apiVersion: 1,
           options: { '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value }) } },
           create: () => { process.stderr.write('slow is here\\n'); const wait = () => new Promise(() => setTimeout(() => undefined, 1e6));
             return { capabilities: { conditionalPut: true, retention: false, metadata: false }, put: wait, stat: wait, remove: wait, close: wait,
               get: async function* () { await wait(); }, list: async function* () { await wait(); } }; } };\n`,
      );
      const running = spawnCli(['--config', waiting, ...push]);
      await running.waitFor(/slow is here/);
      running.kill(signal);
      await sleep(100);
      running.kill(signal);
      const { code, signal: killer } = await running.ended;
      expect({ signal, code, killer }).toEqual({
        signal,
        code: expect.toSatisfy((value: number) => value >= 1 && value <= 125) as number,
        killer: undefined,
      });
    }
  });
});
