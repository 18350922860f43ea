import { once } from 'node:events';
import { createServer } from 'node:net';

/** Below what systems give to outgoing connections (Linux: from 32768 on), above what services use. */
const FIRST = 12_000;
const STRETCHES = 200;
const STRETCH = 100;

let next = 0;

/**
 * A port of loopback that nobody listens on. Each test process counts through a stretch of its own: so no connection and no other test takes
 * the port before its server has started, nor while that is down between two starts.
 */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < STRETCH; tries++) {
    const port = FIRST + (process.pid % STRETCHES) * STRETCH + (next++ % STRETCH);
    if (await isFree(port)) return port;
  }
  throw new Error('every port of the stretch of this process is taken');
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
  } catch {
    return false;
  }
  server.close();
  await once(server, 'close');
  return true;
}
