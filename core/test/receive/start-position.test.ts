import { describe, expect, test } from 'vitest';
import { ancestry } from '../../src/postgres/timeline.ts';
import {
  agreedUpTo,
  checkDescent,
  firstPosition,
  holdings,
  isOvertaken,
  leftBehind,
  precedes,
  type Holdings,
  type ServerState,
} from '../../src/receive/start-position.ts';

const MB = 1024 * 1024;
const mb = (count: number): bigint => BigInt(count * MB);

/** A server on timeline 3: 1 ended in the middle of segment 10, 2 at the start of segment 20. */
function server(changes: Partial<ServerState> = {}): ServerState {
  return {
    systemId: '1',
    host: 'db1:5432',
    timeline: 3,
    flushLsn: mb(30) + 5n,
    inRecovery: false,
    segmentSize: MB,
    lineage: ancestry(3, [
      { timeline: 1, end: mb(10) + 100n, reason: '' },
      { timeline: 2, end: mb(20), reason: '' },
    ]),
    ...changes,
  };
}

/** Timeline 3 from timeline 1, after a timeline 2 that was abandoned. */
const beside = ancestry(3, [{ timeline: 1, end: mb(10) + 100n, reason: '' }]);

const held = (timeline: number, lsn: bigint, newestTimeline = timeline): Holdings => ({
  position: { timeline, lsn },
  newestTimeline,
});

describe('holdings', () => {
  test('the newest timeline of the line of descent counts, not the highest segment', () => {
    const ends = new Map([
      [1, mb(15)], // an abandoned branch went further
      [2, mb(12)],
    ]);
    expect(holdings(ends, server().lineage)).toEqual({ position: { timeline: 2, lsn: mb(12) }, newestTimeline: 2 });
  });

  test('timelines of other descent are no position, but are not forgotten', () => {
    expect(holdings(new Map([[7, mb(3)]]), server().lineage)).toEqual({ newestTimeline: 7 });
    expect(holdings(new Map(), server().lineage)).toEqual({ newestTimeline: 0 });
  });
});

describe('isOvertaken', () => {
  const slot = (lsn: bigint): Parameters<typeof isOvertaken>[1] => ({
    state: 'reserved',
    restartLsn: lsn,
    restartTimeline: 3,
  });

  test.each([
    ['the slot is behind', slot(mb(20)), false],
    ['the slot is within the open segment, where this receiver left it', slot(mb(25) + 700n), false],
    ['the slot is at the end of the open segment', slot(mb(26)), true],
    ['the slot is far ahead', slot(mb(40)), true],
    ['there is no slot', { state: 'missing' } as const, false],
    ['the slot keeps nothing', { state: 'unreserved' } as const, false],
  ])('%s', (_, state, expected) => {
    expect(isOvertaken({ timeline: 3, lsn: mb(25) }, state, server())).toBe(expected);
  });

  test('nothing is held', () => {
    expect(isOvertaken(undefined, slot(mb(40)), server())).toBe(false);
  });
});

