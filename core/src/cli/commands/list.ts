import type { Command } from 'commander';
import type { ListedBackup } from '../../archive/list.ts';
import type { BackupRecord } from '../../repository/backup-record.ts';
import { describeGap } from '../../repository/wal-gaps.ts';
import { asOfOption, pastOf } from '../as-of-option.ts';
import { formatRatio } from '../../documents/backup-ratio.ts';
import { listedDocument, storedSize } from '../../documents/backup-document.ts';
import { provenText } from '../../documents/drill-text.ts';
import { formatBytes, formatTime } from '../../documents/format.ts';
import { examples } from '../help.ts';
import type { Column } from '../output.ts';
import { pinText } from '../../documents/pin-text.ts';
import { runCommand } from '../run.ts';
import { verifiedText } from '../../documents/verified-text.ts';

export function register(program: Command): void {
  const list = program
    .command('list')
    .description('list the backups; fails when none is complete')
    .addOption(asOfOption())
    .action(async (flags: { readonly asOf?: Date }, command: Command) =>
      runCommand(command, async ({ config, output, logger, archive }) => {
        const opened = await archive();
        const { backups, gaps, failure } = await opened.backups(pastOf(flags));
        if (output.isJson) output.json(backups.map(listedDocument));
        else if (backups.length > 0) output.table(backups, columns(backups, config.repositories.length > 1));
        for (const gap of gaps) {
          const message = `WAL is lost from ${describeGap(gap)} (repository ${gap.repository}): backups from before it end there`;
          logger.warn({ repository: gap.repository }, message);
        }
        if (failure !== undefined) throw failure;
      }),
    );
  examples(list, [
    ['pgark list', 'a table of backups'],
    ['pgark list --as-of "2 days ago"', 'those that there were before an attack, in a storage with versions'],
    ['pgark list --json', 'everything about each of them, for programs'],
  ]);
}

function columns(backups: readonly ListedBackup[], named: boolean): readonly Column<ListedBackup>[] {
  const several = (of: (backup: ListedBackup) => string): boolean => new Set(backups.map(of)).size > 1;
  const fact =
    (of: (record: BackupRecord) => string | number): Column<ListedBackup>['value'] =>
    (backup) =>
      backup.state === 'complete' ? of(backup.record) : undefined;
  const place: readonly (Column<ListedBackup> | undefined)[] = [
    named ? { title: 'REPOSITORY', value: ({ repository }) => repository } : undefined,
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
    { title: 'VERIFIED', value: (backup) => verifiedText(backup.verified) },
    { title: 'PROVEN', value: (backup) => provenText(backup.drill) },
    { title: 'LABEL', value: fact(({ label }) => label) },
    ...(backups.every(({ pin }) => pin === undefined)
      ? []
      : [{ title: 'PINNED', value: ({ pin }: ListedBackup) => pin && pinText(pin) }]),
  ];
}

/** `incomplete` is one that runs still, or that was interrupted. */
function stateOf(backup: ListedBackup): string {
  return backup.state === 'complete' && backup.record.suspect !== undefined ? 'SUSPECT' : backup.state;
}
