/** What the page draws and says of an archive: by maps of real archives in memory. */
import { expect, test } from 'vitest';
import { momentOf } from '../../../src/daemon/page/moment.ts';
import { drawTimeline, type Stretch } from '../../../src/daemon/page/timeline.ts';
import { timelinePicture } from '../../../src/daemon/page/timeline-picture.ts';
import { holesIn } from '../../../src/daemon/page/wal-holes.ts';
import { walPicture } from '../../../src/daemon/page/wal-picture.ts';
import { walRows } from '../../../src/daemon/page/wal-rows.ts';
import type { SystemMap } from '../../../src/map/recovery-map.ts';
import type { MapWindow } from '../../../src/map/windows.ts';
import { backup, draw, name, push, repository, SYSTEM } from '../../map/archive.ts';

const HOUR = 3_600_000;
const at = (hour: number): number => Date.parse('2026-01-01T00:00:00Z') + hour * HOUR;

/** The WAL of these archives knows one commit time; here each window ends at a moment of its own. */
function ending(system: SystemMap, times: readonly (number | undefined)[]): SystemMap {
  const end = (window: MapWindow, time: number | undefined): MapWindow => {
    const known = time !== undefined;
    return { ...window, to: { ...window.to, time: known ? BigInt(time) * 1000n : undefined, isTimeKnown: known } };
  };
  const lines = system.lines.map((line) => ({
    ...line,
    windows: line.windows.map((window, index) => end(window, times[index])),
  }));
  return { ...system, lines };
}

async function withHole(): Promise<{ readonly system: SystemMap; readonly ids: readonly string[] }> {
  const archive = await repository();
  await push(archive, [1, 2, 3, 6, 7, 8]);
  const ids = [await backup(archive, 1), await backup(archive, 2), await backup(archive, 6)];
  return { system: await draw(archive), ids };
}

const kinds = (stretches: readonly Stretch[] | undefined): readonly string[] =>
  (stretches ?? []).map(({ kind, from, to }) => `${kind} ${(from - at(0)) / HOUR}-${(to - at(0)) / HOUR}`);

test('windows, the hole between them and what nobody knows are stretches of their own', async () => {
  const { system } = await withHole();
  const now = at(12);
  const known = drawTimeline(ending(system, [at(4), at(9)]), 'all', now);
  // A backup begins on the hour, and is consistent ten minutes later.
  const [first, third] = [1 + 1 / 6, 6 + 1 / 6].map((hour) => (at(hour) - at(0)) / HOUR);
  expect(kinds(known.lanes[0]?.stretches)).toEqual([`window ${first}-4`, `hole 4-${third}`, `window ${third}-9`]);
  expect(known.backups).toHaveLength(3);
  expect(known.from).toBeLessThan(at(1));
  expect(known.to).toBeGreaterThan(now);

  const unknown = drawTimeline(ending(system, [at(4), undefined]), 'all', now);
  expect(kinds(unknown.lanes[0]?.stretches).slice(2)).toEqual([`window ${third}-${third}`, `doubt ${third}-12`]);
  const text = timelinePicture(unknown).toString();
  expect(text).toContain('2 restorable stretches, 1 hole, 3 backups, 0 verified or proven');
  expect(text).toContain('class="doubt"');
  expect(text).not.toMatch(/NaN|undefined/);

  const near = drawTimeline(ending(system, [at(4), at(9)]), '24h', at(24 + 7));
  expect(near.backups).toHaveLength(0);
  expect(near.from).toBe(at(7));
});

test('hundreds of backups are as many marks as there is room for, and each is counted', async () => {
  const { system } = await withHole();
  const [some] = system.backups;
  if (some === undefined) throw new Error('there is no backup');
  const backups = Array.from({ length: 500 }, (_, day) => ({
    ...some,
    backup: {
      ...some.backup,
      startTime: new Date(at(24 * day)).toISOString(),
      stopTime: new Date(at(24 * day + 1)).toISOString(),
    },
  }));
  const { backups: marks } = drawTimeline({ ...system, backups }, 'all', at(24 * 501));
  expect(marks.length).toBeLessThanOrEqual(121);
  expect(marks.reduce((sum, { count }) => sum + count, 0)).toBe(500);
});

test('a moment leads to the newest backup before it, never over a hole, and not past the last transaction', async () => {
  const { system: drawn, ids } = await withHole();
  const system = ending(drawn, [at(4), at(9)]);
  const found = (time: number): string => {
    const answer = momentOf(system, time);
    return answer.kind === 'restorable' ? answer.backup.backup.id : answer.kind;
  };
  expect(found(at(1))).toBe('unreachable');
  expect(found(at(1.5))).toBe(ids[0]);
  expect(found(at(3))).toBe(ids[1]);
  expect(found(at(4) - 1)).toBe(ids[1]);
  expect(found(at(4))).toBe('unreachable');
  expect(momentOf(system, at(5))).toEqual({ kind: 'unreachable', before: at(4) - 1, after: at(6) + HOUR / 6 });
  expect(found(at(8))).toBe(ids[2]);
  expect(momentOf(system, at(10))).toEqual({ kind: 'unreachable', before: at(9) - 1, after: undefined });
  const answer = momentOf(system, at(1.5));
  // From the start of the first backup to where the second one was consistent, a segment later.
  expect(answer).toMatchObject({ kind: 'restorable', wal: { least: 20n, most: 1_048_576n + 20n } });

  expect(momentOf(ending(drawn, [at(4), undefined]), at(8)).kind).toBe('unknown');
});

test('runs of segments, the holes between them with what is on record, and tails', async () => {
  const { system } = await withHole();
  const lost = {
    key: 'fact',
    subject: 'wal',
    fact: {
      kind: 'gap',
      time: 0,
      data: { timeline: 1, to_timeline: 1, from: '0/400000', to: '0/600000', reason: 'the <slot> was lost' },
    },
  };
  const tail = { number: 9n, slices: [{ from: 0, to: 4096 }], partial: false };
  const wal = { ...system.wal, timelines: system.wal.timelines.map((one) => ({ ...one, open: [tail] })) };
  const rows = walRows({ ...system, wal }, [lost]);
  expect(rows.map(({ kind, from, to, segments }) => `${kind} ${from} ${to} ${segments}`)).toEqual([
    `open ${name(9)} ${name(9)} 1`,
    `run ${name(6)} ${name(8)} 3`,
    `hole ${name(4)} ${name(5)} 2`,
    `run ${name(1)} ${name(3)} 3`,
  ]);
  expect(rows[0]?.bytes).toBe(4096);
  expect(rows[2]?.text).toBe('lost: the <slot> was lost');
  expect(walRows(system, [])[1]?.text).toBe('no record says why: it was never archived, or removed');
  expect(system.systemId).toBe(SYSTEM);
  expect(walPicture(system)?.toString()).toContain('from 0/100000 to 0/900000, with 1 holes');
});

test('thousands of holes are drawn as few, and none is too small to be seen', () => {
  const runs = Array.from({ length: 5000 }, (_, index) => ({
    first: BigInt(index * 20),
    last: BigInt(index * 20 + 18),
  }));
  const holes = holesIn(runs, (number) => Number(number) / 100_000);
  expect(holes.length).toBeLessThan(300);
  expect(holes[0]?.from).toBeCloseTo(0.00019);
  for (const { from, to } of holes) expect(to - from).toBeGreaterThanOrEqual(0.0039);
});
