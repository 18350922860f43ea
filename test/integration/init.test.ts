import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { runCli } from '../support/cli.ts';
import { PostgresServer, removeFolder, temporaryFolder } from '../support/postgres.ts';

describe('pgark init', () => {
  let server: PostgresServer;
  let folder: string;
  const file = (): string => join(folder, 'pgark.yaml');
  const init = (args: readonly string[], env: Readonly<Record<string, string>> = {}): ReturnType<typeof runCli> =>
    runCli(['init', '--storage', `fs:${folder}/archive`, ...args], { cwd: folder, env });

  beforeAll(async () => {
    folder = temporaryFolder('init');
    server = await PostgresServer.start({ segmentMegabytes: 1, settings: { max_slot_wal_keep_size: '64MB' } });
    await server.query(`SELECT pg_create_physical_replication_slot('standby_1')`);
    await server.query(`CREATE ROLE reader LOGIN PASSWORD 'pa''ss $word'`);
  });
  afterAll(async () => {
    await server.destroy();
    removeFolder(folder);
  });

  test('writes what it found at the server, as a config that the other commands take', async () => {
    const result = await init(['--url', server.url(), '--codec', 'zstd']);
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expect(result.stdout).toContain(`wrote ${file()}`);
    const text = readFileSync(file(), 'utf8');
    expect(text).toContain(`Server 127.0.0.1:${server.port}: PostgreSQL 18`);
    expect(text).toContain('wal_segment_size 1MB, wal_level replica, max_wal_senders 10');
    expect(text).toContain('Replication slots: standby_1 (physical).');
    expect(text).toContain('max_slot_wal_keep_size is 64MB');
    expect(parse(text)).toMatchObject({
      postgres: { url: server.url() },
      repositories: [{ storage: { use: 'fs', path: `${folder}/archive` }, codecs: [{ use: 'zstd' }] }],
    });
    const check = await runCli(['config', 'check'], { cwd: folder });
    expect(check).toMatchObject({ code: 0, stderr: '' });
  });

  test('overwrites nothing', async () => {
    writeFileSync(file(), 'mine');
    const result = await init(['--url', server.url()]);
    expect(result.code).toBe(3);
    expect(result.stderr).toContain(`${file()} exists and is not overwritten`);
    expect(readFileSync(file(), 'utf8')).toBe('mine');
    rmSync(file());
  });

  test('takes the libpq environment, and says what the role lacks', async () => {
    const result = await init(['--json'], {
      PGHOST: '127.0.0.1',
      PGPORT: String(server.port),
      PGUSER: 'reader',
      PGDATABASE: 'postgres',
    });
    expect(result).toMatchObject({ code: 0, stderr: '' });
    const shown = JSON.parse(result.stdout) as { hints: string[]; server: { mayReplicate: boolean } };
    expect(shown.server.mayReplicate).toBe(false);
    expect(shown.hints).toContain('role "reader" may not replicate: ALTER ROLE "reader" REPLICATION');
    expect(parse(readFileSync(file(), 'utf8'))).not.toHaveProperty('postgres');
    rmSync(file());
  });

  test('H-64 a password in the URL reaches neither the file nor the output', async () => {
    const url = `postgres://reader:pa%27ss%20%24word@127.0.0.1:${server.port}/postgres`;
    const result = await init(['--url', url]);
    expect(result).toMatchObject({ code: 0, stderr: '' });
    const text = readFileSync(file(), 'utf8');
    for (const shown of [text, result.stdout]) expect(shown).not.toMatch(/pa'ss|pa%27ss|pa\\'ss/);
    expect(text).toContain('password of the given URL was left out');
    expect(result.stdout).toContain('to do: the password of the URL is not in the file');
    const config = parse(text) as { postgres: { url: string } };
    const again = await runCli(
      ['init', '--storage', 'fs:/x', '--url', config.postgres.url, '--output', 'again.yaml', '--json'],
      { cwd: folder },
    );
    expect(again).toMatchObject({ code: 0 });
    expect(again.stdout).toContain(`127.0.0.1:${server.port}`);
    rmSync(file());
  });

  test('an unreachable server is an error that names --offline, and --offline needs none', async () => {
    const url = 'postgres://postgres@127.0.0.1:1/';
    const refused = await init(['--url', url]);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toMatch(/127\.0\.0\.1:1.*\n.*--offline/);
    expect(await init(['--url', url, '--offline'])).toMatchObject({ code: 0, stderr: '' });
    expect(readFileSync(file(), 'utf8')).toContain('Written without looking at a server');
    expect(await runCli(['config', 'check'], { cwd: folder })).toMatchObject({ code: 0 });
    rmSync(file());
  });

  test('without a storage it says what to give and what is installed', async () => {
    const result = await runCli(['init'], { cwd: folder });
    expect(result.code).toBe(3);
    expect(result.stderr).toMatch(/needs --storage[^]*installed: .*\bfs\b.*\bmemory\b/);
  });
});
