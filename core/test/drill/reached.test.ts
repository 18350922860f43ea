import { expect, test } from 'vitest';
import { notReached } from '../../src/drill/reached.ts';
import type { RestorePlan } from '../../src/restore/plan-types.ts';
import type { RecoveryTarget } from '../../src/restore/target.ts';

type Planned = Parameters<typeof notReached>[0];

function plan(target: RecoveryTarget, more: Partial<RestorePlan> = {}): Planned {
  const backup = { stopLsn: '0/2000100' } as RestorePlan['backup'];
  const wal = { end: 0x3000000n } as RestorePlan['wal'];
  return { backup, target, goal: undefined, timeline: 1, wal, ...more };
}
const end = (lsn: bigint, micros?: bigint, timeline = 1) => ({ lsn, micros, timeline });
const goal = { lsn: 0x2500000n, micros: undefined };

test('a recovery must follow the timeline, and pass the end of the backup', () => {
  expect(notReached(plan({ kind: 'immediate' }), end(0x2000100n))).toBeUndefined();
  expect(notReached(plan({ kind: 'immediate' }), end(0x20000ffn))).toContain('before the end of the backup');
  expect(notReached(plan({ kind: 'immediate' }), end(0x2000100n, undefined, 2))).toContain('not on timeline 1');
});

test('to the end of the WAL: what came to the archive meanwhile does no harm, what is left out does', () => {
  expect(notReached(plan({ kind: 'latest' }), end(0x3000000n))).toBeUndefined();
  expect(notReached(plan({ kind: 'latest' }), end(0x3000100n))).toBeUndefined();
  expect(notReached(plan({ kind: 'latest' }), end(0x2ffffffn))).toContain('but the WAL goes on to 0/3000000');
});

test('to a time: no transaction beyond it', () => {
  const at = (exclusive: boolean) => plan({ kind: 'time', micros: 1000n, exclusive });
  expect(notReached(at(false), end(0x2500000n, 1000n))).toBeUndefined();
  expect(notReached(at(false), end(0x2500000n, 1001n))).toContain('beyond the target');
  expect(notReached(at(true), end(0x2500000n, 999n))).toBeUndefined();
  expect(notReached(at(true), end(0x2500000n, 1000n))).toContain('beyond the target');
  expect(notReached(at(true), end(0x2500000n))).toBeUndefined();
});

test.each(['lsn', 'xid', 'name'] as const)('to a record, %s', (kind) => {
  const at = (exclusive: boolean): Planned => plan({ kind, lsn: goal.lsn, xid: 800n, name: 'x', exclusive }, { goal });
  expect(notReached(at(false), end(goal.lsn + 60n))).toBeUndefined();
  expect(notReached(at(false), end(goal.lsn))).toContain('not just after 0/2500000');
  if (kind === 'name') return;
  expect(notReached(at(true), end(goal.lsn))).toBeUndefined();
  if (kind === 'xid') expect(notReached(at(true), end(goal.lsn + 60n))).toContain('not just before');
  else expect(notReached(at(true), end(goal.lsn - 100n))).toContain('not just before');
});
