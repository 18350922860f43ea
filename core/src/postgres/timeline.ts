/**
 * Timeline history files (PostgreSQL source: `access/transam/timeline.c`): one line per ancestor,
 * `parent TLI <tab> switch point <tab> reason`, oldest first.
 */
import { ArchiveError } from '../contracts/errors.ts';
import { parseLsn } from './lsn.ts';

/** The end of one ancestor: its WAL counts up to, not including, `end`. */
export interface TimelineSwitch {
  readonly timeline: number;
  readonly end: bigint;
  readonly reason: string;
}

/** Reads a history file, oldest ancestor first. Throws `WAL_INVALID` when it is not one. */
export function parseHistory(content: Uint8Array, name: string): readonly TimelineSwitch[] {
  const switches: TimelineSwitch[] = [];
  for (const line of Buffer.from(content.buffer, content.byteOffset, content.byteLength).toString('utf8').split('\n')) {
    if (/^\s*(#|$)/.test(line)) continue;
    const match = /^\s*(\d+)\s+([0-9A-Fa-f]+\/[0-9A-Fa-f]+)\s*(.*)$/.exec(line);
    if (match === null)
      throw new ArchiveError('WAL_INVALID', `${name} is not a timeline history: "${line.slice(0, 80)}"`);
    const timeline = Number(match[1]);
    const previous = switches.at(-1);
    if (previous !== undefined && timeline <= previous.timeline) {
      throw new ArchiveError('WAL_INVALID', `${name} is not a timeline history: timelines do not ascend`);
    }
    switches.push({ timeline, end: parseLsn(match[2] ?? ''), reason: match[3] ?? '' });
  }
  return switches;
}

/** A stretch of a timeline that belongs to a history: from `start` up to, not including, `end` (open when undefined). */
export interface TimelineRange {
  readonly timeline: number;
  readonly start: bigint;
  readonly end: bigint | undefined;
}

/** The line of descent of `timeline`, oldest first, from its history file (none for timeline 1). */
export function ancestry(timeline: number, history: readonly TimelineSwitch[]): readonly TimelineRange[] {
  let start = 0n;
  const ranges: TimelineRange[] = [];
  for (const ancestor of history) {
    ranges.push({ timeline: ancestor.timeline, start, end: ancestor.end });
    start = ancestor.end;
  }
  return [...ranges, { timeline, start, end: undefined }];
}
