import { chownSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { exampleEvent } from '../../src/contracts/event-table.ts';
import type { ArchiveEvent, EventName } from '../../src/contracts/hook.ts';
import { WaitingEvents, type WaitingEventsOptions } from '../../src/hooks/waiting-events.ts';
import { ToldConditions } from '../../src/hooks/told-conditions.ts';
import { SpoolLock } from '../../src/receive/spool-lock.ts';
import { temporaryFolder } from './support.ts';

const event = (name: EventName): ArchiveEvent => exampleEvent(name, { id: crypto.randomUUID() });

function open(options: Partial<WaitingEventsOptions> = {}): WaitingEvents {
  const fail = (error: unknown): void => {
    throw error;
  };
  const folder = temporaryFolder();
  return new WaitingEvents({ folder, bytes: 1024 * 1024, count: 100, onUnkept: fail, onUnread: fail, ...options });
}

/** All that wait, which are removed. */
function drain(waiting: WaitingEvents): readonly ArchiveEvent[] {
  const all: ArchiveEvent[] = [];
  for (let next = waiting.next(); next !== undefined; next = waiting.next()) {
    all.push(next.event);
    waiting.remove(next);
  }
  return all;
}

describe('events that wait', () => {
  test.each([true, false])('are given in the order in which they came, folder %s', (isKept) => {
    const waiting = open(isKept ? {} : { folder: undefined });
    const names: readonly EventName[] = ['wal.gap', 'wal.shipped', 'backup.failed', 'wal.shipped', 'receive.stopped'];
    const events = names.map(event);
    for (const one of events) waiting.add(one);
    expect(waiting.size).toBe(5);
    expect(drain(waiting)).toEqual(events);
    expect(waiting.isEmpty).toBe(true);
  });

  test('of several processes are one line', () => {
    const folder = temporaryFolder();
    const [one, other] = [open({ folder }), open({ folder })];
    const events = (['wal.gap', 'backup.failed', 'receive.stopped', 'wal.conflict'] as const).map(event);
    for (const [at, given] of events.entries()) (at % 2 === 0 ? one : other).add(given);
    expect(drain(one)).toEqual(events);
    expect(other.isEmpty).toBe(true);
  });

  test.each([
    { time: undefined },
    { time: 9e15 },
    { severity: 'fatal' },
    { summary: 7 },
    { data: null },
    { id: undefined },
  ])('and are none that a hook could be told of are counted: %o', (broken) => {
    const folder = temporaryFolder();
    const name = `00000000000000001-w-${crypto.randomUUID()}.json`;
    writeFileSync(join(folder, name), JSON.stringify({ ...event('backup.failed'), ...broken }));
    const waiting = open({ folder });
    expect(waiting.next()).toBeUndefined();
    waiting.tellDropped(({ count }) => {
      expect(count).toBe(1);
      return event('hook.dropped');
    });
    expect(drain(waiting).map((one) => one.name)).toEqual(['hook.dropped']);
  });

  test('are in order after the clock was put back while no process was there', () => {
    const folder = temporaryFolder();
    const [before, after] = [event('backup.failed'), event('backup.finished')];
    const later = String((Date.now() + 3_600_000) * 1000).padStart(17, '0');
    writeFileSync(join(folder, `${later}-w-${before.id}.json`), JSON.stringify(before));
    const waiting = open({ folder });
    waiting.add(after);
    expect(drain(waiting)).toEqual([before, after]);
  });

  test.each([
    ['in number', { count: 20 }],
    ['in bytes', { bytes: 20 * 600 }],
  ])(
    'are bounded %s: the least severe and oldest go, never the one that is being told, and their number is told',
    (_, bounds) => {
      const folder = temporaryFolder();
      const waiting = open({ folder, ...bounds });
      const first = event('receive.stopped');
      waiting.add(first);
      expect(waiting.next()?.event).toEqual(first);
      const gaps = Array.from({ length: 5 }, () => event('wal.gap'));
      const news = Array.from({ length: 500 }, () => event('receive.stopped'));
      const failures = Array.from({ length: 5 }, () => event('backup.failed'));
      for (const one of [...gaps, ...failures, ...news]) waiting.add(one);
      expect(readdirSync(folder).length).toBeLessThan(60);
      let dropped = 0;
      waiting.tellDropped(({ count }) => {
        dropped = count;
        return event('hook.dropped');
      });
      waiting.tellDropped(() => expect.unreachable('it was told'));
      const left = drain(waiting);
      expect(left.slice(0, 11)).toEqual([first, ...gaps, ...failures]);
      expect(left.at(-1)?.name).toBe('hook.dropped');
      // The newest of the news are there.
      expect(left.at(-2)).toEqual(news.at(-1));
      expect(dropped + left.length - 1).toBe(511);
    },
  );

  test('in memory are bounded too', () => {
    const waiting = open({ folder: undefined });
    for (let count = 0; count < 5000; count += 1) waiting.add(event(count % 2 === 0 ? 'wal.gap' : 'wal.shipped'));
    expect(waiting.size).toBeLessThanOrEqual(500);
  });

  test('in memory go as in the folder: files of WAL and news do not push out what somebody has to act on', () => {
    const waiting = open({ folder: undefined });
    const gap = event('wal.gap');
    for (const one of [event('receive.stopped'), gap, event('backup.failed')]) waiting.add(one);
    for (let count = 0; count < 2000; count += 1) {
      waiting.add(event('wal.shipped'));
      waiting.add(event(count % 2 === 0 ? 'receive.stopped' : 'receive.disconnected'));
    }
    expect(waiting.size).toBeLessThanOrEqual(500);
    expect(drain(waiting)).toContainEqual(gap);
  });

  test('and cannot be read are left to whoever can, and said once', () => {
    const folder = temporaryFolder();
    // Not even root can read a folder as a file.
    const name = `00000000000000001-w-${crypto.randomUUID()}.json`;
    mkdirSync(join(folder, name));
    let said = 0;
    const waiting = open({ folder, onUnread: () => (said += 1) });
    waiting.add(event('backup.failed'));
    expect(drain(waiting).map((one) => one.name)).toEqual(['backup.failed']);
    expect(waiting.isEmpty).toBe(true);
    expect(said).toBe(1);
    expect(readdirSync(folder)).toEqual([name]);
  });

  test.skipIf(process.getuid?.() !== 0)('belong to whom the folder belongs when root keeps them', () => {
    const spool = temporaryFolder();
    chownSync(spool, 12_345, 12_346);
    const folder = join(spool, 'main', 'hooks', 'fake');
    open({ folder }).add(event('backup.failed'));
    new ToldConditions(join(folder, 'conditions')).set('backup', {
      key: 'backup',
      told: 'open',
      since: 1,
      severity: 'warning',
      folded: 0,
    });
    const lock = SpoolLock.acquire(folder, 'hook.lock');
    const made = readdirSync(spool, { recursive: true, encoding: 'utf8' });
    const owners = made.map((path) => statSync(join(spool, path)));
    lock.release();
    expect(made.length).toBe(7);
    expect(new Set(owners.map(({ uid, gid }) => `${uid}:${gid}`))).toEqual(new Set(['12345:12346']));
  });

  test('that are fleeting are not written', () => {
    const folder = temporaryFolder();
    const waiting = open({ folder });
    for (let count = 0; count < 10; count += 1) waiting.add(event('wal.shipped'));
    expect(readdirSync(folder)).toEqual([]);
    expect(waiting.size).toBe(10);
  });
});
