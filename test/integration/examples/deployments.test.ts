/**
 * What examples/playground and examples/helm run is run here, by their own commands and configs, with the names of hosts and folders
 * replaced: the script of the server's image, the S3 server, receiver and probes, jobs, and the server that is restored.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { commandLines } from '../../docs/command-lines.ts';
import { PROJECT } from '../../docs/pages.ts';
import { Receiver } from '../../support/archive.ts';
import { serverHome, serverUser } from '../../support/binaries.ts';
import { CLI, runCli, spawnCli } from '../../support/cli.ts';
import { podsOf, readCompose, readExample } from '../../support/deployment.ts';
import { freePort } from '../../support/free-port.ts';
import { goServer } from '../../support/go-server.ts';
import { helmMissing, rendered } from '../../support/helm.ts';
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
  /** What stands for `/run/secrets`, `/data` and the rest. */
  let folder: string;
  let s3Port: number;
  let restoredPort: number;
  let daemonPort: number;
  /** Each daemon has a folder of its own. */
  let work: string;

  beforeAll(async () => {
    folder = temporaryFolder('deployment');
    for (const path of ['bin', 'secrets', 'data', 'playground', 'helm']) mkdirSync(join(folder, path));
    const secrets = {
      pgark_password: 'p',
      s3_secret: 's',
      viewer_token: 'viewer-viewer-viewer',
      operator_token: 'operator-operator-operator',
      'postgres-password': 'p',
      's3-secret-access-key': 's',
      'age-recipients': 'age15hkqtp7dhxc28ctsdhd4p8mev564m5hjcl527nja97j3uv6aaukqf8589p\n',
    };
    for (const [name, value] of Object.entries(secrets)) writeFileSync(join(folder, 'secrets', name), value);
    const words = CLI.map((word) => `'${word}'`).join(' ');
    writeFileSync(join(folder, 'bin/pgark'), `#!/bin/sh\nexec ${words} "$@"\n`, { mode: 0o755 });
    for (const path of ['bin', 'secrets', 'playground', 'helm']) giveToServer(join(folder, path));
    [s3Port, restoredPort, daemonPort] = [await freePort(), await freePort(), await freePort()];

    server = await PostgresServer.create({ major: 18, settings: { fsync: 'on', max_slot_wal_keep_size: '10GB' } });
    // The last line is the one that the image writes.
    server.setHba([
      'local all postgres trust',
      'host all postgres 127.0.0.1/32 trust',
      'host all all all scram-sha-256',
    ]);
    await server.start();
    // The image sets POSTGRES_USER; psql finds the server by its socket.
    const made = shell(replaced(readExample('playground/role.sh')), {
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

  test('examples/playground', async () => {
    work = join(folder, 'playground');
    const [, made = ''] = /^(openssl req [^]*?tls_certificate)$/m.exec(readExample('playground/README.md')) ?? [];
    expect(shell(made)).toMatchObject({ status: 0 });
    const { daemon } = compose.services;
    const config = configOf(readExample('playground/pgark.yaml'), 'playground.yaml', [['0.0.0.0:', '127.0.0.1:']]);
    const receiver = await receiving(config, daemon?.command ?? []);
    const [, ...health] = daemon?.healthcheck?.test ?? [];
    await until('the health check', () => probe(health, daemon?.environment) === 0);

    const commands = [...readExample('playground/README.md').matchAll(/docker compose run --rm (pgark .*)$/gm)];
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

  test.skipIf(helmMissing !== undefined)(
    `examples/helm${helmMissing === undefined ? '' : ` (${helmMissing})`}`,
    async () => {
      work = join(folder, 'helm');
      const manifests = rendered('small');
      const text = manifests.find(({ kind }) => kind === 'Secret')?.stringData?.['pgark.yaml'] ?? '';
      const [container] = podsOf(manifests).flatMap(({ spec }) => spec.containers);
      const config = configOf(text, 'helm.yaml', [
        ['region: eu-central-1', `endpoint: http://127.0.0.1:${s3Port}`],
        ['sslmode=require', 'sslmode=disable'],
      ]);
      const receiver = await receiving(config, container?.args ?? []);
      for (const { exec } of [container?.livenessProbe, container?.readinessProbe].flatMap((found) => found ?? []))
        await until('a probe', () => probe(exec?.command ?? []) === 0);
      const jobs = rendered('full').filter(({ kind }) => kind === 'CronJob');
      expect(jobs).toHaveLength(3);
      for (const job of podsOf(jobs)) await pgark(config, job.spec.containers[0].args);
      expect(await receiver.stop()).toBe(0);
      // One that has stopped is not ready.
      expect(probe(container?.readinessProbe?.exec?.command ?? [])).toBe(1);
    },
  );

  /** A config as it is deployed, for this machine. Nothing is begun by itself. */
  function configOf(deployed: string, name: string, more: readonly (readonly [string, string])[] = []): string {
    let text = replaced(deployed).replace(/^schedule:\n(?:[ -].*\n)+/m, 'schedule: []\n');
    for (const [from, to] of more) {
      expect(text).toContain(from);
      text = text.replace(from, to);
    }
    const file = join(folder, name);
    writeFileSync(file, text);
    return file;
  }

  /** Runs a probe of a container, and gives its exit code. */
  function probe(command: readonly string[], env: Readonly<Record<string, string>> = {}): number | null {
    const [program = '', ...args] = command.map(replaced);
    const variables = Object.fromEntries(Object.entries(env).map(([key, value]) => [key, replaced(value)]));
    return spawnSync(program, args, { ...serverUser(), cwd: folder, env: environment(variables) }).status;
  }

  /** A text out of a container, with what has another name here. */
  function replaced(text: string): string {
    const version = compose.services['s3']?.image.split(':')[1] ?? '';
    const names: readonly (readonly [RegExp, string])[] = [
      [/\$\$/g, '$'],
      [/\/run\/secrets(?:\/pgark)?\//g, join(folder, 'secrets/')],
      [/\/var\/lib\/pgark\b/g, work],
      [/\/opt\/pgark\/healthcheck\.mjs/g, join(PROJECT, 'examples/docker/healthcheck.mjs')],
      [/^node$/g, process.execPath],
      [/\b8733\b/g, String(daemonPort)],
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
