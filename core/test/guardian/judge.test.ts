import { describe, expect, test } from 'vitest';
import { ArchiveError } from '../../src/contracts/errors.ts';
import { judgeFollowing } from '../../src/guardian/follow.ts';
import { isCalm, judge, judgeSilence, type JudgeOptions, type Judgement } from '../../src/guardian/judge.ts';
import type { SlotCondition, SlotReport } from '../../src/postgres/slot-report.ts';

const MB = 1024n * 1024n;
const OPTIONS: JudgeOptions = { slot: 'pgark', systemId: '7', maxLag: Number(100n * MB) };
const SLOT: SlotCondition = { active: true, restartLsn: 990n * MB, walStatus: 'reserved' };

function report(changes: Partial<SlotReport> = {}): SlotReport {
  const base = { host: 'db1:5432', systemId: '7', inRecovery: false, timeline: 1, walEnd: 1000n * MB };
  return { ...base, slot: SLOT, ...changes };
}

function about(subject: Judgement['subject'], of: SlotReport, options: Partial<JudgeOptions> = {}): Judgement {
  const found = judge(of, { ...OPTIONS, ...options }).find((judgement) => judgement.subject === subject);
  if (found === undefined) throw new Error(`nothing is said of ${subject}`);
  return found;
}

test('all is well: three good states', () => {
  const all = judge(report(), OPTIONS);
  expect(all.map(({ subject, state }) => `${subject} ${state}`)).toEqual([
    'server primary',
    'slot reserved',
    'lag near',
  ]);
  expect(all.every(isCalm)).toBe(true);
});

test('H-12 nobody could be asked: everything is unknown, and unknown is not good', () => {
  const all = judgeSilence(new ArchiveError('SERVER_AUTH', 'db1:5432: no pg_hba.conf entry'), OPTIONS);
  expect(all.map(({ subject, state }) => `${subject} ${state}`)).toEqual([
    'server unknown',
    'slot unknown',
    'lag unknown',
  ]);
  expect(all.some(isCalm)).toBe(false);
});

describe('H-09 the slot', () => {
  test.each<readonly [string, Partial<SlotCondition>, Partial<SlotReport>, string]>([
    ['reserved without a limit', {}, {}, 'reserved'],
    ['extended, with room', { walStatus: 'extended', safeBytes: 50n * MB }, { keepBytes: 100n * MB }, 'reserved'],
    ['with a fifth left', { walStatus: 'extended', safeBytes: 20n * MB }, { keepBytes: 100n * MB }, 'reserved'],
    [
      'with less than a fifth left',
      { walStatus: 'extended', safeBytes: 19n * MB },
      { keepBytes: 100n * MB },
      'AT_RISK',
    ],
    ['unreserved', { walStatus: 'unreserved', safeBytes: -5n * MB }, { keepBytes: 100n * MB }, 'AT_RISK'],
    ['lost', { walStatus: 'lost' }, { keepBytes: 100n * MB }, 'SLOT_INVALIDATED'],
    ['idle for too long', { walStatus: 'lost', invalidation: 'idle_timeout' }, {}, 'SLOT_INVALIDATED'],
  ])('%s', (_, slot, server, state) => {
    expect(about('slot', report({ ...server, slot: { ...SLOT, ...slot } })).state).toBe(state);
  });

  test('there is none, or one that keeps nothing', () => {
    const { slot: _, ...none } = report();
    expect(about('slot', none).state).toBe('SLOT_MISSING');
    expect(about('lag', none).state).toBe('unknown');
    expect(about('slot', report({ slot: { active: false } })).state).toBe('UNRESERVED');
  });
});

describe('the lag', () => {
  test.each([
    ['at the limit', 900n * MB, 'near'],
    ['beyond it', 900n * MB - 1n, 'RECEIVER_LAGGING'],
    ['ahead of what the server says, which is older', 1001n * MB, 'near'],
  ] as const)('%s', (_, restartLsn, state) => {
    expect(about('lag', report({ slot: { ...SLOT, restartLsn } })).state).toBe(state);
  });
});

describe('the server', () => {
  test('another host or timeline is told with what was before', () => {
    const before = report();
    const now = about('server', report({ host: 'db2:5432', timeline: 2 }), { before });
    expect(now.message).toBe('db2:5432 is a primary on timeline 2; before, db1:5432 answered, a primary on timeline 1');
    expect(now.detail).not.toBe(about('server', before).detail);
    expect(about('server', report({ inRecovery: true })).state).toBe('standby');
  });

  test('H-07 another system is no primary of this archive', () => {
    expect(about('server', report({ systemId: '8' })).state).toBe('SYSTEM_MISMATCH');
  });
});

describe('the one that stands by', () => {
  const slot = 1000n * MB;
  const options = { host: 'db1:5432', slot, maxLag: OPTIONS.maxLag, problems: [] };

  test.each([
    ['the archive is at the slot', slot, [], 'followed'],
    ['the archive is as far behind as it may be', slot - 100n * MB, [], 'followed'],
    ['the archive does not follow', slot - 100n * MB - 1n, [], 'ARCHIVE_BEHIND'],
    ['nothing of the timeline is archived', 0n, [], 'ARCHIVE_BEHIND'],
    ['a repository that may be further did not answer', 0n, ['repository b: down'], 'unknown'],
  ] as const)('%s', (_, end, problems, state) => {
    expect(judgeFollowing({ ...options, end, problems }).state).toBe(state);
  });
});
