import { once } from 'node:events';
import { createServer } from 'node:http';
import { afterEach, expect, test } from 'vitest';
import { askMembers, judgeLeader } from '../../src/guardian/patroni.ts';

const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const undo of cleanup.splice(0)) await undo();
});

/** A member that answers as Patroni's documentation says: 200 with the lock of the leader, 503 without, with its status as the body. */
async function member(host: string, role: { name: string }): Promise<string> {
  const server = createServer((request, response) => {
    const leads = role.name === 'primary';
    const status = request.url === '/primary' ? (leads ? 200 : 503) : 404;
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ state: 'running', role: role.name, server_version: 170010, timeline: 1 }));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanup.push(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return `http://${host}:${address.port}`;
}

const NEVER = new AbortController().signal;

test('the leader is the member that answers 200, before and after a failover', async () => {
  const roles: [{ name: string }, { name: string }] = [{ name: 'primary' }, { name: 'replica' }];
  const urls = [await member('127.0.0.1', roles[0]), await member('localhost', roles[1])];
  const look = async (answered: string | undefined): Promise<string> =>
    judgeLeader(await askMembers(urls, NEVER), answered).state;
  expect(await look('127.0.0.1:5432')).toBe('leader');
  expect(await look('localhost:5432')).toBe('NOT_THE_LEADER');
  roles[0].name = 'replica';
  expect(await look('127.0.0.1:5432')).toBe('NO_LEADER');
  roles[1].name = 'primary';
  expect(await look('127.0.0.1:5432')).toBe('NOT_THE_LEADER');
  expect(await look('localhost:5432')).toBe('leader');
  roles[0].name = 'primary';
  expect(await look('localhost:5432')).toBe('TWO_LEADERS');
});

test('H-12 what is not known is not said to be good', async () => {
  const url = await member('127.0.0.1', { name: 'primary' });
  const silent = 'http://127.0.0.1:1';
  const odd = new URL('http://127.0.0.1');
  const server = createServer((_, response) => response.writeHead(500).end());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanup.push(() => server.close());
  odd.port = String((server.address() as { port: number }).port);
  expect(judgeLeader(await askMembers([silent], NEVER), '127.0.0.1:5432').state).toBe('unknown');
  expect(judgeLeader(await askMembers([odd.href], NEVER), '127.0.0.1:5432').state).toBe('unknown');
  expect(judgeLeader(await askMembers([url], NEVER), 'db9:5432').state).toBe('unknown');
  expect(judgeLeader(await askMembers([url], NEVER), undefined).state).toBe('unknown');
  // One member that is down does not hide the leader.
  expect(judgeLeader(await askMembers([url, silent], NEVER), '127.0.0.1:5432').state).toBe('leader');
});
