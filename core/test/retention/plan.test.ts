/** What stays of a handful of backups, by rules: the plan is a pure function. */
import { describe, expect, test } from 'vitest';
import { formatLsn } from '../../src/postgres/lsn.ts';
import { parseWalFileName, segmentName } from '../../src/postgres/wal-file.ts';
import type { Fact } from '../../src/repository/facts.ts';
import { newBackupId } from '../../src/repository/layout.ts';
import type { FoundLease, LeaseScope } from '../../src/repository/lease.ts';
import { explain, type BackupDecision } from '../../src/retention/decision.ts';
import { planBackups, type PlanInput } from '../../src/retention/plan.ts';
import type { RetentionPolicy } from '../../src/retention/policy.ts';
import type { BackupState, PlannedRecord, SystemState } from '../../src/retention/state.ts';
import { TimelineTree, type History } from '../../src/retention/timeline-tree.ts';
import { WalScope } from '../../src/retention/wal-scope.ts';

const DAY = 86_400_000;
const NOW = Date.parse('2026-11-21T12:00:00Z');
const SIZE = 1 << 20;
const POLICY: RetentionPolicy = { minimum: 1, proven: 1, wal: 'all', labels: [] };

const at = (segment: number): string => formatLsn(BigInt(segment) * BigInt(SIZE) + 0x28n);

interface Sketch extends Partial<PlannedRecord> {
  /** Days ago at which it stopped. */
  readonly age: number;
  /** Segments in which it begins and ends. */
  readonly from: number;
  readonly to?: number;
  readonly facts?: readonly Fact[];
  readonly state?: BackupState['state'];
}

const idOf = (age: number): string => newBackupId(new Date(NOW - age * DAY), () => 0);

function backup({ age, from, to = from, facts = [], state = 'complete', ...more }: Sketch): BackupState {
  const id = more.id ?? idOf(age);
  const record: PlannedRecord = {
    id,
    label: 'nightly',
    segmentSize: SIZE,
    timeline: 1,
    startLsn: at(from),
    stopTimeline: more.timeline ?? 1,
    stopLsn: formatLsn(BigInt(to) * BigInt(SIZE) + 0x158n),
    stopTime: new Date(NOW - age * DAY).toISOString(),
    ...more,
  };
  const isRead = state === 'complete' || state === 'expired';
  return {
    id,
    state,
    ...(isRead ? { record } : {}),
    ...(state === 'unreadable' ? { broken: {} } : {}),
    facts,
    unreadFacts: [],
    objects: 5,
    bytes: 1000,
    modified: NOW - age * DAY,
  };
}

interface SystemSketch {
  readonly systemId?: string;
  readonly backups: readonly BackupState[];
  readonly histories?: Readonly<Record<number, History>>;
  /** Days ago at which the last WAL of each timeline came. */
  readonly wal?: Readonly<Record<number, number>>;
  readonly leases?: readonly FoundLease[];
}

function system({ systemId = '7', backups, histories = {}, wal = { 1: 0 }, leases = [] }: SystemSketch): SystemState {
  return {
    systemId,
    backups: [...backups].sort((one, other) => (one.id < other.id ? -1 : 1)),
    wal: Object.entries(wal).map(([timeline, age]) => ({ timeline: Number(timeline), modified: NOW - age * DAY })),
    tree: new TimelineTree(
      new Map(Object.entries(histories).map(([timeline, history]) => [Number(timeline), history])),
    ),
    leases,
    retired: false,
  };
}

function lease(scope: LeaseScope): FoundLease {
  const time = new Date(NOW).toISOString();
  const content = { command: 'restore', host: 'db2', pid: 4711, since: time, until: time, removes: false, ...scope };
  return { id: 'x', key: 'x', until: NOW, content };
}

function plan(
  systems: readonly SystemState[],
  policy: Partial<RetentionPolicy> | undefined,
  more: Partial<PlanInput> = {},
): readonly BackupDecision[] {
  return planBackups({ systems, policy: policy && { ...POLICY, ...policy }, now: NOW, ...more });
}

const kept = (decisions: readonly BackupDecision[]): readonly string[] =>
  decisions.filter(({ action }) => action === 'keep').map(({ id }) => id);
const why = (decisions: readonly BackupDecision[], id: string): string => {
  const found = decisions.find((decision) => decision.id === id);
  return found === undefined ? 'nothing' : explain(found);
};

/** Daily backups, a segment each, the oldest first. */
const daily = (ages: readonly number[], more: Partial<Sketch> = {}): readonly BackupState[] =>
  ages.map((age) => backup({ age, from: 10_000 - Math.round(age * 10), ...more }));

