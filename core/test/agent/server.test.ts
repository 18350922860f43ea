/** Clients of the agent that say nothing that makes sense, or do not go away. */
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { throughAgent } from '../../src/agent/client.ts';
import { agentKey, socketIn } from '../../src/agent/place.ts';
import { AgentServer } from '../../src/agent/server.ts';

const SEGMENT = '000000010000000000000005';
const UID = process.getuid?.() ?? 0;
let folder = '';
let config = '';
let server: AgentServer;
const open: Socket[] = [];
beforeEach(async () => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'pgark-agent-')));
  config = join(folder, 'pgark.yaml');
  writeFileSync(config, '');
  mkdirSync(join(folder, 'data', 'pg_wal'), { recursive: true });
  writeFileSync(join(folder, 'data', 'pg_wal', SEGMENT), 'wal');
  server = new AgentServer(() => Promise.resolve({ type: 'end', exitCode: 0, stdout: '' }));
  await server.listen(socketIn(folder, agentKey(config, '')));
});
afterEach(async () => {
  for (const socket of open.splice(0)) socket.destroy();
  await server.close();
  rmSync(folder, { recursive: true });
});

function client(): Promise<Socket> {
  // A process that is stopped, or hangs, does not answer the end of the other side.
  const socket = connect({ path: socketIn(folder, agentKey(config, '')), allowHalfOpen: true });
  open.push(socket);
  socket.on('error', () => undefined);
  return new Promise((resolve) => void socket.once('connect', () => resolve(socket)));
}

const push = (): Promise<number | undefined> =>
  throughAgent(['--config', config, 'wal-push', `pg_wal/${SEGMENT}`, SEGMENT], {
    env: {},
    cwd: join(folder, 'data'),
    uid: UID,
    folders: [folder],
    stdout: () => undefined,
    stderr: () => undefined,
    patience: { first: 2000, later: 2000 },
  });

test('connections that were declined do not use up the places of others', async () => {
  expect(await push()).toBe(0);
  for (let count = 0; count < 64; count++) {
    const socket = await client();
    socket.resume();
    socket.write('not a request\n'); // declined; the client is stopped, and never closes
  }
  await sleep(500);
  expect(await push()).toBe(0);
});

test('what comes without an end is neither kept nor read for ever', async () => {
  const socket = await client();
  socket.resume();
  const block = Buffer.alloc(1 << 20, 'x');
  const used = (): number => process.memoryUsage().heapUsed + process.memoryUsage().external;
  const before = used();
  for (let sent = 0; sent < 48 && !socket.closed; sent++)
    await Promise.race([new Promise((resolve) => socket.write(block, resolve)), sleep(2000)]);
  const kept = used() - before;
  // 64 KiB are the longest message.
  expect(kept).toBeLessThan(20 << 20);
  await expect.poll(() => socket.closed, { timeout: 20_000 }).toBe(true);
});
