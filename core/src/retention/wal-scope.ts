/** Which WAL stays: a pure function of the backups that stay. */
import { requiredWal } from '../backup/required-wal.ts';
import { describeLease } from '../repository/lease.ts';
import { parseLsn } from '../postgres/lsn.ts';
import { segmentName, segmentNumber, segmentNumberOf, type WalFile } from '../postgres/wal-file.ts';
import type { BackupDecision, KeepRule } from './decision.ts';
import { timeText } from './plan.ts';
import type { RetentionPolicy } from './policy.ts';
import type { BackupState, PlannedRecord, SystemState } from './state.ts';

/** Whether a file stays, and why. */
export interface WalVerdict {
  readonly keep: boolean;
  /** What follows `kept because` or `removed because`. */
  readonly text: string;
}

/** Rules that promise every moment from the backup on, whatever `wal` says. */
const CONTINUOUS: ReadonlySet<KeepRule> = new Set([
  'no-policy',
  'no-limit',
  'window',
  'anchor',
  'keep',
  'minimum',
  'lease',
  'unreadable',
]);

interface Run {
  readonly first: bigint;
  /** Undefined: to the end. */
  readonly last: bigint | undefined;
  readonly text: string;
}

export interface WalScopeInput {
  readonly system: SystemState;
  /** Of the backups of the system. */
  readonly decisions: readonly BackupDecision[];
  readonly policy: RetentionPolicy | undefined;
}

/** Says of every file of a system's WAL whether it stays. */
export class WalScope {
  readonly #system: SystemState;
  readonly #runs = new Map<number, Run[]>();
  /** Timelines of which a backup stays. */
  readonly #timelines = new Set<number>();
  /** Why all of it stays. */
  #all: string | undefined;
  #segmentSize: number | undefined;

  constructor({ system, decisions, policy }: WalScopeInput) {
    this.#system = system;
    const kept = system.backups.flatMap((backup) => {
      const decision = decisions.find(({ id }) => id === backup.id);
      return decision?.action === 'keep' ? [{ backup, decision }] : [];
    });
    this.#findSegmentSize();
    for (const { backup, decision } of kept) this.#addBackup(backup, decision.reasons, policy);
    for (const lease of system.leases) {
      const { content } = lease;
      const text = `${describeLease(lease)} uses it until ${timeText(lease.until)}`;
      if (content === undefined || content.wal === 'all') this.#all ??= text;
      else for (const { timeline, from } of content.wal) this.#addLeased(timeline, from, text);
    }
    if (system.retired) return;
    if (policy === undefined) this.#all ??= 'the config has no section "retention"';
    else if (!kept.some(({ backup }) => backup.state === 'complete' || backup.state === 'unreadable'))
      this.#all ??= `no backup of system ${system.systemId} stays that says what is needed`;
  }

