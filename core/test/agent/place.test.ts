import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { agentKey, findSockets, isOwnFolder, ownSocket, socketIn } from '../../src/agent/place.ts';
import { AgentServer } from '../../src/agent/server.ts';
import { checkSocketFolder, runtimeFolder } from '../../src/agent/socket-server.ts';

const UID = process.getuid?.() ?? 0;
const cleanup: (() => unknown)[] = [];
let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'pgark-place-'));
});
afterEach(async () => {
  for (const undo of cleanup.splice(0).toReversed()) await undo();
  rmSync(folder, { recursive: true, force: true });
});

async function listening(path: string): Promise<AgentServer> {
  const server = new AgentServer(() => Promise.resolve({ type: 'decline', reason: 'a test' }));
  cleanup.push(() => server.close());
  await server.listen(path);
  return server;
}

test('the name of a socket follows from config and cluster', () => {
  expect(agentKey('/etc/pgark.yaml', '')).toMatch(/^[0-9a-f]{16}$/);
  const keys = [agentKey('/a', ''), agentKey('/a', 'b'), agentKey('/ab', ''), agentKey('/b', '')];
  expect(new Set(keys).size).toBe(4);
});

test('a socket is found in a folder of its user, directly or by a link, and is for its user alone', async () => {
  const server = await listening(socketIn(folder, 'one'));
  expect(statSync(socketIn(folder, 'one')).mode & 0o777).toBe(0o600);
  await server.link(socketIn(folder, 'one'), socketIn(folder, 'two'));
  for (const key of ['one', 'two'])
    expect(findSockets(key, { uid: UID, folders: ['/no/such', folder] })).toEqual([socketIn(folder, 'one')]);
  expect(findSockets('three', { uid: UID, folders: [folder] })).toEqual([]);
  expect(server.isFound).toBe(true);
  rmSync(socketIn(folder, 'two'));
  expect(server.isFound).toBe(false);
});

test('a planted socket is not asked: in a folder that others own or may write into, behind a link, or of another user', async () => {
  const socket = socketIn(folder, 'one');
  await listening(socket);
  expect(findSockets('one', { uid: UID + 1, folders: [folder] })).toEqual([]);
  expect(ownSocket(socket, UID + 1)).toBeUndefined();
  for (const mode of [0o770, 0o702, 0o777]) {
    chmodSync(folder, mode);
    expect(isOwnFolder(folder, UID)).toBe(false);
    expect(findSockets('one', { uid: UID, folders: [folder] })).toEqual([]);
    expect(ownSocket(socket, UID)).toBeUndefined();
  }
  // As in /tmp, where nobody can take away what another has made.
  chmodSync(folder, 0o1777);
  expect(ownSocket(socket, UID)).toBe(socket);
  expect(isOwnFolder(folder, UID)).toBe(false);

  // A link in a folder of ours to a folder of everybody.
  const own = join(folder, 'own');
  mkdirSync(own, { mode: 0o700 });
  symlinkSync(socket, socketIn(own, 'one'));
  chmodSync(folder, 0o777);
  expect(findSockets('one', { uid: UID, folders: [own] })).toEqual([]);
  chmodSync(folder, 0o700);
  expect(findSockets('one', { uid: UID, folders: [own] })).toEqual([socket]);
  // A folder that is a link may lead anywhere.
  symlinkSync(own, join(folder, 'link'));
  expect(findSockets('one', { uid: UID, folders: [join(folder, 'link')] })).toEqual([]);
  writeFileSync(join(own, 'file.sock'), '');
  expect(findSockets('file', { uid: UID, folders: [own] })).toEqual([]);
});

test('an agent takes the place of a dead one, and of no living one, and removes nothing that is no socket', async () => {
  const socket = socketIn(folder, 'one');
  const first = await listening(socket);
  await expect(listening(socket)).rejects.toMatchObject({ code: 'AGENT_RUNNING' });
  await first.close();
  expect(statSync(socket, { throwIfNoEntry: false })).toBeUndefined();

  // What a killed process leaves: a socket at which nobody listens.
  const dead = createServer();
  await new Promise<void>((resolve) => void dead.listen(`${socket}.dead`, resolve));
  symlinkSync(`${socket}.dead`, socket);
  await new Promise((resolve) => void dead.close(resolve));
  await listening(socket);
  expect(statSync(socket).isSocket()).toBe(true);

  // Its link, too, leads to the socket of the new one.
  symlinkSync(socket, socketIn(folder, 'two'));
  const next = await listening(socketIn(folder, 'three'));
  await expect(next.link(socketIn(folder, 'three'), socketIn(folder, 'two'))).rejects.toMatchObject({
    code: 'AGENT_RUNNING',
  });
  rmSync(socketIn(folder, 'two'));
  symlinkSync(socketIn(folder, 'three'), socketIn(folder, 'two'));
  await next.link(socketIn(folder, 'three'), socketIn(folder, 'two'));
  expect(ownSocket(socketIn(folder, 'two'), UID)).toBe(socketIn(folder, 'three'));

  writeFileSync(join(folder, 'notes'), 'mine');
  await expect(listening(join(folder, 'notes'))).rejects.toMatchObject({ code: 'AGENT_SOCKET' });
  expect(statSync(join(folder, 'notes')).size).toBe(4);
});

test('an agent does not put its socket where others may replace it', () => {
  const open = join(folder, 'open');
  mkdirSync(open);
  chmodSync(open, 0o777);
  expect(() => checkSocketFolder(join(open, 'socket'), UID)).toThrow(/others may write/);
  expect(() => checkSocketFolder(join(folder, 'absent', 'socket'), UID)).toThrow(/there is no folder/);
  checkSocketFolder(join(folder, 'socket'), UID);
  expect(() => runtimeFolder(['/no/such', open], UID)).toThrow(/others may write/);
  expect(runtimeFolder(['/no/such', join(folder, 'new')], UID)).toBe(join(folder, 'new'));
  expect(statSync(join(folder, 'new')).mode & 0o777).toBe(0o700);
});
