/** `pgark-wal`, the client that is a shell script, beside agents that work, and beside those that do not. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { identityOf, type AgentRequest } from '../../src/agent/protocol.ts';
import type { Handler, Reply } from '../../src/agent/server.ts';
import { SHELL_SUFFIX, ShellServer } from '../../src/agent/shell-server.ts';
import { takeTurn } from '../../src/wal-command/turn.ts';

const SCRIPT = fileURLToPath(new URL('../../bin/pgark-wal', import.meta.url));
const SEGMENT = '000000010000000000000005';
/** What the command itself ends with in these tests. */
const ITSELF = 77;
const cleanup: (() => unknown)[] = [];
let folder = '';
let data = '';
let config = '';
let socket = '';
beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'pgark shell-')));
  data = join(folder, 'data');
  config = join(folder, 'pgark.yaml');
  socket = join(folder, 'agent.sock');
  writeFileSync(config, '');
  mkdirSync(join(data, 'pg_wal'), { recursive: true });
  writeFileSync(join(data, 'pg_wal', SEGMENT), 'wal');
  writeFileSync(join(data, 'recovery.signal'), '');
  writeFileSync(join(folder, 'pgark'), `#!/bin/sh\necho itself "$@"\nexit ${ITSELF}\n`);
  chmodSync(join(folder, 'pgark'), 0o755);
});
afterEach(async () => {
  for (const undo of cleanup.splice(0).toReversed()) await undo();
  rmSync(folder, { recursive: true });
});

const PUSH = ['wal-push', `pg_wal/${SEGMENT}`, SEGMENT];
const FETCH = ['wal-fetch', SEGMENT, 'pg_wal/RECOVERYXLOG'];
const place = (): string => join(data, 'pg_wal', 'RECOVERYXLOG');

interface Ran {
  readonly code: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

const options = (): readonly string[] => ['--config', config, '--agent-socket', socket];

async function run(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ran> {
  const child = spawn(SCRIPT, [join(folder, 'pgark'), ...args], {
    cwd: data,
    env: { PATH: process.env['PATH'], ...env },
  });
  const said = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said.stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said.stderr += text));
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  return { code: code ?? signal ?? '', ...said };
}

async function agent(handle: Handler | Reply): Promise<ShellServer> {
  const server = new ShellServer(typeof handle === 'function' ? handle : () => Promise.resolve(handle));
  cleanup.push(() => server.close());
  await server.listen(socket + SHELL_SUFFIX);
  return server;
}

const end = (exitCode: number, file?: string): Reply => ({
  type: 'end',
  exitCode,
  stdout: '',
  ...(file !== undefined && { file }),
});

const NO_CURL = spawnSync('curl', ['--version']).status !== 0;

test.skipIf(NO_CURL)('the agent gets all that the command says, and its answer is that of the command', async () => {
  const asked: AgentRequest[] = [];
  await agent((request, { stderr }) => {
    asked.push(request);
    stderr('pgark: error: two\npgark: hint: lines & 100%\n');
    return Promise.resolve(end(4));
  });
  symlinkSync('pgark.yaml', join(folder, 'link.yaml'));
  const link = ['--config', join(folder, 'link.yaml'), '--agent-socket', socket];
  expect(await run([...link, '--cluster', `a b'"$&`, ...PUSH, '--timeout', '7'])).toEqual({
    code: 4,
    stdout: '',
    stderr: 'pgark: error: two\npgark: hint: lines & 100%\n',
  });
  expect(await run([...options(), ...FETCH, '--system-id', '7', '--timeline', '3', '--until', SEGMENT])).toMatchObject({
    code: ITSELF, // the code of a push that failed is none of a fetch
  });
  rmSync(join(data, 'recovery.signal'));
  writeFileSync(join(data, 'standby.signal'), '');
  await run(['--repository', 'a', '--repository', 'b', ...options(), ...FETCH]);
  const identity = (path: string): string => identityOf(statSync(path, { bigint: true }));
  const common = { config, cwd: data, name: SEGMENT, json: false };
  expect(asked).toEqual([
    {
      ...common,
      protocol: 2,
      command: 'wal-push',
      cluster: `a b'"$&`,
      path: `pg_wal/${SEGMENT}`,
      identity: identity(join(data, 'pg_wal', SEGMENT)),
      timeout: 7000,
      repositories: [],
    },
    {
      ...common,
      protocol: 2,
      command: 'wal-fetch',
      cluster: '',
      path: 'pg_wal/RECOVERYXLOG',
      identity: identity(data),
      mode: 'recovery',
      systemId: '7',
      timeline: 3,
      until: SEGMENT,
      repositories: [],
    },
    {
      ...common,
      protocol: 2,
      command: 'wal-fetch',
      cluster: '',
      path: 'pg_wal/RECOVERYXLOG',
      identity: identity(data),
      mode: 'standby',
      repositories: ['a', 'b'],
    },
  ]);
});