describe('rules', () => {
  test('H-73 without a policy, or without a limit in it, nothing is removed', () => {
    const backups = daily([400, 300, 2, 1]);
    expect(kept(plan([system({ backups })], undefined))).toHaveLength(4);
    expect(kept(plan([system({ backups })], {}))).toHaveLength(4);
    expect(kept(plan([system({ backups })], { proven: 5, minimum: 2 }))).toHaveLength(4);
    // The same backups do go when a rule says so.
    expect(kept(plan([system({ backups })], { keep: 1 }))).toEqual([idOf(1)]);
  });

  test('H-71 the window is anchored on the stop: the newest backup that stopped before it stays', () => {
    const backups = [
      backup({ age: 20, from: 10 }),
      // It began before the window and stopped in it: from its stop on alone it can be restored.
      backup({ age: 13.5, from: 20, id: idOf(14.5) }),
      backup({ age: 3, from: 30 }),
    ];
    const decisions = plan([system({ backups })], { window: 14 * DAY });
    expect(kept(decisions)).toEqual([idOf(20), idOf(14.5), idOf(3)]);
    expect(why(decisions, idOf(20))).toMatch(/^kept because it leads to the beginning of the window, 14d ago/);
    const older = plan([system({ backups: [backup({ age: 30, from: 5 }), ...backups] })], { window: 14 * DAY });
    expect(kept(older)).toEqual([idOf(20), idOf(14.5), idOf(3)]);
    expect(why(older, idOf(30))).toBe('removed because it stopped 30d ago: the window reaches 14d back');
  });

  test('a backup on the border of the window leads to its beginning', () => {
    const backups = [backup({ age: 20, from: 10 }), backup({ age: 14, from: 20 }), backup({ age: 1, from: 30 })];
    expect(kept(plan([system({ backups })], { window: 14 * DAY }))).toEqual([idOf(14), idOf(1)]);
  });

  test('rules combine: what one of them keeps stays', () => {
    const backups = daily([90, 60, 30, 9, 8, 3, 2, 1]);
    const policy = { window: 2 * DAY, keep: 4, monthly: 3 };
    // 90 days ago it was August, 60 September, 30 October; 2 is the anchor and one of the window.
    expect(kept(plan([system({ backups })], policy))).toEqual([60, 30, 8, 3, 2, 1].map(idOf));
  });

  test('grandfather, father, son: the newest of each period, counted back from the present one', () => {
    const hours = [0.1, 0.12, 0.2, 1, 1.1];
    expect(kept(plan([system({ backups: daily(hours) })], { hourly: 6 }))).toEqual([0.2, 0.1].map(idOf));
    const days = daily([0.1, 0.3, 1, 1.2, 2, 5]);
    expect(kept(plan([system({ backups: days })], { daily: 3 }))).toEqual([2, 1, 0.1].map(idOf));
    // 21 November 2026 is a Saturday: its week began 5.5 days ago.
    expect(kept(plan([system({ backups: daily([1, 6, 7, 13, 20]) })], { weekly: 2 }))).toEqual([6, 1].map(idOf));
    expect(kept(plan([system({ backups: daily([1, 25, 45, 330, 400, 800]) })], { yearly: 2 }))).toEqual(
      [330, 1].map(idOf).sort(),
    );
    const decisions = plan([system({ backups: daily([1, 25]) })], { monthly: 12 });
    expect(why(decisions, idOf(25))).toBe('kept because it is the newest of 2026-10 (monthly: 12)');
  });

  test('a suspect backup counts for nothing, and stays while it is the only one', () => {
    const suspect = { message: 'damaged', files: [] };
    const backups = [backup({ age: 3, from: 10 }), backup({ age: 2, from: 20, suspect })];
    expect(kept(plan([system({ backups })], { keep: 1 }))).toEqual([idOf(3)]);
    expect(kept(plan([system({ backups: backups.slice(1) })], { keep: 1 }))).toEqual([idOf(2)]);
  });

  test('rules of a label take the place of the general ones', () => {
    const backups = [
      ...daily([9, 8, 1]),
      backup({ age: 300, from: 1, label: 'before the upgrade' }),
      backup({ age: 5, from: 95, label: 'hourly 5' }),
      backup({ age: 0.5, from: 99, label: 'hourly 0.5' }),
    ];
    const labels = [{ label: 'hourly *', window: DAY }, { label: 'before *' }];
    const decisions = plan([system({ backups })], { keep: 2, labels });
    expect(kept(decisions)).toEqual([idOf(300), idOf(8), idOf(1), idOf(0.5)]);
    expect(why(decisions, idOf(300))).toBe('kept because the rule for the label "before *" has no limit');
    expect(why(decisions, idOf(5))).toContain('(rules of the label "hourly *")');
  });

  test('the minimum holds whatever the rules say', () => {
    const backups = daily([90, 80, 70], { label: 'x' });
    const policy = { keep: 1, labels: [{ label: 'x', window: DAY }] };
    expect(kept(plan([system({ backups })], { ...policy, minimum: 2 }))).toEqual([80, 70].map(idOf));
  });

  test('proven backups: so many stay, and the newest word counts', () => {
    const drill = (outcome: string, time: number): Fact => ({ kind: 'drill', time, data: { outcome } });
    const backups = [
      backup({ age: 9, from: 1, facts: [drill('proven', 1)] }),
      backup({ age: 8, from: 2, facts: [drill('proven', 1), drill('failed', 2)] }),
      backup({ age: 7, from: 3, facts: [drill('proven', 1)] }),
      backup({ age: 1, from: 4 }),
    ];
    expect(kept(plan([system({ backups })], { keep: 1 }))).toEqual([7, 1].map(idOf));
    expect(kept(plan([system({ backups })], { keep: 1, proven: 2 }))).toEqual([9, 7, 1].map(idOf));
  });

  test('a pin keeps until it ends or is taken away', () => {
    const pin = (time: number, until?: number): Fact => ({
      kind: 'pin',
      time,
      data: { reason: 'audit', ...(until === undefined ? {} : { until: new Date(until).toISOString() }) },
    });
    const backups = [
      backup({ age: 9, from: 1, facts: [pin(1)] }),
      backup({ age: 8, from: 2, facts: [pin(1, NOW - 1)] }),
      backup({ age: 7, from: 3, facts: [pin(1), { kind: 'unpin', time: 2, data: {} }] }),
      backup({ age: 6, from: 4, facts: [{ kind: 'unpin', time: 2, data: {} }, pin(3, NOW + DAY)] }),
      backup({ age: 1, from: 5 }),
    ];
    const decisions = plan([system({ backups })], { keep: 1 });
    expect(kept(decisions)).toEqual([9, 6, 1].map(idOf));
    expect(why(decisions, idOf(6))).toBe('kept because it is pinned until 2026-11-22 12:00:00Z: audit');
  });
});

