import type { Command } from 'commander';
import { ArchiveError } from '../../contracts/errors.ts';
import type { BackupRecord } from '../../repository/backup-record.ts';
import { describeGap, gapsInTheWayOf } from '../../repository/wal-gaps.ts';
import { asOfOption, pastOf } from '../as-of-option.ts';
import { gapDocument, type FoundGap } from '../backup-gaps.ts';
import { pinDocument, pinOn, pinText, type FoundPin } from '../backup-pins.ts';
import { verifiedText, type Verified } from '../backup-verified.ts';
import { formatRatio, storedSize } from '../backup-view.ts';
import type { FoundBackup } from '../backups.ts';
import { provenText, type LastDrill } from '../drill-text.ts';
import { formatBytes, formatTime } from '../format.ts';
import { examples } from '../help.ts';
import type { Column } from '../output.ts';
import { runCommand } from '../run.ts';

export function register(program: Command): void {
  const list = program
    .command('list')
    .description('list the backups; fails when none is complete')
    .addOption(asOfOption())
    .action(async (flags: { readonly asOf?: Date }, command: Command) =>
      runCommand(command, async (context) => {
        const { config, output, logger, signal } = context;
        const { findBackups, showingOptions, throwFailures } = await import('../backups.ts');
        const { warnOfDropped } = await import('../dropped-warning.ts');
        warnOfDropped(config, logger);
        const opened = await context.archive({ ...showingOptions(config), ...pastOf(flags) });
        const { backups, failures } = await findBackups(opened.repositories, { signal });
        const { findGaps } = await import('../backup-gaps.ts');
        const found = await findGaps(opened.repositories, { backups, failures }, { signal });
        const { findPins } = await import('../backup-pins.ts');
        const pinned = await findPins(opened.repositories, { backups, failures }, { signal });
        const { findVerified } = await import('../backup-verified.ts');
        const verified = await findVerified(backups, { signal });
        const { findDrills } = await import('../backup-drills.ts');
        const drills = await findDrills(opened.repositories, { backups, failures }, { signal });
        const known: OnRecord = {
          gaps: found.gaps,
          pins: pinned.pins,
          verified,
          drillOf: (backup) => drills.of(backup),
        };
        if (output.isJson) output.json(backups.map((backup) => entryOf(backup, known)));
        else if (backups.length > 0) output.table(backups, columns(backups, known, opened.repositories.length > 1));
        for (const gap of found.gaps) {
          const message = `WAL is lost from ${describeGap(gap)} (repository ${gap.repository}): backups from before it end there`;
          logger.warn({ repository: gap.repository }, message);
        }
        throwFailures([...failures, ...found.failures, ...pinned.failures, ...drills.failures]);
        if (!backups.some(({ state }) => state === 'complete')) {
          const which = backups.length === 0 ? 'are no backups' : 'is no complete backup';
          throw new ArchiveError('BACKUP_NOT_FOUND', `there ${which} of cluster "${config.cluster}"`, {
            hint: 'Take one with "pgark backup".',
          });
        }
      }),
    );
  examples(list, [
    ['pgark list', 'a table of backups'],
    ['pgark list --as-of "2 days ago"', 'those that there were before an attack, in a storage with versions'],
    ['pgark list --json', 'everything about each of them, for programs'],
  ]);
}

/** What is on record of the backups. */
interface OnRecord {
  readonly gaps: readonly FoundGap[];
  readonly pins: readonly FoundPin[];
  readonly verified: ReadonlyMap<FoundBackup, Verified>;
  readonly drillOf: (backup: FoundBackup) => LastDrill;
}

/** A backup for programs. */
function entryOf(backup: FoundBackup, known: OnRecord): Record<string, unknown> {
  const { id, state, systemId } = backup;
  const { name } = backup.repository;
  const place = { id, state, repository: name, systemId };
  const verified = known.verified.get(backup);
  if (backup.state === 'complete') {
    const { record } = backup;
    const own = known.gaps.filter((gap) => gap.repository === name && gap.systemId === systemId);
    const pin = pinOn(backup, known.pins);
    return {
      ...place,
      storedSize: storedSize(record),
      record,
      gaps: gapsInTheWayOf(record, own).map(gapDocument),
      verified,
      drill: known.drillOf(backup),
      ...(pin === undefined ? {} : { pin: pinDocument(pin) }),
    };
  }
  if (backup.state === 'unreadable')
    return { ...place, error: { code: backup.error.code, message: backup.error.message }, verified };
  return place;
}

function columns(
  backups: readonly FoundBackup[],
  { pins, verified, drillOf }: OnRecord,
  named: boolean,
): readonly Column<FoundBackup>[] {
  const several = (of: (backup: FoundBackup) => string): boolean => new Set(backups.map(of)).size > 1;
  const fact =
    (of: (record: BackupRecord) => string | number): Column<FoundBackup>['value'] =>
    (backup) =>
      backup.state === 'complete' ? of(backup.record) : undefined;
  const place: readonly (Column<FoundBackup> | undefined)[] = [
    named ? { title: 'REPOSITORY', value: ({ repository }) => repository.name } : undefined,
    several(({ systemId }) => systemId) ? { title: 'SYSTEM', value: ({ systemId }) => systemId } : undefined,
  ];
  return [
    { title: 'ID', value: ({ id }) => id },
    ...place.filter((column) => column !== undefined),
    { title: 'TYPE', value: fact(({ kind }) => kind) },
    { title: 'STATE', value: stateOf },
    { title: 'START', value: fact(({ startTime }) => formatTime(startTime)) },
    { title: 'STOP', value: fact(({ stopTime }) => formatTime(stopTime)) },
    { title: 'STOP LSN', value: fact(({ stopLsn }) => stopLsn) },
    { title: 'TLI', value: fact(({ stopTimeline }) => stopTimeline) },
    { title: 'SIZE', value: fact(({ dataSize }) => formatBytes(dataSize)), align: 'right' },
    { title: 'STORED', value: fact((record) => formatBytes(storedSize(record))), align: 'right' },
    { title: 'RATIO', value: fact(formatRatio), align: 'right' },
    { title: 'VERIFIED', value: (backup) => verifiedText(verified.get(backup)) },
    { title: 'PROVEN', value: (backup) => provenText(drillOf(backup)) },
    { title: 'LABEL', value: fact(({ label }) => label) },
    ...(pins.length === 0
      ? []
      : [
          {
            title: 'PINNED',
            value: (backup: FoundBackup) => {
              const pin = pinOn(backup, pins);
              return pin && pinText(pin);
            },
          },
        ]),
  ];
}

/** `incomplete` is one that runs still, or that was interrupted. */
function stateOf(backup: FoundBackup): string {
  return backup.state === 'complete' && backup.record.suspect !== undefined ? 'SUSPECT' : backup.state;
}