describe('checkDescent', () => {
  test.each([
    ['nothing is held', { newestTimeline: 0 }, undefined],
    ['the present timeline', held(3, mb(30)), { timeline: 3, lsn: mb(30) }],
    ['exactly what the server has', held(3, mb(25)), { timeline: 3, lsn: mb(25) }],
    ['an ancestor, before its end', held(1, mb(10)), { timeline: 1, lsn: mb(10) }],
    ['an ancestor, exactly at its end', held(2, mb(20)), { timeline: 2, lsn: mb(20) }],
  ] as const)('%s: goes on', (_, holdings, expected) => {
    expect(checkDescent(holdings, server())).toEqual(expected);
  });

  test.each([
    ['an ancestor, behind its end', held(1, mb(11)), { timeline: 2, lsn: mb(10) }],
    ['an ancestor that ended on a border, behind it', held(2, mb(21)), { timeline: 3, lsn: mb(20) }],
    ['a newer timeline beside an ancestor', held(2, mb(15), 4), { timeline: 2, lsn: mb(15) }],
    ['only another branch', { newestTimeline: 7 }, undefined],
    ['an abandoned timeline beside an older ancestor', held(1, mb(9), 2), { timeline: 1, lsn: mb(9) }],
  ] as const)('%s: diverged, and where it is accepted it goes on from the fork', (_, holdings, expected) => {
    const at = server({
      lineage: holdings.newestTimeline === 2 && holdings.position?.timeline === 1 ? beside : server().lineage,
    });
    expect(() => checkDescent(holdings, at)).toThrow(
      expect.objectContaining({ code: 'TIMELINE_DIVERGED', retriable: false }),
    );
    expect(() => checkDescent(holdings, at, 2)).toThrow(expect.objectContaining({ code: 'TIMELINE_DIVERGED' }));
    expect(checkDescent(holdings, at, 3)).toEqual(expected);
  });

  test('a divergence that was accepted is none once WAL of the new timeline is held', () => {
    const at = server({ lineage: beside });
    const ends = new Map([
      [1, mb(9)],
      [2, mb(15)],
    ]);
    expect(() => checkDescent(holdings(ends, beside), at)).toThrow(
      expect.objectContaining({ code: 'TIMELINE_DIVERGED' }),
    );
    expect(checkDescent(holdings(ends.set(3, mb(10)), beside), at)).toEqual({ timeline: 3, lsn: mb(10) });
    // The next restore to a time before is a divergence of its own.
    const again = server({ timeline: 4, lineage: ancestry(4, [{ timeline: 1, end: mb(10), reason: '' }]) });
    expect(() => checkDescent(holdings(ends, again.lineage), again)).toThrow(
      expect.objectContaining({ code: 'TIMELINE_DIVERGED' }),
    );
    expect(checkDescent(holdings(ends, again.lineage), again, 4)).toEqual({ timeline: 1, lsn: mb(9) });
  });

  test('a primary that is behind has lost WAL: nothing makes that right', () => {
    expect(() => checkDescent(held(3, mb(31)), server(), 3)).toThrow(
      expect.objectContaining({ code: 'TIMELINE_DIVERGED', retriable: false }),
    );
  });

  test('a standby that is behind may catch up', () => {
    for (const holdings of [held(3, mb(31)), held(4, mb(31))]) {
      expect(() => checkDescent(holdings, server({ inRecovery: true }))).toThrow(
        expect.objectContaining({ code: 'TIMELINE_DIVERGED', retriable: true }),
      );
    }
  });
});

test('agreedUpTo: what a later timeline has of an earlier one ends with it, whatever was received beyond', () => {
  expect(agreedUpTo({ timeline: 1, lsn: mb(10) + 500n }, server())).toBe(mb(10) + 100n);
  expect(agreedUpTo({ timeline: 1, lsn: mb(10) + 50n }, server())).toBe(mb(10) + 50n);
  expect(agreedUpTo({ timeline: 3, lsn: mb(40) }, server())).toBe(mb(30) + 5n);
  expect(agreedUpTo({ timeline: 2, lsn: mb(15) }, server({ lineage: beside }))).toBeUndefined();
});

describe('leftBehind', () => {
  test('nothing while the history has all that was received', () => {
    expect(leftBehind({ timeline: 3, lsn: mb(30) + 5n }, server())).toBeUndefined();
    expect(leftBehind({ timeline: 1, lsn: mb(10) + 100n }, server())).toBeUndefined();
    expect(leftBehind({ timeline: 9, lsn: mb(99) }, server())).toBeUndefined();
    expect(leftBehind({ timeline: 3, lsn: mb(31) }, server({ inRecovery: true }))).toBeUndefined();
  });

  test('the end of the old timeline that a new primary lacks is said and counts no more', () => {
    expect(leftBehind({ timeline: 1, lsn: mb(10) + 101n }, server())).toMatchObject({
      reached: { timeline: 1, lsn: mb(10) + 100n },
    });
  });

  test('a primary that lacks what it had sent has diverged', () => {
    expect(() => leftBehind({ timeline: 3, lsn: mb(30) + 6n }, server())).toThrow(
      expect.objectContaining({ code: 'TIMELINE_DIVERGED' }),
    );
  });
});

test('firstPosition: the reservation of the slot, else the present segment', () => {
  const at = server();
  expect(firstPosition({ state: 'reserved', restartLsn: mb(12) + 77n, restartTimeline: 2 }, at)).toEqual({
    timeline: 2,
    lsn: mb(12),
  });
  for (const state of ['missing', 'unreserved'] as const) {
    expect(firstPosition({ state }, at)).toEqual({ timeline: 3, lsn: mb(30) });
  }
});

test('precedes: by place in the line of descent, then by LSN', () => {
  const { lineage } = server();
  expect(precedes({ timeline: 1, lsn: mb(10) }, { timeline: 2, lsn: mb(10) }, lineage)).toBe(true);
  expect(precedes({ timeline: 2, lsn: mb(10) }, { timeline: 1, lsn: mb(11) }, lineage)).toBe(false);
  expect(precedes({ timeline: 3, lsn: mb(1) }, { timeline: 3, lsn: mb(1) }, lineage)).toBe(false);
  expect(precedes({ timeline: 3, lsn: mb(1) }, { timeline: 3, lsn: mb(2) }, lineage)).toBe(true);
});
