import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { runCli, spawnCli, type CliResult } from '../../../test/support/cli.ts';
import { createProgram } from '../../src/cli/program.ts';
import { exitCodeOf, failWith, toArchiveError } from '../../src/cli/run.ts';
import { ArchiveError } from '../../src/contracts/errors.ts';
import { VERSION } from '../../src/version.ts';
import { folder } from '../config/support.ts';
import { pluginPackage, pluginSource } from '../plugins/support.ts';

/** A folder with these files, as the current folder of a command. */
function place(files: Readonly<Record<string, string>>): string {
  const root = folder();
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(root, name, '..'), { recursive: true });
    writeFileSync(join(root, name), content);
  }
  return root;
}

const CONFIG = `repositories:
  - storage: { use: fs, path: archive }
    codecs: [ { use: zstd, level: 3 } ]
`;

interface Problem {
  readonly error: { readonly code: string; readonly message: string; readonly hint: string; readonly details: object };
}
const problem = (result: CliResult): Problem['error'] => (JSON.parse(result.stderr) as Problem).error;

describe('every command', () => {
  const all = (command: Command): Command[] => command.commands.flatMap((inner) => [inner, ...all(inner)]);
  const commands = all(createProgram()).filter((command) => command.commands.length === 0);

  test.each(commands.map((command) => [command.name(), command] as const))(
    '%s has a description and examples',
    (_, command) => {
      let help = '';
      command.configureOutput({ writeOut: (text) => (help += text) }).outputHelp();
      expect(command.description()).toMatch(/^[a-z].*[^.]$/);
      expect(help).toContain('Examples:');
      expect(help).toContain('--config <file>');
    },
  );
});

describe('pgark', () => {
  test('prints version and help on stdout', async () => {
    expect(await runCli(['--version'])).toMatchObject({ code: 0, stdout: `pgark ${VERSION}\n`, stderr: '' });
    const help = await runCli(['config', 'check', '--help']);
    expect(help).toMatchObject({ code: 0, stderr: '' });
    expect(help.stdout).toMatch(/Usage: pgark config check[^]*--log-level[^]*Examples:/);
    const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as object;
    expect(manifest).toMatchObject({ version: VERSION });
  });

  test('H-83 wrong usage exits with 3, says what to do, and prints nothing on stdout', async () => {
    for (const [args, message] of [
      [[], 'no command was given'],
      [['--nope'], "unknown option '--nope'"],
      [['confg'], "unknown command 'confg' (Did you mean config?)"],
      [['config', 'check', '--log-level', 'loud'], "option '--log-level <level>' argument 'loud' is invalid"],
      [['config', 'check', 'extra'], 'too many arguments'],
    ] as const) {
      const result = await runCli(args);
      expect(result, args.join(' ')).toMatchObject({ code: 3, stdout: '' });
      expect(result.stderr).toContain(`pgark: error: ${message}`);
      expect(result.stderr).toMatch(/pgark: hint: Run "pgark .*--help"\./);
    }
    expect(problem(await runCli(['--nope', '--json']))).toMatchObject({
      code: 'USAGE',
      message: "unknown option '--nope'",
    });
  });

  test('without a config it says where it looked', async () => {
    const cwd = folder();
    const result = await runCli(['config', 'explain'], { cwd });
    expect(result).toMatchObject({ code: 3, stdout: '' });
    expect(result.stderr).toContain(`looked for ${cwd}/pgark.yaml`);
    expect(result.stderr).toContain('pgark init');
  });

  test('the first signal asks a command to stop, the second ends it at once', async () => {
    // A plugin that never ends: what receives the signals is the command line itself.
    const before = 'await new Promise((resolve) => setInterval(() => {}, 1000));';
    const cwd = place({
      'pgark.yaml': CONFIG.replace('zstd', './slow.mjs'),
      'slow.mjs': pluginSource({ before: `process.stderr.write('loading'); ${before}` }),
    });
    for (const [signal, code] of [
      ['SIGINT', 130],
      ['SIGTERM', 143],
    ] as const) {
      const running = spawnCli(['config', 'check'], { cwd });
      await running.waitFor(/loading/);
      running.kill(signal);
      await new Promise((resolve) => setTimeout(resolve, 200));
      expect(running.child.exitCode).toBeNull();
      running.kill(signal);
      expect(await running.ended).toMatchObject({ code, signal: undefined });
    }
  });

  test('a reader that leaves early is no error', async () => {
    const running = spawnCli(['config', 'schema']);
    running.child.stdout?.destroy();
    expect(await running.ended).toMatchObject({ code: 0, stderr: '' });
  });
});

