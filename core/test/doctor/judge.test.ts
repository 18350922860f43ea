import { describe, expect, test } from 'vitest';
import { checkServer } from '../../src/check/server-check.ts';
import { judgeFileSystem } from '../../src/doctor/folders.ts';
import { openFiles } from '../../src/doctor/host.ts';
import { nodeSupport } from '../../src/doctor/node-support.ts';
import type { ServerFacts } from '../../src/postgres/server-facts.ts';

const NOW = Date.parse('2026-11-30');

describe('nodeSupport', () => {
  test.each([
    ['24.21.0', NOW, 'ok', 'supported until 2028-04-30'],
    ['22.18.0', Date.parse('2027-03-01'), 'warning', 'gets no fixes after 2027-04-30'],
    ['22.18.0', Date.parse('2027-05-01'), 'warning', 'has had no security fixes since 2027-04-30'],
    ['22.17.9', NOW, 'failed', 'too old'],
    ['24.10.0', NOW, 'failed', 'too old'],
    ['20.20.2', NOW, 'failed', 'too old'],
    ['23.99.0', NOW, 'failed', 'too old'],
    ['25.1.0', NOW, 'warning', 'not supported for long'],
    ['28.0.0', NOW, 'ok', 'newer than this pgark'],
  ])('Node %s', (version, now, state, message) => {
    expect(nodeSupport(version, now)).toMatchObject({ state, message: expect.stringContaining(message) as string });
  });
});

describe('the file system of the spool', () => {
  test.each([
    ['ext4', 'local', 'ok'],
    ['tmpfs', 'local', 'failed'],
    ['tmpfs', 'remote', 'warning'],
    ['overlay', 'local', 'warning'],
    ['nfs', 'local', 'warning'],
    ['0x1234', 'local', 'ok'],
  ] as const)('%s with ack: %s', (type, ack, state) => {
    const found = judgeFileSystem(type, ack);
    expect(found).toMatchObject({ state, message: expect.stringContaining(type) as string });
    expect(found.hint === undefined).toBe(state === 'ok');
  });
});

test('few open files are told, and a system that does not say', () => {
  const limits = (soft: string): string =>
    `Limit  Soft Limit  Hard Limit  Units\nMax open files            ${soft}                 4096                 files\n`;
  expect(openFiles(limits('256'))).toMatchObject({
    state: 'warning',
    message: '256 files may be open at once (at most 4096)',
  });
  expect(openFiles(limits('1024')).state).toBe('ok');
  expect(openFiles(limits('unlimited')).state).toBe('ok');
  expect(openFiles(undefined).state).toBe('skipped');
});

test('a server with another time than this host is told', () => {
  const clockOf = (clockAhead: number): unknown => {
    const facts = { settings: new Map(), slots: [], host: 'db1:5432', clockAhead } as unknown as ServerFacts;
    return checkServer(facts, { receive: { slot: 'pgark', createSlot: true } }).find(({ check }) => check === 'clock');
  };
  expect(clockOf(-9000)).toMatchObject({ state: 'ok' });
  expect(clockOf(120_000)).toMatchObject({
    state: 'warning',
    message: 'the clock of db1:5432 is 120 s ahead of this one',
    hint: expect.stringContaining('NTP') as string,
  });
  expect(clockOf(-61_000)).toMatchObject({ message: 'the clock of db1:5432 is 61 s behind this one' });
});
