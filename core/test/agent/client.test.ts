/** The client beside agents that work, and beside those that do not. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { takeTurn } from '../../src/wal-command/turn.ts';
import { takeOver, throughAgent } from '../../src/agent/client.ts';
import { agentKey, socketIn } from '../../src/agent/place.ts';
import { parseRequest, type AgentRequest } from '../../src/agent/protocol.ts';
import { AgentServer, type Handler, type Reply } from '../../src/agent/server.ts';

const SEGMENT = '000000010000000000000005';
const UID = process.getuid?.() ?? 0;
const cleanup: (() => unknown)[] = [];
let folder = '';
let config = '';
let socket = '';
beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'pgark-client-')));
  config = join(folder, 'pgark.yaml');
  writeFileSync(config, '');
  mkdirSync(join(folder, 'data', 'pg_wal'), { recursive: true });
  writeFileSync(join(folder, 'data', 'pg_wal', SEGMENT), 'wal');
  socket = socketIn(folder, agentKey(config, ''));
});
afterEach(async () => {
  for (const undo of cleanup.splice(0).toReversed()) await undo();
  rmSync(folder, { recursive: true });
});

const PUSH = ['wal-push', `pg_wal/${SEGMENT}`, SEGMENT];
const FETCH = ['wal-fetch', SEGMENT, 'pg_wal/RECOVERYXLOG'];

interface Ran {
  readonly code: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(args: readonly string[], options: { readonly env?: NodeJS.ProcessEnv } = {}): Promise<Ran> {
  const said = { stdout: '', stderr: '' };
  const code = await throughAgent(['--config', config, ...args], {
    env: options.env ?? {},
    cwd: join(folder, 'data'),
    uid: UID,
    folders: [folder],
    stdout: (text) => (said.stdout += text),
    stderr: (text) => (said.stderr += text),
    patience: { first: 300, later: 300 },
  });
  return { code, ...said };
}

/** An agent that answers so. */
async function agent(handle: Handler | Reply): Promise<AgentServer> {
  const server = new AgentServer(typeof handle === 'function' ? handle : () => Promise.resolve(handle));
  cleanup.push(() => server.close());
  await server.listen(socket);
  return server;
}

/** Something that listens in the place of an agent. */
async function impostor(serve: (socket: Socket) => void): Promise<void> {
  const open = new Set<Socket>();
  const server = createServer((connection) => {
    open.add(connection);
    connection.on('error', () => undefined);
    serve(connection);
  });
  cleanup.push(() => {
    for (const connection of open) connection.destroy();
    server.close();
  });
  await new Promise<void>((resolve) => void server.listen(socket, resolve));
}

test('what the agent has done, said and given back is what the command does', async () => {
  const asked: AgentRequest[] = [];
  await agent((request, { stderr }) => {
    asked.push(request);
    stderr('pgark: warn: a word\n');
    return Promise.resolve({ type: 'end', exitCode: 4, stdout: '{}\n' });
  });
  expect(await run([...PUSH, '--timeout', '7', '--json'])).toEqual({
    code: 4,
    stdout: '{}\n',
    stderr: 'pgark: warn: a word\n',
  });
  const cwd = join(folder, 'data');
  expect(asked).toMatchObject([
    {
      command: 'wal-push',
      config,
      cluster: '',
      cwd,
      path: `pg_wal/${SEGMENT}`,
      name: SEGMENT,
      timeout: 7000,
      json: true,
    },
  ]);
});

test('a fetched file is moved to its place, and what the client did not take is deleted', async () => {
  const file = join(folder, 'fetched');
  await agent(() => {
    writeFileSync(file, 'whole');
    return Promise.resolve({ type: 'end', exitCode: 0, stdout: '', file });
  });
  expect(await run(FETCH)).toMatchObject({ code: 0 });
  expect(readFileSync(join(folder, 'data/pg_wal/RECOVERYXLOG'), 'utf8')).toBe('whole');
  expect(readdirSync(join(folder, 'data/pg_wal'))).toEqual([SEGMENT, 'RECOVERYXLOG']);
  // A place that is not there: the full program says what is wrong.
  expect(await run(['wal-fetch', SEGMENT, 'no/such/folder'])).toMatchObject({ code: undefined });
  await expect.poll(() => existsSync(file)).toBe(false);
});

test('without an agent, and with one for another user, config or socket, the command works by itself', async () => {
  expect(await run(PUSH)).toMatchObject({ code: undefined });
  await agent({ type: 'end', exitCode: 0, stdout: '' });
  expect(await run(PUSH)).toMatchObject({ code: 0 });
  expect(await run(['--cluster', 'other', ...PUSH])).toMatchObject({ code: undefined });
  expect(await run([...PUSH, '--agent-socket', join(folder, 'none')])).toMatchObject({ code: undefined });
  expect(await run(PUSH, { env: { PGARK_AGENT_SOCKET: join(folder, 'none') } })).toMatchObject({ code: undefined });
  expect(await run([...PUSH, '--cluster', 'x', '--agent-socket', socket])).toMatchObject({ code: 0 });
  expect(await run(['wal-push', 'pg_wal/absent', SEGMENT])).toMatchObject({ code: undefined });
  expect(await run(['--help', ...PUSH])).toMatchObject({ code: undefined });
});