describe('lineages', () => {
  const forked = { histories: { 2: [{ timeline: 1, end: BigInt(50 * SIZE), reason: '' }] }, wal: { 1: 9, 2: 0 } };

  test('H-70 after a promotion the backups of the old timeline go on counting, by position and not by name', () => {
    const backups = [
      backup({ age: 9, from: 10, to: 11 }),
      backup({ age: 8, from: 20, to: 21 }),
      // Its id says that it is the oldest: the clock of its host was wrong.
      backup({ age: 2, from: 60, timeline: 2, id: idOf(100) }),
    ];
    const decisions = plan([system({ backups, ...forked })], { keep: 2 });
    expect(kept(decisions)).toEqual([idOf(100), idOf(8)]);
  });

  test('H-70 a backup that the former primary took behind the fork counts for itself', () => {
    const backups = [
      backup({ age: 9, from: 10 }),
      backup({ age: 8, from: 55 }),
      ...[7, 6, 5].map((age) => backup({ age, from: 70 - age, timeline: 2 })),
    ];
    const decisions = plan([system({ backups, ...forked })], { keep: 2 });
    expect(kept(decisions)).toEqual([8, 6, 5].map(idOf));
    // The other line has had enough since: it is kept as the last alone.
    expect(why(decisions, idOf(8))).toContain('the last backup of timeline 1');
  });

  test('H-70 a timeline that has only begun keeps what leads to it, though the former primary goes on', () => {
    const backups = [
      backup({ age: 9, from: 10 }),
      backup({ age: 3, from: 40 }),
      // Of the former primary, behind the fork, and later than all that timeline 2 has: its history.
      backup({ age: 1, from: 55 }),
    ];
    const begun = { ...forked, wal: { 1: 1, 2: 1.1 } };
    const decisions = plan([system({ backups, ...begun })], { keep: 1 });
    expect(kept(decisions)).toEqual([3, 1].map(idOf));
    // After a week in which nothing came to it, and backups were taken beside it, it has ended.
    const ended = { ...forked, wal: { 1: 0, 2: 8 } };
    const more = [...backups, backup({ age: 0.5, from: 60 })];
    expect(kept(plan([system({ backups: more, ...ended })], { keep: 2 }))).toEqual([1, 0.5].map(idOf));
  });

  test('H-70 after pg_upgrade the backups of the new system are kept, and the old ones age out behind them', () => {
    const old = [30, 20, 11, 10].map((age) => backup({ age, from: 5000 - age }));
    const young = [9, 1].map((age) => backup({ age, from: 20 - age }));
    const systems = (more: readonly BackupState[]): readonly SystemState[] => [
      system({ systemId: '9', backups: old, wal: { 1: 10 } }),
      system({ systemId: '1', backups: [...young, ...more] }),
    ];
    // The new system has not enough yet: both are judged as if they were alone.
    expect(kept(plan(systems([]), { keep: 3 }))).toEqual([20, 11, 10, 9, 1].map(idOf));
    // Three backups since the last sign of the old one: it keeps its last alone.
    const third = [backup({ age: 0.5, from: 30 })];
    const decisions = plan(systems(third), { keep: 3 });
    expect(kept(decisions)).toEqual([10, 9, 1, 0.5].map(idOf));
    expect(why(decisions, idOf(10))).toBe('kept because it is the last backup of timeline 1 of system 9');
    // As long as the window reaches back to it, it does.
    expect(kept(plan(systems(third), { keep: 3, window: 15 * DAY }))).toEqual([20, 11, 10, 9, 1, 0.5].map(idOf));
    // It can be given up by name.
    expect(kept(plan(systems(third), { keep: 3 }, { asked: ['9'] }))).toEqual([9, 1, 0.5].map(idOf));
  });
});

