/** What the model of a repository knows: timelines, systems, backups, and how they hang together. */
import { createHash } from 'node:crypto';
import { parseWalFileName } from '../../src/postgres/wal-file.ts';
import type { HeldLease } from '../../src/repository/held-lease.ts';
import { walKey, walPrefix } from '../../src/repository/layout.ts';
import { walName } from './small-archive.ts';

export interface Step {
  readonly name:
    | 'tick'
    | 'wal'
    | 'backup'
    | 'incremental'
    | 'abandon'
    | 'slices'
    | 'promote'
    | 'stray'
    | 'upgrade'
    | 'pin'
    | 'unpin'
    | 'prove'
    | 'lease'
    | 'release'
    | 'lock'
    | 'expire'
    | 'gc';
  /** From 0 to 999, whatever they mean. */
  readonly first: number;
  readonly second: number;
  readonly third: number;
}

export function parseStep(text: string): Step {
  const [name, ...numbers] = text.split(' ');
  const [first = 0, second = 0, third = 0] = numbers.map(Number);
  return { name: name as Step['name'], first, second, third };
}

export interface Timeline {
  readonly number: number;
  /** The timeline from which it comes, and the segment in which it left it. */
  readonly from: { readonly timeline: Timeline; readonly segment: number } | undefined;
  /** The segment that is being written. */
  head: number;
  /** Segments that were archived. */
  readonly archived: Set<number>;
  /** When something of it was last archived. */
  touched: number;
}

export interface System {
  readonly id: string;
  readonly timelines: Timeline[];
  living: Timeline;
}

export interface Backup {
  readonly id: string;
  readonly system: System;
  readonly timeline: Timeline;
  readonly from: number;
  readonly to: number;
  readonly time: number;
  readonly parent: Backup | undefined;
  pinned: number | undefined;
  readonly leases: Set<HeldLease>;
}

export function parentsOf(backup: Backup): readonly Backup[] {
  return backup.parent === undefined ? [] : [backup.parent, ...parentsOf(backup.parent)];
}

export function segmentKey(system: System, { number }: Timeline, segment: number): string {
  const file = parseWalFileName(walName(number, segment));
  if (file === undefined) throw new Error('no such name');
  const digest = createHash('sha256').update(`${number}/${segment}`).digest('hex').slice(0, 32);
  return walPrefix('main', system.id) + walKey(file, digest, []);
}

/** Whether a timeline is another one, or comes from it. */
export function isFrom(timeline: Timeline, other: Timeline): boolean {
  return timeline === other || (timeline.from !== undefined && isFrom(timeline.from.timeline, other));
}

/** The first segment of a timeline to which a recovery from the backup may come; undefined when it comes to none. */
export function firstNeeded(backup: Backup, timeline: Timeline): number | undefined {
  if (timeline === backup.timeline) return backup.from;
  for (let at = timeline; at.from !== undefined; at = at.from.timeline)
    if (at.from.timeline === backup.timeline)
      // It left in the first bytes of the segment, where a backup begins a little later.
      return at.from.segment > backup.from ? (timeline.from?.segment ?? 0) : undefined;
  return undefined;
}