test.skipIf(NO_CURL)(
  'a fetched file is moved to its place; missing and failed have the codes that PostgreSQL expects',
  async () => {
    const file = join(folder, 'fetched file');
    let reply = end(0, file);
    await agent(() => {
      if (reply.type === 'end' && reply.file !== undefined) writeFileSync(file, 'whole');
      return Promise.resolve(reply);
    });
    expect(await run([...options(), ...FETCH])).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(readFileSync(place(), 'utf8')).toBe('whole');
    expect(existsSync(file)).toBe(false);
    reply = end(1);
    expect(await run([...options(), ...FETCH])).toMatchObject({ code: 1 });
    reply = end(255);
    expect(await run([...options(), ...FETCH])).toMatchObject({ code: 255 });
    // 255 would stop a standby, 2 would end a recovery.
    reply = end(2);
    expect(await run([...options(), ...FETCH])).toMatchObject({ code: ITSELF });
    writeFileSync(join(data, 'standby.signal'), '');
    expect(await run([...options(), ...FETCH])).toMatchObject({ code: 2 });
    reply = end(255);
    expect(await run([...options(), ...FETCH])).toMatchObject({ code: ITSELF });
    expect(readdirSync(join(data, 'pg_wal')).toSorted()).toEqual([SEGMENT, 'RECOVERYXLOG']);
  },
);

test.skipIf(NO_CURL)('a file that the client did not take is deleted with the agent', async () => {
  const file = join(folder, 'fetched');
  const server = await agent(() => {
    writeFileSync(file, 'whole');
    return Promise.resolve(end(0, file));
  });
  expect(await run([...options(), 'wal-fetch', SEGMENT, 'no/such/folder/file'])).toMatchObject({ code: ITSELF });
  await server.close();
  expect(existsSync(file)).toBe(false);
});

test.skipIf(NO_CURL)(
  'H-20 a later command at the same place takes it, and the earlier one puts nothing there',
  async () => {
    const file = join(folder, 'fetched');
    let asked = 0;
    await agent(async () => {
      asked += 1;
      writeFileSync(file, 'of the earlier one');
      const later = takeTurn(place());
      cleanup.push(() => later.end());
      return Promise.resolve(end(0, file));
    });
    expect(await run([...options(), ...FETCH])).toMatchObject({ code: 255, stdout: '' });
    expect(asked).toBe(1);
    expect(existsSync(place())).toBe(false);
    // It takes the place itself from what began before.
    const earlier = takeTurn(place());
    await run([...options(), ...FETCH]);
    expect(earlier.isLost()).toBe(true);
  },
);

test.skipIf(NO_CURL).each<[string, () => unknown]>([
  ['no agent', () => undefined],
  ['an agent that declines', () => agent({ type: 'decline', reason: 'it has another config' })],
  ['an agent that breaks', () => agent(() => Promise.reject(new Error('broken')))],
  ['an agent with a code above 125', () => agent(end(200))],
  ['a socket that nobody listens on', () => abandoned()],
  [
    'a server that says something else',
    () => impostor((text) => `HTTP/1.1 200 OK\r\ncontent-length: ${text.length}\r\n\r\n${text}`, 'hello\n'),
  ],
  ['a server whose answer is cut', () => impostor(() => 'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nend 0\n')],
  ['a server that fails', () => impostor(() => 'HTTP/1.1 500 Oh\r\ncontent-length: 6\r\n\r\nend 0\n')],
])('with %s the command itself is run, with all its words', async (_, prepare) => {
  await prepare();
  const args = [...options(), '--cluster', 'a  b', ...PUSH];
  expect(await run(args)).toMatchObject({ code: ITSELF, stdout: `itself ${args.join(' ')}\n` });
});

test.skipIf(NO_CURL)(
  'H-21 an agent that hangs is left, and the command itself is run',
  { timeout: 60_000 },
  async () => {
    await impostor(() => '');
    expect(await run([...options(), ...PUSH])).toMatchObject({ code: ITSELF });
  },
);

test.skipIf(NO_CURL)('an agent that works for long is waited for', { timeout: 60_000 }, async () => {
  await agent(async () => {
    await sleep(13_000); // longer than a silent one is
    return end(0);
  });
  expect(await run([...options(), ...PUSH])).toMatchObject({ code: 0 });
});

test.skipIf(NO_CURL)(
  'options that the script does not know, and words that make no command, are left to the command',
  async () => {
    await agent(end(0));
    for (const args of [
      ['--json', ...options(), ...PUSH],
      [...options(), '--log-level', 'debug', ...PUSH],
      [...options(), ...PUSH, 'more'],
      [...options(), 'wal-push', 'one'],
      [...options(), ...PUSH, '--timeout'],
      [...options(), ...PUSH, '--timeout', '1.5'],
      [...options(), 'list'],
      ['--agent-socket', socket, ...PUSH],
      ['--config', config, ...PUSH],
    ])
      expect((await run(args)).code, args.join(' ')).toBe(ITSELF);
    // From source, the program has flags of its own in front.
    expect((await run(['--conditions=@pgark/source', 'bin.ts', ...options(), ...PUSH])).code).toBe(0);
    const env = { PGARK_CONFIG: config, PGARK_AGENT_SOCKET: socket };
    expect((await run(PUSH, env)).code).toBe(0);
  },
);

