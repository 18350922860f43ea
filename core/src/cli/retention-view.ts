/** What `pgark expire` and `pgark gc` say. */
import { explainWal } from '../documents/expire-document.ts';
import { explain, type BackupDecision } from '../retention/decision.ts';
import type { ExpirePlan, ExpireResult } from '../retention/expire.ts';
import type { Garbage, GarbageResult } from '../retention/gc.ts';
import type { WalStretch } from '../retention/wal-stretches.ts';
import { count, formatBytes, formatTime } from '../documents/format.ts';
import type { Column, Output } from './output.ts';

/** How many locked objects are named one by one. */
const SHOWN = 10;

interface ViewOptions {
  /** Whether the name of the repository is said. */
  readonly named: boolean;
}

/** Prints a decision for each backup and each stretch of WAL. */
export function printExpirePlan(output: Output, plan: ExpirePlan, { named }: ViewOptions): void {
  if (named) output.line(`repository ${plan.repository}`);
  if (plan.backups.length === 0) output.line('there are no backups');
  else
    output.table(plan.backups, [
      { title: 'BACKUP', value: ({ id }) => id },
      ...systemColumn(plan.backups),
      { title: 'STOP', value: ({ stopTime }) => (stopTime === undefined ? undefined : formatTime(stopTime)) },
      { title: 'STORED', value: ({ bytes }) => formatBytes(bytes), align: 'right' },
      { title: 'DECISION', value: explain },
    ]);
  output.line();
  if (plan.wal.length > 0) {
    output.table(plan.wal, [
      { title: 'WAL FROM', value: ({ from }) => from },
      { title: 'TO', value: ({ to }) => to },
      ...systemColumn(plan.wal),
      { title: 'FILES', value: ({ objects }) => objects },
      { title: 'STORED', value: ({ bytes }) => formatBytes(bytes), align: 'right' },
      { title: 'DECISION', value: explainWal },
    ]);
    output.line();
  }
  const going = plan.backups.filter(({ action }) => action === 'remove');
  const wal = plan.wal.filter(({ action }) => action === 'remove');
  const files = wal.reduce((sum, { objects }) => sum + objects, 0);
  output.line(
    `to remove: ${count(going.length, 'backup')} (${sizeOf(going)}) and ${count(files, 'WAL file')} (${sizeOf(wal)})`,
  );
}

/** Prints what came of a plan. */
export function printExpireResult(output: Output, { objects, bytes, removed, locked, retained }: ExpireResult): void {
  output.line(
    `removed: ${count(removed.length, 'backup')}, ${count(objects, 'object')} in all, ${formatBytes(bytes)} freed`,
  );
  printRetained(output, retained);
  if (locked.length > 0) output.line(`removed by a later run, when their locks have ended: ${locked.join(', ')}`);
}

function printRetained(output: Output, retained: readonly string[]): void {
  if (retained.length === 0) return;
  output.line(`retained: the storage holds ${count(retained.length, 'object')} under a lock; a later run removes them`);
  for (const key of retained.slice(0, SHOWN)) output.line(`  ${key}`);
  if (retained.length > SHOWN) output.line(`  and ${retained.length - SHOWN} more, see --json`);
}

type ShownGarbage = Pick<GarbageResult, 'found'> & Partial<GarbageResult>;

/** Prints what was found, and what was removed of it. */
export function printGarbage(output: Output, repository: string, result: ShownGarbage, { named }: ViewOptions): void {
  const { found, objects, bytes, retained = [] } = result;
  if (named) output.line(`repository ${repository}`);
  if (found.length === 0) output.line('nothing was found: every object is accounted for');
  else
    output.table(found, [
      { title: 'WHAT', value: ({ kind }) => kind },
      { title: 'OF', value: ({ subject }) => subject },
      ...systemColumn(found),
      { title: 'OBJECTS', value: (garbage) => garbage.objects },
      { title: 'STORED', value: (garbage) => formatBytes(garbage.bytes), align: 'right' },
      {
        title: 'DECISION',
        value: ({ action, reason }) => `${action === 'keep' ? 'kept' : 'removed'} because ${reason}`,
      },
    ]);
  if (objects !== undefined && bytes !== undefined)
    output.line(`removed: ${count(objects, 'object')}, ${formatBytes(bytes)} freed`);
  printRetained(output, retained);
}

/** The same for programs. */
export function garbageDocument(
  repository: string,
  { found, ...done }: ShownGarbage,
): Readonly<Record<string, unknown>> {
  const { objects, bytes, retained } = done;
  return {
    repository,
    confirmed: objects !== undefined,
    found,
    ...(objects === undefined ? {} : { done: { objects, bytes, retained } }),
  };
}

function sizeOf(rows: readonly { readonly bytes: number }[]): string {
  return formatBytes(rows.reduce((sum, { bytes }) => sum + bytes, 0));
}

function systemColumn<Row extends Pick<BackupDecision | WalStretch | Garbage, 'systemId'>>(
  rows: readonly Row[],
): readonly Column<Row>[] {
  const several = new Set(rows.map(({ systemId }) => systemId)).size > 1;
  return several ? [{ title: 'SYSTEM', value: ({ systemId }) => systemId }] : [];
}
