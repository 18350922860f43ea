/**
 * What examples/compose and examples/kubernetes run is run here, by their own commands and configs, with the names of hosts and folders
 * replaced: the script of the server's image, the S3 server, receiver and probes, jobs, and the server that is restored.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { commandLines } from '../../docs/command-lines.ts';
import { Receiver } from '../../support/archive.ts';
import { serverHome, serverUser } from '../../support/binaries.ts';
import { CLI, runCli, spawnCli } from '../../support/cli.ts';
import { podsOf, readCompose, readExample, readManifests } from '../../support/deployment.ts';
import { freePort } from '../../support/free-port.ts';
import { goServer } from '../../support/go-server.ts';
import { later } from '../../support/later.ts';
import { giveToServer, PostgresServer, removeFolder, temporaryFolder } from '../../support/postgres.ts';
import { versityMissing } from '../../support/s3-server.ts';
import { MISSING, tool } from '../../support/tools.ts';
import { until } from '../../support/until.ts';

const compose = readCompose();

const reason = [versityMissing, tool('psql') === undefined ? MISSING : undefined].filter((why) => why !== undefined);

describe.skipIf(reason.length > 0)(`deployments${reason.map((why) => ` (${why})`).join('')}`, () => {
  let server: PostgresServer;
  let s3: ChildProcess;
  /** What stands for `/var/lib/pgark`, `/run/secrets`, `/data` and the rest. */
  let folder: string;
  let s3Port: number;
  let restoredPort: number;
  /** Each receiver has a spool of its own. */
  let spool: string;

  beforeAll(async () => {
    folder = temporaryFolder('deployment');
    for (const path of ['bin', 'secrets', 'data', 'compose', 'kubernetes']) mkdirSync(join(folder, path));
    const secrets = {
      pgark_password: 'p',
      s3_secret: 's',
      'postgres-password': 'p',
      's3-secret-access-key': 's',
      'age-recipients': 'age15hkqtp7dhxc28ctsdhd4p8mev564m5hjcl527nja97j3uv6aaukqf8589p\n',
    };
    for (const [name, value] of Object.entries(secrets)) writeFileSync(join(folder, 'secrets', name), value);
    const words = CLI.map((word) => `'${word}'`).join(' ');
    writeFileSync(join(folder, 'bin/pgark'), `#!/bin/sh\nexec ${words} "$@"\n`, { mode: 0o755 });
    for (const path of ['bin', 'secrets', 'compose', 'kubernetes']) giveToServer(join(folder, path));
    [s3Port, restoredPort] = [await freePort(), await freePort()];

    server = await PostgresServer.create({ major: 18, settings: { fsync: 'on', max_slot_wal_keep_size: '10GB' } });
    // The last line is the one that the image writes.
    server.setHba([
      'local all postgres trust',
      'host all postgres 127.0.0.1/32 trust',
      'host all all all scram-sha-256',
    ]);
    await server.start();
    // The image sets POSTGRES_USER; psql finds the server by its socket.
    const made = shell(replaced(readExample('compose/role.sh')), {
      PGDATA: server.data,
      PGHOST: server.folder,
      PGPORT: String(server.port),
    });
    if (made.status !== 0) throw new Error(`role.sh failed: ${made.stderr}`);
    await server.query('SELECT pg_reload_conf()');

    const [, script = ''] = ['', ...(compose.services['s3']?.command ?? [])];
    // Whoever runs the tests has built it: the user of the server may not read it.
    s3 = spawn('/bin/sh', ['-ec', replaced(script)], {
      cwd: folder,
      stdio: 'ignore',
      env: { PATH: '/usr/bin:/bin', ...compose.services['s3']?.environment },
    });
    await until('the S3 server answers', () => fetch(`http://127.0.0.1:${s3Port}/`).then(() => true, () => false)); // prettier-ignore
    mkdirSync(join(folder, 'data/objects/my-backups'));
  });

  afterAll(async () => {
    if (s3.exitCode === null) {
      s3.kill('SIGKILL');
      await once(s3, 'exit');
    }
    await server.destroy();
    removeFolder(folder);
  });

  test('examples/compose', async () => {
    spool = join(folder, 'compose');
    const config = configOf('compose/pgark.yaml');
    const receiver = await receiving(config, compose.services['receive']?.command ?? []);
    const [, health = ''] = compose.services['receive']?.healthcheck?.test ?? [];
    await until('the health check', () => shell(replaced(health)).status === 0);

    const commands = [...readExample('compose/README.md').matchAll(/docker compose run --rm (pgark .*)$/gm)];
    const lines = commands.flatMap(([, line]) => commandLines(line ?? ''));
    expect(lines.map(([name]) => name)).toEqual(['check', 'backup', 'status', 'verify', 'expire']);
    await server.query('CREATE TABLE before AS SELECT 42 AS answer');
    for (const line of lines) await pgark(config, line);

    const { command: [script = ''] = [] } = compose.services['restored'] ?? {};
    const restored = spawn('/bin/sh', ['-ec', replaced(script)], {
      ...serverUser(),
      cwd: folder,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: environment({ PGARK_CONFIG: config, TARGET: '' }),
    });
    let output = '';
    for (const stream of [restored.stdout, restored.stderr])
      stream.on('data', (text: Buffer) => (output += text.toString()));
    const ended = once(restored, 'exit');
    later(restored, (child) => child.kill('SIGKILL'));
    const clone = new PostgresServer(18, server.folder, join(folder, 'restored'), restoredPort);
    try {
      // The time of the test is the limit: a restore of a busy machine may take a minute.
      while ((await clone.value('SELECT pg_is_in_recovery()').catch(() => 'true')) === 'true') {
        if (restored.exitCode !== null) throw new Error(`the restored server ended:\n${output}`);
        await sleep(100);
      }
      expect(await clone.value('SELECT answer FROM before')).toBe('42');
    } finally {
      restored.kill('SIGINT');
      await ended;
    }
    expect(await receiver.stop()).toBe(0);
  });

  test('examples/kubernetes', async () => {
    spool = join(folder, 'kubernetes');
    const pods = podsOf(readManifests());
    const argsOf = (role: string): readonly string[] =>
      pods.find(({ metadata }) => metadata.labels['role'] === role)?.spec.containers[0].args ?? [];
    const [container] = pods.find(({ metadata }) => metadata.labels['role'] === 'receive')?.spec.containers ?? [];
    const config = configOf('kubernetes/pgark.yaml', [
      ['region: eu-central-1', `endpoint: http://127.0.0.1:${s3Port}`],
      ['sslmode=require', 'sslmode=disable'],
    ]);
    const receiver = await receiving(config, argsOf('receive'));
    for (const probe of [container?.livenessProbe, container?.readinessProbe]) {
      const [, , script = ''] = probe?.exec.command ?? [];
      await until('a probe', () => shell(replaced(script)).status === 0);
    }
    for (const role of ['backup', 'verify', 'expire']) await pgark(config, argsOf(role));
    expect(await receiver.stop()).toBe(0);
    // One that has stopped is not ready.
    expect(shell(replaced(container?.readinessProbe?.exec.command.at(-1) ?? '')).status).toBe(1);
  });

  /** A config as it is deployed, for this machine. */
  function configOf(path: string, more: readonly (readonly [string, string])[] = []): string {
    let text = replaced(readExample(path));
    for (const [from, to] of more) {
      expect(text).toContain(from);
      text = text.replace(from, to);
    }
    const file = join(folder, path.replace('/', '-'));
    writeFileSync(file, text);
    return file;
  }

  /** A text out of a container, with what has another name here. */
  function replaced(text: string): string {
    const version = compose.services['s3']?.image.split(':')[1] ?? '';
    const names: readonly (readonly [RegExp, string])[] = [
      [/\$\$/g, '$'],
      [/\/run\/secrets(?:\/pgark)?\//g, join(folder, 'secrets/')],
      [/\/var\/lib\/pgark\/spool/g, spool],
      [/\/var\/lib\/postgresql\/restored/g, join(folder, 'restored')],
      [/(?<![\w.])\/data\b/g, join(folder, 'data')],
      [/\/app\/versitygw/g, goServer(`github.com/versity/versitygw/cmd/versitygw@${version}`, 'versitygw') ?? ''],
      [/:7070\b/g, `:${s3Port}`],
      [/\bhttp:\/\/s3:/g, 'http://127.0.0.1:'],
      [/@postgres(?:\.database\.svc)?:5432\//g, `@127.0.0.1:${server.port}/`],
      [/exec postgres /g, `exec postgres -c port=${restoredPort} -c unix_socket_directories=${folder} `],
    ];
    return names.reduce((all, [from, to]) => all.replace(from, () => to), text);
  }

  function environment(more: Readonly<Record<string, string>> = {}): Readonly<Record<string, string>> {
    const path = `${join(folder, 'bin')}:/usr/lib/postgresql/15/bin:/usr/bin:/bin`;
    return {
      PATH: `${join(serverHome(18), 'bin')}:${path}`,
      HOME: folder,
      LC_ALL: 'C',
      TZ: 'UTC',
      NODE_NO_WARNINGS: '1',
      NODE_COMPILE_CACHE: join(folder, 'compiled'),
      ...more,
    };
  }

  function shell(
    script: string,
    env: Readonly<Record<string, string>> = {},
  ): ReturnType<typeof spawnSync> & { stderr: string } {
    const options = { ...serverUser(), cwd: folder, env: environment(env), encoding: 'utf8' } as const;
    return spawnSync('/bin/sh', ['-c', script], options);
  }

  async function pgark(config: string, args: readonly string[]): Promise<void> {
    const env = environment({ PGARK_CONFIG: config, S3_ACCESS_KEY_ID: 'pgark' });
    const { code, stdout, stderr } = await runCli(args, { ...serverUser(), env });
    expect(code, `pgark ${args.join(' ')}\n${stdout}${stderr}`).toBe(0);
  }

  async function receiving(config: string, args: readonly string[]): Promise<Receiver> {
    const env = environment({ PGARK_CONFIG: config, S3_ACCESS_KEY_ID: 'pgark' });
    const receiver = later(new Receiver(spawnCli(args, { ...serverUser(), env })), (running) => running.kill());
    await until('the receiver streams', async () => {
      if (receiver.ended) throw new Error(`pgark ${args.join(' ')} ended:\n${receiver.output}`);
      return (await server.value(`SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'`)) === '1';
    });
    return receiver;
  }
});