test.skipIf(NO_CURL)('a curl that is set up otherwise changes nothing', async () => {
  await agent(end(0));
  writeFileSync(join(folder, '.curlrc'), 'output = /dev/null\nproxy = http://127.0.0.1:1\n');
  const env = { HOME: folder, CURL_HOME: folder, http_proxy: 'http://127.0.0.1:1', ALL_PROXY: 'http://127.0.0.1:1' };
  expect((await run([...options(), ...PUSH], env)).code).toBe(0);
});

test('without a command the script fails, and does not say that anything is archived', () => {
  expect(spawnSync(SCRIPT, [], { cwd: data }).status).toBe(255);
});

/** Anybody but root, for whom there is no limit. */
const STRANGER = process.getuid?.() === 0 ? { uid: 61_234, gid: 61_234 } : {};

test.skipIf(spawnSync('prlimit', ['--version']).status !== 0).each([
  { signal: 'recovery.signal', args: FETCH, code: 255 },
  { signal: 'standby.signal', args: FETCH, code: 2 },
  { signal: 'recovery.signal', args: PUSH, code: 1 },
])('H-20 a shell that cannot start a process ends $args.0 with $code, with $signal', ({ signal, args, code }) => {
  chmodSync(folder, 0o755);
  rmSync(join(data, 'recovery.signal'));
  writeFileSync(join(data, signal), '');
  const script = ['--nproc=1', SCRIPT, join(folder, 'pgark'), ...options(), ...args];
  const ran = spawnSync('prlimit', script, { cwd: data, encoding: 'utf8', ...STRANGER });
  expect(ran.stderr).toMatch(/fork/i);
  expect(ran.status).toBe(code);
});

test.skipIf(NO_CURL)('a claim that a later command removes while earlier ones are removed is lost', async () => {
  const bin = join(folder, 'bin');
  mkdirSync(bin);
  writeFileSync(join(bin, 'rm'), `#!/bin/sh\nPATH=/usr/bin:/bin exec rm -f pg_wal/*.pgark-*\n`);
  chmodSync(join(bin, 'rm'), 0o755);
  writeFileSync(`${place()}.pgark-1-earlier`, '');
  const file = join(folder, 'fetched');
  writeFileSync(file, 'whole');
  await agent(end(0, file));
  expect(await run([...options(), ...FETCH], { PATH: `${bin}:${process.env['PATH']}` })).toMatchObject({ code: 255 });
  expect(existsSync(place())).toBe(false);
});

test.skipIf(NO_CURL)('what others could turn to a socket of their own is not asked', async () => {
  await agent(end(0));
  symlinkSync(socket + SHELL_SUFFIX, join(folder, `link${SHELL_SUFFIX}`));
  expect((await run(['--config', config, '--agent-socket', join(folder, 'link'), ...PUSH])).code).toBe(ITSELF);
  expect((await run([...options(), ...PUSH])).code).toBe(0);
  chmodSync(folder, 0o1777); // nobody can take away what is another's there
  expect((await run([...options(), ...PUSH])).code).toBe(0);
  for (const permissions of [0o777, 0o770, 0o702]) {
    chmodSync(folder, permissions);
    expect((await run([...options(), ...PUSH])).code, permissions.toString(8)).toBe(ITSELF);
  }
});

test.skipIf(NO_CURL)('the agent is told which config and which timeline the command itself would take', async () => {
  const asked: AgentRequest[] = [];
  await agent((request) => {
    asked.push(request);
    return Promise.resolve(end(1));
  });
  writeFileSync(join(data, 'own.yaml'), '');
  const own = ['--config', 'own.yaml', '--agent-socket', '../agent.sock', ...FETCH];
  expect(await run([...own, '--timeline', '3', '--timeline', '4'])).toMatchObject({ code: 1 });
  expect(asked).toEqual([expect.objectContaining({ config: join(data, 'own.yaml'), timeline: 4 })]);
  expect(await run([...own, '--timeline', '0x3'])).toMatchObject({ code: ITSELF });
  expect(await run([...options(), ...PUSH, '--timeout', '08'])).toMatchObject({ code: ITSELF });
  mkdirSync(place());
  expect(await run([...options(), ...FETCH])).toMatchObject({ code: ITSELF });
  expect(asked).toHaveLength(1);
});

/** Leaves a socket behind at which nobody answers. */
async function abandoned(): Promise<void> {
  const listen = `require('node:net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))`;
  await once(spawn(process.execPath, ['-e', listen, socket + SHELL_SUFFIX]), 'close');
  expect(statSync(socket + SHELL_SUFFIX).isSocket()).toBe(true);
}

/** Something else that listens in the place of an agent. */
async function impostor(answer: (text: string) => string, text = ''): Promise<void> {
  const server = createServer((connection) => {
    connection.on('error', () => undefined);
    connection.once('data', () => {
      const said = answer(text);
      if (said !== '') connection.end(said);
    });
    cleanup.push(() => connection.destroy());
  });
  await new Promise<void>((resolve) => void server.listen(socket + SHELL_SUFFIX, resolve));
  cleanup.push(() => server.close());
}
