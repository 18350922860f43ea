/** All packages as npm would publish them, in clean folders, on every line of Node that they are for. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PostgresServer, removeFolder, temporaryFolder } from '../../support/postgres.ts';
import { until } from '../../support/until.ts';
import { PROJECT } from '../pages.ts';
import {
  cleanEnv,
  execute,
  importable,
  pack,
  pathOutside,
  publishedFolders,
  registry,
  type Registry,
} from './packages.ts';

const FULL = process.env['PGARK_TEST_FULL'] === '1';
const LINES = [22, 24, 26] as const;

const cleanup: (() => unknown)[] = [];
afterAll(async () => {
  for (const undo of cleanup.splice(0).toReversed()) await undo();
  // Three folders with all packages in them.
}, 600_000);

const folder = temporaryFolder('clean-install');
cleanup.push(() => removeFolder(folder));
const packages = join(folder, 'packages');

describe.skipIf(!FULL)('packed and installed (PGARK_TEST_FULL=1)', () => {
  let npm: Registry | string = 'not looked for';
  beforeAll(async () => {
    npm = await registry();
    if (typeof npm === 'string') return;
    mkdirSync(packages);
    pack(publishedFolders(), packages);
    const nodes = LINES.map((line) => `node${line}@npm:node-${process.platform}-${process.arch}@${line}`);
    writeFileSync(join(folder, 'package.json'), '{ "private": true }');
    execute('npm', ['install', ...nodes], { cwd: folder, env: cleanEnv(npm.env) });
  }, 600_000);

  test.for(LINES)('on Node %i: help, plugins, every entry, a backup', { timeout: 600_000 }, async (line, { skip }) => {
    if (typeof npm === 'string') return skip(npm);
    const bin = join(folder, `node_modules/node${line}/bin`);
    const node = join(bin, 'node');
    expect(execute(node, ['--version'], { cwd: folder, env: cleanEnv() })).toMatch(new RegExp(`^v${line}\\.`));
    const env = cleanEnv({ ...npm.env, npm_config_engine_strict: 'true', PATH: pathOutside(bin) });

    const clean = join(folder, `clean-${line}`);
    mkdirSync(clean);
    writeFileSync(join(clean, 'package.json'), '{ "private": true, "type": "module" }');
    const tarballs = readdirSync(packages).map((name) => join(packages, name));
    execute('npm', ['install', ...tarballs, 'vitest@5'], { cwd: clean, env });
    const pgark = (...args: readonly string[]): string =>
      execute(join(clean, 'node_modules/.bin/pgark'), args, { cwd: clean, env });

    expect(pgark('--help')).toContain('Usage: pgark');
    const manifests = publishedFolders().map(
      (path) => JSON.parse(readFileSync(join(PROJECT, path, 'package.json'), 'utf8')) as Manifest,
    );
    const found = JSON.parse(pgark('plugins', 'list', '--json')) as {
      readonly plugins: readonly { readonly package: string }[];
      readonly unreadable: readonly unknown[];
    };
    expect(found.unreadable).toEqual([]);
    const listed = found.plugins.map((plugin) => plugin.package);
    const plugins = manifests.filter(({ pgark }) => pgark !== undefined).map(({ name }) => name);
    expect(plugins.length).toBeGreaterThan(10);
    expect(listed.toSorted()).toEqual(plugins.toSorted());
    const entries = ['pgark', 'pgark/contracts', '@pgark/sdk', '@pgark/sdk/testing', ...plugins];
    // The suites define tests when they are called, not when they are imported.
    expect(importable(entries, clean, node)).toEqual(entries);
    expect(
      execute(join(clean, 'node_modules/.bin/create-pgark-plugin'), ['storage', 'mine'], { cwd: clean, env }),
    ).toContain('wrote pgark-storage-mine');

    await backUp(clean, env);
    expect(pgark('list')).toMatch(/full +complete/);
  });
});

interface Manifest {
  readonly name: string;
  readonly pgark?: unknown;
}

/** A small backup of a real server into the file system, by the program that was installed. */
async function backUp(clean: string, env: Readonly<Record<string, string>>): Promise<void> {
  const server = await PostgresServer.start({ major: 18 });
  cleanup.push(() => server.destroy());
  for (const name of ['objects', 'spool']) mkdirSync(join(clean, name));
  writeFileSync(
    join(clean, 'pgark.yaml'),
    `
cluster: main
postgres: { url: "postgres://postgres@127.0.0.1:${server.port}/" }
repositories:
  - name: primary
    storage: { use: fs, path: objects }
    codecs: [{ use: zstd }, { use: gzip }]
receive: { slot: clean_install, spool: spool }
`,
  );
  const program = join(clean, 'node_modules/.bin/pgark');
  const receiver = spawn(program, ['receive'], { cwd: clean, env, stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  receiver.stderr.setEncoding('utf8').on('data', (text: string) => (log += text));
  const ended = once(receiver, 'close');
  try {
    await until('pgark receive streams', () => log.includes('streaming') || receiver.exitCode !== null);
    expect(log).toContain('streaming');
    execute(program, ['backup'], { cwd: clean, env });
  } finally {
    receiver.kill();
    await ended;
    await server.destroy();
  }
}