test('a declined request is done by the command itself', async () => {
  await agent({ type: 'decline', reason: 'of another version' });
  expect(await run(PUSH)).toEqual({ code: undefined, stdout: '', stderr: '' });
});

test.each<[string, (socket: Socket) => void]>([
  ['says nothing', () => undefined],
  ['dies at once', (connection) => connection.destroy()],
  [
    'dies in the middle',
    (connection) => {
      connection.write('{"type":"alive"}\n');
      connection.once('data', () => connection.destroy());
    },
  ],
  ['falls silent', (connection) => connection.write('{"type":"alive"}\n')],
  ['speaks another language', (connection) => connection.write('HTTP/1.1 400 Bad Request\r\n\r\n')],
  ['is of the future', (connection) => connection.write('{"type":"wait","how":"long"}\n')],
  ['never ends a line', (connection) => connection.write('x'.repeat(100_000))],
  ['gives half an answer', (connection) => connection.end('{"type":"end","exitCode":0,')],
  [
    'has a code that stops the archiver',
    (connection) => connection.write('{"type":"end","exitCode":255,"stdout":""}\n'),
  ],
])('H-20 H-21 an agent that %s is as good as none', async (_, serve) => {
  await impostor(serve);
  expect(await run(PUSH)).toMatchObject({ code: undefined, stdout: '' });
});

test('H-20 of the codes of a failed fetch only that of the mode counts, and success only with a file', async () => {
  let exitCode = 0;
  await agent(() => Promise.resolve({ type: 'end', exitCode, stdout: '' }));
  const codes = async (): Promise<readonly number[]> => {
    const taken: number[] = [];
    for (exitCode of [0, 1, 2, 3, 4, 125, 126, 255]) if ((await run(FETCH)).code !== undefined) taken.push(exitCode);
    return taken;
  };
  expect(await codes()).toEqual([1, 2]);
  writeFileSync(join(folder, 'data', 'recovery.signal'), '');
  expect(await codes()).toEqual([1, 255]);
  writeFileSync(join(folder, 'data', 'standby.signal'), '');
  expect(await codes()).toEqual([1, 2]);
});

test('the mode of the recovery goes with the request', async () => {
  const modes: unknown[] = [];
  await agent((request) => {
    modes.push('mode' in request ? request.mode : undefined);
    return Promise.resolve({ type: 'end', exitCode: 1, stdout: '' });
  });
  await run(FETCH);
  writeFileSync(join(folder, 'data', 'recovery.signal'), '');
  await run(FETCH);
  writeFileSync(join(folder, 'data', 'standby.signal'), '');
  await run(FETCH);
  expect(modes).toEqual(['none', 'recovery', 'standby']);
});

test('an agent that only says that it lives gets the time of the command, and no more', async () => {
  await impostor((connection) => {
    const timer = setInterval(() => connection.write('{"type":"alive"}\n'), 50);
    connection.once('close', () => clearInterval(timer));
  });
  const begin = performance.now();
  expect(await run([...PUSH, '--timeout', '0'])).toMatchObject({ code: undefined });
  expect(performance.now() - begin).toBeGreaterThan(4000);
});

test('a client that goes away ends the work for it', async () => {
  let ended = false;
  await agent(
    (_, { signal }) =>
      new Promise((resolve) => {
        signal.addEventListener('abort', () => {
          ended = true;
          resolve({ type: 'decline', reason: 'nobody is there' });
        });
      }),
  );
  const connection = connect(socket);
  connection.write(`${JSON.stringify(pushRequest())}\n`);
  await new Promise((resolve) => void setTimeout(resolve, 100));
  connection.destroy();
  await expect.poll(() => ended).toBe(true);
});

function pushRequest(): Record<string, unknown> {
  return {
    protocol: 2,
    command: 'wal-push',
    config,
    cluster: '',
    cwd: folder,
    path: 'p',
    name: SEGMENT,
    timeout: 1000,
    json: false,
    identity: '1:2',
  };
}

test('a request of another version or shape is none', () => {
  const line = (change: object): string => JSON.stringify({ ...pushRequest(), ...change });
  expect(parseRequest(line({}))).toMatchObject({ command: 'wal-push' });
  for (const change of [{ protocol: 1 }, { command: 'list' }, { timeout: 'x' }, { cwd: 1 }, { systemId: 5 }])
    expect(parseRequest(line(change))).toBeUndefined();
  expect(parseRequest(line({ command: 'wal-fetch' }))).toBeUndefined();
  expect(parseRequest(line({ command: 'wal-fetch', mode: 'none', repositories: [] }))).toBeDefined();
  for (const text of ['', '[]', 'null', '{', '5']) expect(parseRequest(text)).toBeUndefined();
});

test('a file of another disk is copied whole before it gets its name', () => {
  const other = '/dev/shm';
  if (!existsSync(other)) return;
  const file = join(other, `pgark-client-${process.pid}`);
  writeFileSync(file, 'w'.repeat(5000));
  cleanup.push(() => rmSync(file, { force: true }));
  const data = join(folder, 'data');
  mkdirSync(data, { recursive: true });
  const path = join(data, 'RECOVERYXLOG');
  const turn = takeTurn(path);
  takeOver(file, turn);
  turn.end();
  expect(readFileSync(path, 'utf8')).toBe('w'.repeat(5000));
  expect(readdirSync(data).filter((name) => name.startsWith('RECOVERYXLOG'))).toEqual(['RECOVERYXLOG']);
});
