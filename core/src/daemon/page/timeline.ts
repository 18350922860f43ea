/** The recoverability of one system over time, as what a drawing needs: pure, from what a look has in memory. */
import type { MappedBackup, MappedLine, SystemMap } from '../../map/recovery-map.ts';
import type { MapWindow } from '../../map/windows.ts';
import { describeWindowEnd } from '../../map/windows.ts';
import { gapsOf } from '../../status/cluster-status.ts';

/** Epoch milliseconds. */
export interface TimeRange {
  readonly from: number;
  readonly to: number;
}

/**
 * A stretch of a timeline. `window`: each moment can be restored. `hole`: none can. `doubt`: nobody knows, as the WAL at its end could not be
 * read.
 */
export interface Stretch extends TimeRange {
  readonly kind: 'window' | 'hole' | 'doubt';
  readonly text: string;
}

export interface TimelineLane {
  readonly timeline: number;
  readonly isLatest: boolean;
  readonly stretches: readonly Stretch[];
}

/** Something that happened at a moment. `count`: how many lie so near to each other that they are one. */
export interface TimelineMark {
  readonly time: number;
  readonly kind: 'backup' | 'verified' | 'drill';
  readonly isBad: boolean;
  readonly count: number;
}

export interface TimelineDrawing extends TimeRange {
  readonly now: number;
  /** The one that a restore follows first. */
  readonly lanes: readonly TimelineLane[];
  /** Timelines that there was no room for. */
  readonly more: number;
  readonly backups: readonly TimelineMark[];
  readonly proofs: readonly TimelineMark[];
}

const DAY = 86_400_000;

export type Zoom = 'all' | '30d' | '7d' | '24h';

/** How much of the time can be chosen to be seen, milliseconds before now. */
export const ZOOMS: Readonly<Record<Zoom, number | undefined>> = {
  all: undefined,
  '30d': 30 * DAY,
  '7d': 7 * DAY,
  '24h': DAY,
};

/** Timelines that are drawn, and places of marks beside each other. */
const LANES = 5;
const PLACES = 120;

export function drawTimeline(system: SystemMap, zoom: Zoom, now: number): TimelineDrawing {
  const range = rangeOf(system, zoom, now);
  const lines = [
    ...system.lines.filter(({ timeline }) => timeline === system.latest),
    ...system.lines.filter(({ timeline, windows }) => timeline !== system.latest && windows.length > 0).toReversed(),
  ];
  const lanes = lines.slice(0, LANES).map((line) => laneOf(line, system, { now, range }));
  return {
    ...range,
    now,
    lanes,
    more: lines.length - lanes.length,
    backups: gather(system.backups.map(backupMark), range),
    proofs: gather(proofsOf(system), range),
  };
}

function rangeOf({ backups }: SystemMap, zoom: Zoom, now: number): TimeRange {
  const back = ZOOMS[zoom];
  const first = backups.reduce((least, { backup }) => Math.min(least, Date.parse(backup.startTime)), now - 60_000);
  const from = back === undefined ? first : now - back;
  // Room behind now, and before what came first.
  const room = Math.max(1000, (now - from) * 0.03);
  return { from: Math.round(back === undefined ? from - room : from), to: Math.round(now + room) };
}

function laneOf(
  { timeline, windows }: MappedLine,
  system: SystemMap,
  { now, range }: { readonly now: number; readonly range: TimeRange },
): TimelineLane {
  const isLatest = timeline === system.latest;
  const ends = new Set(isLatest ? gapsOf(system).map(({ window }) => window) : []);
  const stops = new Map(system.backups.map(({ backup }) => [backup.id, Date.parse(backup.stopTime)]));
  const stretches = windows.flatMap((window, at): readonly Stretch[] => {
    const from = Date.parse(window.from.time);
    const known = endOf(window, stops);
    const next = windows[at + 1];
    const until = next === undefined ? now : Date.parse(next.from.time);
    const text = describeWindowEnd(window);
    return [
      { kind: 'window', from, to: known, text: `restorable; ${text}` },
      ...(window.to.isTimeKnown ? [] : [{ kind: 'doubt', from: known, to: until, text } as const]),
      ...(ends.has(window) && window.to.isTimeKnown ? [{ kind: 'hole', from: known, to: until, text } as const] : []),
    ];
  });
  return { timeline, isLatest, stretches: fold(stretches, range) };
}

/** What is seen first where several are too narrow to be seen beside each other. */
const WORST: readonly Stretch['kind'][] = ['window', 'doubt', 'hole'];

/** The stretches within a range, with the worst one for those that are narrower than a place: a drawing is not longer for thousands of them. */
function fold(stretches: readonly Stretch[], { from, to }: TimeRange): readonly Stretch[] {
  const width = (to - from) / (2 * PLACES);
  const narrow = new Map<number, Stretch>();
  const wide: Stretch[] = [];
  for (const stretch of stretches) {
    if (stretch.to < from || stretch.from > to) continue;
    if (stretch.to - stretch.from >= width) wide.push(stretch);
    else {
      const place = Math.floor((stretch.from - from) / width);
      const there = narrow.get(place);
      const isWorse = there !== undefined && WORST.indexOf(stretch.kind) > WORST.indexOf(there.kind);
      if (there === undefined || isWorse) narrow.set(place, stretch);
    }
  }
  return [...wide, ...narrow.values()].sort((one, other) => one.from - other.from || one.to - other.to);
}

/** Up to which moment a window can be restored for certain. */
function endOf({ to, from, backups }: MapWindow, stops: ReadonlyMap<string, number>): number {
  if (to.time !== undefined) return Number(to.time / 1000n);
  return backups.reduce((last, id) => Math.max(last, stops.get(id) ?? 0), Date.parse(from.time));
}

function backupMark({ backup, verdict }: MappedBackup): TimelineMark {
  return { time: Date.parse(backup.stopTime), kind: 'backup', isBad: verdict.state !== 'restorable', count: 1 };
}

function proofsOf({ backups, drills, walVerified }: SystemMap): readonly TimelineMark[] {
  return [
    ...[...backups.map(({ verified }) => verified), walVerified].flatMap((verified) =>
      verified === undefined
        ? []
        : [{ time: verified.time, kind: 'verified', isBad: verified.findings > 0, count: 1 } as const],
    ),
    ...drills.map(
      ({ time, data }) => ({ time, kind: 'drill', isBad: data['outcome'] !== 'proven', count: 1 }) as const,
    ),
  ];
}

/** Those within a range, with one for all of a kind that would lie over each other. */
function gather(marks: readonly TimelineMark[], { from, to }: TimeRange): readonly TimelineMark[] {
  const places = new Map<string, TimelineMark>();
  for (const mark of marks) {
    if (mark.time < from || mark.time > to) continue;
    const place = `${mark.kind} ${mark.isBad} ${Math.floor(((mark.time - from) / (to - from)) * PLACES)}`;
    const there = places.get(place);
    places.set(place, there === undefined ? mark : { ...there, count: there.count + 1 });
  }
  return [...places.values()].sort((one, other) => one.time - other.time);
}
