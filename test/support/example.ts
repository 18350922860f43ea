/** Runs an example of examples/ as it stands there, as the user of PostgreSQL would. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PROJECT } from '../docs/pages.ts';
import { serverUser } from './binaries.ts';
import { CLI } from './cli.ts';
import { freePort } from './free-port.ts';
import { later } from './later.ts';
import { giveToServer, removeFolder, temporaryFolder, type PostgresServer } from './postgres.ts';
import { tool } from './tools.ts';

export interface ExampleRun {
  /** What the example has made. */
  readonly folder: string;
  /** What it has printed, on both streams. */
  readonly output: string;
}

/** Runs `examples/<name>/run.sh` to its end; an exit code other than 0 is an error. The folder is removed after the test. */
export async function runExample(
  name: string,
  server: PostgresServer,
  env: Readonly<Record<string, string>> = {},
): Promise<ExampleRun> {
  const home = later(temporaryFolder(`example-${name}`), removeFolder);
  const bin = join(home, 'bin');
  const folder = join(home, 'work');
  for (const path of [bin, folder]) mkdirSync(path);
  // What an example takes for granted: pgark, as it is in the source, the Node that it runs on, and psql.
  const words = CLI.map((word) => `'${word}'`).join(' ');
  writeFileSync(join(bin, 'pgark'), `#!/bin/sh\nexec ${words} "$@"\n`, { mode: 0o755 });
  symlinkSync(process.execPath, join(bin, 'node'));
  symlinkSync(tool('psql') ?? '', join(bin, 'psql'));
  for (const path of [bin, folder]) giveToServer(path);
  const child = spawn('/bin/sh', [join(PROJECT, 'examples', name, 'run.sh'), folder], {
    ...serverUser(),
    cwd: home,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      HOME: home,
      PATH: `${bin}:/usr/bin:/bin`,
      LC_ALL: 'C',
      TZ: 'UTC',
      NODE_NO_WARNINGS: '1',
      // An example starts pgark a dozen times.
      NODE_COMPILE_CACHE: join(home, 'compiled'),
      NODE_OPTIONS: '--conditions=@pgark/source',
      PGHOST: server.folder,
      PGPORT: String(server.port),
      RESTORED_PORT: String(await freePort()),
      ...env,
    },
  });
  const group = child.pid ?? 0;
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  }
  const closed = once(child, 'close');
  const code = await Promise.race([closed.then(([ended]) => ended as number | null), deadline()]);
  try {
    process.kill(-group, 'SIGKILL');
  } catch {
    // All of it has ended, as it should.
  }
  await closed;
  if (code !== 0) throw new Error(`examples/${name}/run.sh ended with ${String(code)}:\n${output}`);
  return { folder, output };
}

function deadline(): Promise<string> {
  return new Promise((resolve) => {
    setTimeout(() => resolve('no end in sight'), 200_000).unref();
  });
}
