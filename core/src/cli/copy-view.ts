/** What `pgark copy` says of its plan and of its result. */
import type { CopiedBackup, CopyProgress, CopyResult } from '../copy/copy.ts';
import type { CopyFailure } from '../copy/failures.ts';
import type { CopyPlan, PlannedBackup } from '../copy/plan.ts';
import type { BackupRecord } from '../repository/backup-record.ts';
import { count, formatBytes, formatDuration, formatTime } from '../documents/format.ts';
import { storedSize } from '../documents/backup-document.ts';
import { ByteProgress } from './byte-progress.ts';
import type { Column, Output } from './output.ts';

/** How many failures of WAL files are told one by one. */
const SHOWN = 20;

/** Prints what would be copied. */
export function printPlan(output: Output, plan: CopyPlan): void {
  const { backups, walCount, notes } = plan;
  if (output.isJson) return output.json(planDocument(plan));
  output.table(backups, [
    { title: 'BACKUP', value: ({ record }) => record.id },
    ...systemColumn(backups, ({ record }) => record),
    { title: 'STATE', value: stateOf },
    { title: 'STOP', value: ({ record }) => formatTime(record.stopTime) },
    { title: 'SIZE', value: ({ plainBytes }) => formatBytes(plainBytes), align: 'right' },
    { title: `STORED IN ${plan.source}`, value: ({ record }) => formatBytes(storedSize(record)), align: 'right' },
  ]);
  output.line();
  const size = `${formatBytes(walCount.plainBytes)}, stored in ${formatBytes(walCount.storedBytes)}`;
  const present = plan.wal === 'none' ? '' : `, ${walCount.present} are there already`;
  output.line(`WAL (${plan.wal}): ${count(walCount.missing, 'file')} to copy (${size})${present}`);
  for (const note of notes) output.line(`note: ${note}`);
  printFailures(output, [...plan.failures, ...plan.conflicts]);
  output.line(`nothing was copied from ${plan.source} to ${plan.target}: this was the plan`);
}

function stateOf({ state, record, held }: PlannedBackup): string {
  if (state === 'present') return 'is there';
  if (state === 'failed') return 'FAILS';
  if (state === 'copy') return 'to copy';
  return `to copy, ${held} of ${count(record.parts.length + 2, 'object')} there`;
}

function planDocument(plan: CopyPlan): Readonly<Record<string, unknown>> {
  const { source, target, wal, backups, walCount, failures, conflicts, notes } = plan;
  return {
    from: source,
    to: target,
    plan: true,
    backups: backups.map(({ record: { id, systemId }, state, held, plainBytes }) => ({
      id,
      systemId,
      state,
      held,
      plainBytes,
    })),
    wal: { mode: wal, ...walCount },
    failures: [...failures, ...conflicts].map(failureDocument),
    notes,
  };
}

/** Prints what was done; `duration` in milliseconds. */
export function printResult(output: Output, plan: CopyPlan, result: CopyResult, duration: number): void {
  if (output.isJson) {
    output.json(resultDocument(plan, result, duration));
    return;
  }
  output.table(result.backups, [
    { title: 'BACKUP', value: ({ id }) => id },
    ...systemColumn(result.backups, (backup) => backup),
    { title: 'STATE', value: ({ state }) => (state === 'failed' ? 'FAILED' : state) },
    { title: 'COPIED', value: ({ copied }) => copied },
    { title: 'KEPT', value: ({ kept }) => kept },
    { title: `STORED IN ${plan.target}`, value: ({ storedBytes }) => formatBytes(storedBytes), align: 'right' },
  ]);
  output.line();
  const { copied, plainBytes } = result.wal;
  const present = plan.wal === 'none' ? '' : `, ${plan.walCount.present} were there already`;
  output.line(`WAL (${plan.wal}): ${count(copied, 'file')} copied (${formatBytes(plainBytes)})${present}`);
  for (const note of plan.notes) output.line(`note: ${note}`);
  printFailures(output, result.failures);
  const { stopped } = result;
  // Alone it is what the command ends with, and told there.
  if (stopped instanceof Error && result.failures.length > 0) output.line(`ended early: ${stopped.message}`);
  output.line(`from ${plan.source} to ${plan.target} in ${formatDuration(duration)}`);
}

function resultDocument(plan: CopyPlan, result: CopyResult, duration: number): Readonly<Record<string, unknown>> {
  const { backups, wal, failures, stopped } = result;
  return {
    from: plan.source,
    to: plan.target,
    finished: stopped === undefined,
    backups: backups.map(({ id, systemId, state, copied, kept, storedBytes }) => ({
      id,
      systemId,
      state,
      copied,
      kept,
      storedBytes,
    })),
    wal: { mode: plan.wal, ...wal, present: plan.walCount.present },
    failures: failures.map(failureDocument),
    notes: plan.notes,
    durationMilliseconds: Math.round(duration),
  };
}

function failureDocument({ subject, error: { code, message, hint } }: CopyFailure): Readonly<Record<string, string>> {
  return { subject, code, message, hint };
}

function printFailures(output: Output, failures: readonly CopyFailure[]): void {
  for (const { subject, error } of failures.slice(0, SHOWN)) output.line(`failed: ${subject}: ${error.message}`);
  if (failures.length > SHOWN) output.line(`failed: ${failures.length - SHOWN} more, see --json`);
}

function systemColumn<Row>(
  rows: readonly Row[],
  of: (row: Row) => Pick<BackupRecord | CopiedBackup, 'systemId'>,
): readonly Column<Row>[] {
  const several = new Set(rows.map((row) => of(row).systemId)).size > 1;
  return several ? [{ title: 'SYSTEM', value: (row) => of(row).systemId }] : [];
}

/** Turns the progress of a copy into one line of text. */
export class CopyProgressText {
  readonly #bar: boolean;
  readonly #bytes: ByteProgress;
  #progress: CopyProgress | undefined;

  /** With `bar` a bar is drawn. */
  constructor(options: { readonly bar: boolean; readonly now?: () => number }) {
    this.#bar = options.bar;
    this.#bytes = new ByteProgress(options);
  }

  update(progress: CopyProgress): void {
    this.#progress = progress;
    this.#bytes.update(progress.bytes);
  }

  toString(): string {
    if (this.#progress === undefined) return 'copy: comparing the repositories';
    const { stage, id, totalBytes } = this.#progress;
    const share = this.#bytes.text(totalBytes);
    // The bar and its figures fill the eighty columns of a terminal.
    if (this.#bar) return share;
    return `copy: ${stage === 'wal' ? 'WAL' : `backup ${id}`}: ${share}`;
  }
}