  /** The verdict on a segment, a partial one, a backup label, a slice, named by its segment, or a history. */
  judge(file: WalFile): WalVerdict {
    if (this.#all !== undefined) return { keep: true, text: this.#all };
    if (file.kind === 'history') return this.#judgeHistory(file.timeline);
    const runs = this.#runs.get(file.timeline) ?? [];
    if (this.#segmentSize === undefined) return this.#nothing(file.timeline);
    const number = segmentNumberOf(file, this.#segmentSize);
    const run = runs.find(({ first, last }) => first <= number && (last === undefined || number <= last));
    if (run !== undefined) return { keep: true, text: run.text };
    if (runs.length === 0) return this.#nothing(file.timeline);
    const oldest = runs.reduce((least, { first }) => (first < least ? first : least), runs[0]?.first ?? 0n);
    if (number < oldest) {
      const name = segmentName(file.timeline, oldest, this.#segmentSize);
      return { keep: false, text: `no backup that stays needs WAL before ${name}` };
    }
    return { keep: false, text: 'it lies between backups of which only their own WAL is kept' };
  }

  #nothing(timeline: number): WalVerdict {
    const { systemId, retired } = this.#system;
    if (retired) return { keep: false, text: `system ${systemId} was named` };
    return { keep: false, text: `no backup that stays leads to timeline ${timeline}` };
  }

  #judgeHistory(timeline: number): WalVerdict {
    const needed = [...new Set([...this.#runs.keys(), ...this.#timelines])];
    if (needed.includes(timeline)) return { keep: true, text: `WAL or a backup of timeline ${timeline} stays` };
    for (const other of needed) {
      const ancestors = this.#system.tree.ancestors(other);
      if (other > timeline && (ancestors === undefined || ancestors.includes(timeline)))
        return { keep: true, text: `timeline ${other}, of which something stays, comes from it` };
    }
    return this.#nothing(timeline);
  }

  #findSegmentSize(): void {
    const sizes = new Set(
      this.#system.backups.flatMap(({ record, broken }) => record?.segmentSize ?? broken?.segmentSize ?? []),
    );
    [this.#segmentSize] = sizes;
    // After pg_resetwal --wal-segsize the names of segments say two things.
    if (sizes.size > 1)
      this.#all = 'its backups have segments of several sizes, so that the names of segments say nothing';
  }

  #addBackup(
    backup: BackupState,
    reasons: readonly { rule: KeepRule; line?: number }[],
    policy: RetentionPolicy | undefined,
  ): void {
    const { id, record, broken, state } = backup;
    if (record === undefined) {
      if (state !== 'unreadable') return; // it has none that is known, and is protected as a whole by its lease
      const { timeline, startLsn, segmentSize } = broken ?? {};
      if (timeline === undefined || startLsn === undefined || segmentSize === undefined)
        this.#all ??= `backup ${id}, which cannot be read, may need it`;
      else this.#addContinuous(timeline, parseLsn(startLsn), `backup ${id}, which cannot be read, may need it`);
      return;
    }
    this.#timelines.add(record.timeline).add(record.stopTimeline);
    const line = reasons.every(({ rule }) => rule === 'last') ? reasons[0]?.line : undefined;
    if (line !== undefined) return this.#addLine(record, line);
    const continuous =
      policy?.wal !== 'consistent' ||
      reasons.some(({ rule, line: ended }) => CONTINUOUS.has(rule) || (rule === 'last' && ended === undefined));
    if (continuous) this.#addContinuous(record.timeline, parseLsn(record.startLsn), `it leads on from backup ${id}`);
    else this.#addOwn(record);
  }

  #addLeased(timeline: number, from: string, text: string): void {
    let lsn: bigint;
    try {
      lsn = parseLsn(from);
    } catch {
      this.#all ??= text;
      return;
    }
    if (this.#segmentSize === undefined) this.#all ??= text;
    else this.#addContinuous(timeline, lsn, text);
  }

  /** From a position on all of its timeline, and of every timeline that comes, or may come, from there. */
  #addContinuous(timeline: number, from: bigint, text: string): void {
    const { tree, wal, backups } = this.#system;
    this.#add(timeline, from, undefined, text);
    const timelines = new Set([
      ...wal.map((one) => one.timeline),
      ...backups.flatMap(({ record }) => (record === undefined ? [] : [record.timeline, record.stopTimeline])),
    ]);
    for (const other of timelines) {
      const begin = tree.beginFrom(other, { timeline, lsn: from });
      if (begin === undefined) continue;
      const isKnown = tree.line(other) !== undefined;
      const unknown = `${text}, as far as is known: the history of timeline ${other} is not there`;
      this.#add(other, begin, undefined, isKnown ? text : unknown);
      for (const { timeline: between, start } of tree.line(other) ?? [])
        if (between > timeline) this.#add(between, start, undefined, text);
    }
  }

  /** From a backup to the end of a line that others have taken the place of. */
  #addLine(record: PlannedRecord, line: number): void {
    const { tree } = this.#system;
    const start = parseLsn(record.startLsn);
    const ranges = tree.line(line) ?? [];
    const at = ranges.findIndex(({ timeline }) => timeline === record.timeline);
    if (at < 0) return this.#addContinuous(record.timeline, start, `it leads on from backup ${record.id}`);
    for (const { timeline, start: begin, end } of ranges.slice(at)) {
      const from = timeline === record.timeline ? start : begin;
      this.#add(timeline, from, end, `it leads from backup ${record.id} to the end of timeline ${line}`);
    }
    this.#addOwn(record);
  }

  /** What makes a backup consistent. */
  #addOwn(record: PlannedRecord): void {
    const { id, timeline, stopTimeline, segmentSize } = record;
    const [start, stop] = [parseLsn(record.startLsn), parseLsn(record.stopLsn)];
    const text = `backup ${id} needs it to be consistent`;
    const whole = [{ timeline, start, end: stop }];
    const line = this.#system.tree.line(stopTimeline);
    if (timeline !== stopTimeline && line === undefined) return this.#addContinuous(timeline, start, text);
    const ranges =
      timeline === stopTimeline
        ? whole
        : (line ?? [])
            .filter((range) => range.timeline >= timeline)
            .map((range) => ({
              timeline: range.timeline,
              start: range.start > start ? range.start : start,
              end: range.end === undefined || range.end > stop ? stop : range.end,
            }))
            .filter(({ start: begin, end }) => begin < end);
    for (const { timeline: own, first, last } of requiredWal(ranges.toReversed(), segmentSize).runs)
      this.#addRun(own, { first, last, text });
  }

  #add(timeline: number, from: bigint, to: bigint | undefined, text: string): void {
    const size = this.#segmentSize;
    if (size === undefined) this.#all ??= text;
    else
      this.#addRun(timeline, {
        first: segmentNumber(from, size),
        last: to === undefined ? undefined : segmentNumber(to, size),
        text,
      });
  }

  #addRun(timeline: number, run: Run): void {
    const runs = this.#runs.get(timeline) ?? [];
    // One that another one covers says nothing of its own.
    if (run.last === undefined && runs.some(({ first, last }) => last === undefined && first <= run.first)) return;
    const rest =
      run.last === undefined ? runs.filter(({ first, last }) => last !== undefined || first < run.first) : runs;
    this.#runs.set(timeline, [...rest, run]);
  }
}
