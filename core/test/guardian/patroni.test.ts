import { once } from 'node:events';
import { createServer } from 'node:http';
import { afterEach, expect, test } from 'vitest';
import { PatroniMember } from '../../../test/support/patroni-member.ts';
import { askMembers, judgeLeader, leaderAmong } from '../../src/guardian/patroni.ts';

const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const undo of cleanup.splice(0)) await undo();
});

async function member(host: string, leads: boolean): Promise<PatroniMember> {
  const started = await PatroniMember.start(host, leads);
  cleanup.push(() => started.stop());
  return started;
}

const NEVER = new AbortController().signal;

test('the leader is the member that answers 200, before and after a failover', async () => {
  const [one, other] = [await member('127.0.0.1', true), await member('localhost', false)];
  const look = async (answered: string | undefined): Promise<string> =>
    judgeLeader(await askMembers([one.url, other.url], NEVER), answered).state;
  const leader = async (): Promise<string | undefined> => leaderAmong(await askMembers([one.url, other.url], NEVER));
  expect(await look('127.0.0.1:5432')).toBe('leader');
  expect(await look('localhost:5432')).toBe('NOT_THE_LEADER');
  expect(await leader()).toBe('127.0.0.1');
  one.leads = false;
  expect(await look('127.0.0.1:5432')).toBe('NO_LEADER');
  expect(await leader()).toBeUndefined();
  other.leads = true;
  expect(await look('127.0.0.1:5432')).toBe('NOT_THE_LEADER');
  expect(await look('localhost:5432')).toBe('leader');
  expect(await leader()).toBe('localhost');
  one.leads = true;
  expect(await look('localhost:5432')).toBe('TWO_LEADERS');
  expect(await leader()).toBeUndefined();
});

test('H-12 what is not known is not said to be good', async () => {
  const { url } = await member('127.0.0.1', true);
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