describe('what belongs together', () => {
  test('H-72 an incremental backup keeps what it builds on; a hold on it blocks nothing else', () => {
    const pin: Fact = { kind: 'pin', time: 1, data: { reason: 'audit' } };
    const backups = [
      backup({ age: 9, from: 1 }),
      backup({ age: 8, from: 2, parent: idOf(9) }),
      backup({ age: 7, from: 3, parent: idOf(8), facts: [pin] }),
      backup({ age: 6, from: 4, parent: idOf(8) }),
      backup({ age: 5, from: 5 }),
      backup({ age: 1, from: 6 }),
    ];
    const decisions = plan([system({ backups })], { keep: 1 });
    expect(kept(decisions)).toEqual([9, 8, 7, 1].map(idOf));
    expect(why(decisions, idOf(9))).toBe(`kept because the incremental backup ${idOf(8)} builds on it`);
  });

  test('H-72 a lease keeps what it names, and what that builds on', () => {
    const backups = [backup({ age: 9, from: 1 }), backup({ age: 8, from: 2, parent: idOf(9) }), ...daily([7, 1])];
    const decisions = plan([system({ backups, leases: [lease({ backups: [idOf(8)], wal: [] })] })], { keep: 1 });
    expect(kept(decisions)).toEqual([9, 8, 1].map(idOf));
    expect(why(decisions, idOf(8))).toContain('pgark restore on db2 (process 4711) uses it until');
    const all = plan([system({ backups, leases: [lease({ backups: 'all', wal: 'all' })] })], { keep: 1 });
    expect(kept(all)).toHaveLength(4);
    expect(kept(plan([system({ backups })], { keep: 1 }))).toEqual([idOf(1)]);
  });

  test('H-74 what cannot be read is not expired, and keeps what it may build on', () => {
    const broken = backup({ age: 8, from: 0, state: 'unreadable' });
    const backups = [...daily([9, 7, 6]), broken];
    expect(kept(plan([system({ backups })], { keep: 1 }))).toEqual([9, 8, 6].map(idOf));
    // One that says on what it builds holds nothing else.
    const told = { ...broken, broken: { parent: 'none' } };
    expect(kept(plan([system({ backups: [...daily([9, 7, 6]), told] })], { keep: 1 }))).toEqual([8, 6].map(idOf));
    // It goes when it is named.
    expect(kept(plan([system({ backups })], { keep: 1 }, { asked: [idOf(8)] }))).toEqual([idOf(6)]);
    const unread = { ...backup({ age: 9, from: 1 }), unreadFacts: ['facts/x-pin.json'] };
    expect(kept(plan([system({ backups: [unread, ...daily([2, 1])] })], { keep: 1 }))).toEqual([9, 1].map(idOf));
  });

  test('H-74 what was begun is finished, whatever the policy says by now', () => {
    const backups = [...daily([9], { state: 'expired' }), ...daily([2, 1])];
    const decisions = plan([system({ backups })], { keep: 10 });
    expect(kept(decisions)).toEqual([2, 1].map(idOf));
    expect(why(decisions, idOf(9))).toBe('removed because its removal has begun and is finished');
    expect(kept(plan([system({ backups })], undefined))).toEqual([2, 1].map(idOf));
  });
});