describe('exit codes', () => {
  test('a command can have its own, also for wrong usage before it and faults of the program', () => {
    const program = new Command();
    const own = program.command('own');
    program.command('other');
    failWith(own, (error) => (error.code === 'ABORTED' ? 143 : 255));
    const usage = new ArchiveError('USAGE', 'x');
    expect(exitCodeOf(program, ['own', 'x'], usage)).toBe(255);
    expect(exitCodeOf(program, ['--bogus', 'other', 'own'], usage)).toBe(255);
    expect(exitCodeOf(program, ['own'], toArchiveError(new TypeError('boom')))).toBe(255);
    expect(exitCodeOf(program, ['own'], new ArchiveError('ABORTED', 'x'))).toBe(143);
    expect(exitCodeOf(program, ['other'], usage)).toBe(3);
    expect(exitCodeOf(program, [], toArchiveError('boom'))).toBe(1);
  });

  test('H-20 wal-fetch never exits with 1 for wrong usage, a wrong config or a fault', async () => {
    const cwd = place({ 'recovery.signal': '', 'pgark.yaml': 'nonsense: 1\n' });
    for (const args of [
      ['wal-fetch'],
      ['wal-fetch', 'a', 'b'],
      ['--nope', 'wal-fetch', 'a', 'b'],
      ['wal-fetch', 'a', 'b', '--config', '/gone'],
    ]) {
      const result = await runCli(args, { cwd });
      expect(result.stderr, args.join(' ')).toContain('pgark: error: ');
      expect(result.code, args.join(' ')).toBe(255);
    }
  });
});

describe('pgark config', () => {
  test('check loads the plugins and validates their options', async () => {
    const cwd = place({ 'pgark.yaml': CONFIG });
    expect(await runCli(['config', 'check'], { cwd })).toMatchObject({
      code: 0,
      stdout: `${cwd}/pgark.yaml: cluster main is valid\n  repository primary: storage fs, codecs zstd\n`,
      stderr: '',
    });
    const json = await runCli(['config', 'check', '--json'], { cwd });
    expect(JSON.parse(json.stdout)).toMatchObject({ valid: true, clusters: [{ cluster: 'main' }] });
  });

  test('check lists every problem of every plugin', async () => {
    const cwd = place({
      'pgark.yaml': `repositories:
  - storage: { use: fs, pth: archive }
    codecs: [ { use: zstd, level: 99 }, { use: agee } ]
hooks: [ { use: fs } ]
`,
    });
    const result = await runCli(['config', 'check'], { cwd });
    expect(result).toMatchObject({ code: 3, stdout: '' });
    expect(result.stderr).toContain('the config has 4 problems');
    for (const part of [
      'repositories[0].storage.path',
      'repositories[0].codecs[0].level',
      'codec "agee" is not installed',
      'hooks[0]: ',
    ]) {
      expect(result.stderr).toContain(part);
    }
    const json = problem(await runCli(['config', 'check', '--json'], { cwd }));
    expect(json).toMatchObject({ code: 'CONFIG_INVALID', details: { problems: expect.any(Array) as object } });
  });

  test('check looks at every cluster of a file', async () => {
    const cwd = place({
      'pgark.yaml': `clusters:\n  a: { repositories: [ { storage: { use: memory } } ] }\n  b: { cluster: [] }\n`,
    });
    const result = await runCli(['config', 'check'], { cwd });
    expect(result.code).toBe(3);
    expect(result.stderr).toContain('clusters.b.repositories: is required');
    expect((await runCli(['config', 'check', '--cluster', 'a'], { cwd })).stdout).toContain('cluster a is valid');
  });

  test('explain shows values and origins, and no secret', async () => {
    const cwd = place({
      'pgark.yaml': `postgres: { url: 'postgres://u:hunter2@h/', password: { file: /run/pw } }
repositories:
  - storage: { use: ./store.mjs, bucket: b, secretKey: hunter2 }
    codecs: [ { use: not-installed, key: hunter2 }, { use: ./codec.mjs, keys: [ { id: a, key: hunter2 }, { id: b, key: { env: B } } ] } ]
restore: { identities: [ hunter2, { env: ID } ] }
`,
      'store.mjs': pluginSource({ kind: 'storage', members: 'secrets: ["secretKey"]' }),
      'codec.mjs': pluginSource({ members: 'secrets: ["keys[].key", "more[].key"]' }),
    });
    const env = { PGARK_RECEIVE_SLOT: 's9', PGARK_REPOSITORIES_0_CODECS_1_MORE: '[{ key: hunter2 }]' };
    const result = await runCli(['config', 'explain'], { cwd, env });
    expect(result).toMatchObject({ code: 0, stderr: '' });
    const rows = new Map(result.stdout.split('\n').map((line) => [line.split(/\s+/)[0], line.replaceAll(/\s+/g, ' ')]));
    expect(rows.get('postgres.url')).toBe('postgres.url [redacted] pgark.yaml:1');
    expect(rows.get('postgres.password')).toBe('postgres.password {"file":"/run/pw"} pgark.yaml:1');
    expect(rows.get('repositories[0].storage.bucket')).toBe('repositories[0].storage.bucket b pgark.yaml:3');
    expect(rows.get('repositories[0].storage.secretKey')).toContain(' [redacted] ');
    expect(rows.get('repositories[0].codecs[0].key')).toContain(' [redacted] ');
    const keys = '[{"id":"a","key":"[redacted]"},{"id":"b","key":{"env":"B"}}]';
    expect(rows.get('repositories[0].codecs[1].keys')).toContain(` ${keys} `);
    expect(rows.get('repositories[0].codecs[1].more')).toContain(' [redacted] ');
    expect(rows.get('restore.identities[1]')).toContain('{"env":"ID"}');
    expect(rows.get('receive.slot')).toBe('receive.slot s9 env PGARK_RECEIVE_SLOT');
    expect(rows.get('receive.ack')).toBe('receive.ack local default');
    const json = await runCli(['config', 'explain', '--json'], { cwd, env });
    expect(JSON.parse(json.stdout)).toContainEqual({ key: 'receive.ack', value: 'local', origin: { kind: 'default' } });
    expect(result.stdout + json.stdout).not.toContain('hunter2');
  });

  test('schema is a JSON Schema', async () => {
    const { stdout } = await runCli(['config', 'schema']);
    expect(JSON.parse(stdout)).toMatchObject({ $schema: 'https://json-schema.org/draft/2020-12/schema' });
  });
});