describe('WAL', () => {
  const forked = { histories: { 2: [{ timeline: 1, end: BigInt(50 * SIZE) + 5n, reason: '' }] }, wal: { 1: 9, 2: 0 } };

  /** Which segments stay, as `timeline/number`, of the numbers 0 to 99 of each timeline. */
  function walKept(one: SystemState, policy: Partial<RetentionPolicy>): readonly string[] {
    const full = { ...POLICY, ...policy };
    const scope = new WalScope({ system: one, decisions: plan([one], full), policy: full });
    const stays: string[] = [];
    for (const { timeline } of one.wal)
      for (let number = 0; number < 100; number++) {
        const file = parseWalFileName(segmentName(timeline, BigInt(number), SIZE));
        if (file !== undefined && scope.judge(file).keep) stays.push(`${timeline}/${number}`);
      }
    return stays;
  }
  const range = (timeline: number, from: number, to: number): readonly string[] =>
    Array.from({ length: to - from + 1 }, (_, at) => `${timeline}/${from + at}`);

  test('stays from the start of the oldest backup on, and on every timeline that comes from there', () => {
    const backups = [backup({ age: 9, from: 10, to: 12 }), backup({ age: 8, from: 40 })];
    expect(walKept(system({ backups, ...forked }), { keep: 1 })).toEqual([...range(1, 40, 99), ...range(2, 50, 99)]);
  });

  test('a timeline that nothing leads to any more goes, one of which nobody knows whence it comes stays', () => {
    const backups = [backup({ age: 9, from: 10 }), backup({ age: 8, from: 60 })];
    const one = { backups, wal: { 1: 0, 2: 9, 3: 9 }, histories: forked.histories };
    expect(walKept(system(one), { keep: 1 })).toEqual([
      // Timeline 3 may come from the backup on 1: and timeline 2 from before it.
      ...range(1, 60, 99),
      ...range(3, 0, 99),
    ]);
  });

  test('backups behind the fork of a newer timeline need nothing of it', () => {
    const backups = [backup({ age: 9, from: 10 }), backup({ age: 8, from: 60, timeline: 2 })];
    expect(walKept(system({ backups, ...forked }), { keep: 1 })).toEqual(range(2, 60, 99));
  });

  test('consistent: backups that the calendar alone keeps have the WAL of their own', () => {
    const backups = [
      backup({ age: 60, from: 10, to: 12 }),
      backup({ age: 30, from: 20 }),
      backup({ age: 1, from: 40 }),
    ];
    const policy = { keep: 1, monthly: 12 };
    expect(walKept(system({ backups }), policy)).toEqual(range(1, 10, 99));
    expect(walKept(system({ backups }), { ...policy, wal: 'consistent' })).toEqual([
      ...range(1, 10, 12),
      ...range(1, 20, 20),
      ...range(1, 40, 99),
    ]);
  });

  test('a stop on the border of a segment needs the one before it', () => {
    const whole = formatLsn(BigInt(13 * SIZE));
    const backups = [backup({ age: 60, from: 10, stopLsn: whole }), backup({ age: 1, from: 40 })];
    expect(walKept(system({ backups }), { keep: 1, monthly: 12, wal: 'consistent' })).toEqual([
      ...range(1, 10, 12),
      ...range(1, 40, 99),
    ]);
  });

  test('H-74 a record that cannot be read holds all WAL, or from the start that it tells', () => {
    const broken = backup({ age: 8, from: 0, state: 'unreadable' });
    const last = backup({ age: 1, from: 40 });
    expect(walKept(system({ backups: [broken, last] }), { keep: 1 })).toEqual(range(1, 0, 99));
    const told = { ...broken, broken: { parent: 'none', timeline: 1, startLsn: at(30), segmentSize: SIZE } };
    expect(walKept(system({ backups: [told, last] }), { keep: 1 })).toEqual(range(1, 30, 99));
  });

  test('H-72 a lease keeps WAL from its position on', () => {
    const backups = [backup({ age: 1, from: 40 })];
    const leases = [lease({ backups: [], wal: [{ timeline: 1, from: at(35) }] })];
    expect(walKept(system({ backups, leases }), { keep: 1 })).toEqual(range(1, 35, 99));
  });

  test('without any backup that stays all of it does', () => {
    expect(walKept(system({ backups: [] }), { keep: 1 })).toEqual(range(1, 0, 99));
  });
});