describe('pgark plugins', () => {
  test('list shows what is in reach and what is named, and loads none of it', async () => {
    const before = 'throw 1;';
    const cwd = place({
      'conf/pgark.yaml': CONFIG.replace('use: zstd', 'use: mine'),
      ...pluginPackage('pgark-codec-mine', { name: 'mine', suffix: 'mine', before }, 'conf/node_modules'),
      ...pluginPackage('pgark-hook-odd', { field: { kind: 'toaster' } }, 'conf/node_modules'),
    });
    const table = await runCli(['plugins', 'list', '--config', 'conf/pgark.yaml'], { cwd });
    expect(table.code).toBe(0);
    expect(table.stderr).toContain('pgark-hook-odd/package.json is no manifest: its kind is "toaster"');
    expect(table.stdout).toMatch(/^KIND +NAME +SUFFIX +PACKAGE +VERSION +API +FOR PGARK +NAMED BY +FROM\n/);
    expect(table.stdout).toMatch(
      /codec +mine +mine +pgark-codec-mine +1\.2\.3 +1 +\^1\.0\.0 +repositories\[0\]\.codecs\[0\] +\/.*pgark-codec-mine\n/,
    );
    expect(table.stdout).toMatch(/codec +zstd +zst +@pgark\/codec-zstd +\S+ +1 +\S+ +- /);
    const json = await runCli(['plugins', 'list', '--json'], { cwd });
    expect((JSON.parse(json.stdout) as { plugins: unknown }).plugins).toContainEqual(
      expect.objectContaining({ kind: 'codec', name: 'zstd', suffix: 'zst', supported: true, namedBy: [] }),
    );
  });

  test('list does not guess what a config names that cannot be read', async () => {
    const cwd = place({ 'pgark.yaml': 'not: read' });
    const table = await runCli(['plugins', 'list'], { cwd });
    expect(table.code).toBe(0);
    expect(table.stderr).toContain('it is not known which of them the config names');
    expect(table.stdout).toMatch(/storage +fs .* \? /);
  });

  test('doctor has a line for each plugin, and fails when one does not work', async () => {
    const cwd = place({ 'pgark.yaml': CONFIG.replace('use: zstd', 'use: brotli') });
    const result = await runCli(['plugins', 'doctor'], { cwd });
    expect(result.code).toBe(1);
    expect(result.stdout).toMatch(/^ok +storage fs \(repositories\[0\]\.storage\): is loaded, and takes its options\n/);
    expect(result.stdout).toMatch(
      /failed +codec brotli \(repositories\[0\]\.codecs\[0\]\): codec "brotli" is not installed: .*\n +hint: Run "npm install @pgark\/codec-brotli"/,
    );
    // What this package brings is well.
    expect(result.stdout.match(/^failed /gm)).toHaveLength(1);
    expect(result.stdout).toMatch(/ok +codec @pgark\/codec-gzip: is loaded, and reads "\.gz"/);
    expect(result.stderr).toContain('plugins do not work (brotli at repositories[0].codecs[0])');
  });
});
