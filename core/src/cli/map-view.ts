/** What `pgark map` shows. */
import { formatLsn } from '../postgres/lsn.ts';
import { describeGap } from '../repository/wal-gaps.ts';
import type { MappedLine, RecoveryMap, SystemMap } from '../map/recovery-map.ts';
import { describeWindowEnd } from '../map/windows.ts';
import { count, formatTime } from '../documents/format.ts';
import { toText } from '../documents/map-document.ts';
import { contentProblems, evidenceOf } from '../documents/map-text.ts';
import type { Output } from './output.ts';

/** For people. */
export function printMap(output: Output, cluster: string, map: RecoveryMap): void {
  if (map.systems.length === 0 && map.failures.length === 0)
    output.line(`the archive of "${cluster}" holds nothing yet`);
  for (const [at, system] of map.systems.entries()) {
    if (at > 0) output.line();
    printSystem(output, cluster, system);
  }
  for (const { name, state } of map.repositories) {
    const older =
      state.since === state.listed ? '' : `, what is older on ${formatTime(state.since)} (--fresh lists it now)`;
    output.line(`repository ${name} was listed on ${formatTime(state.listed)}${older}`);
  }
}

function printSystem(output: Output, cluster: string, system: SystemMap): void {
  const { backups, lines } = system;
  const segments = count(system.segments, 'segment');
  output.line(`${cluster}, system ${system.systemId}: ${segments}, ${count(backups.length, 'backup')}`);
  const rows = lines.flatMap((line) => line.windows.map((window) => ({ line, window })));
  if (rows.length > 0) {
    output.table(rows, [
      {
        title: 'TIMELINE',
        value: ({ line }) => `${line.timeline}${line.timeline === system.latest ? ' (latest)' : ''}`,
      },
      { title: 'FROM', value: ({ window }) => formatTime(window.from.time) },
      { title: 'TO', value: ({ window }) => toText(window) },
      { title: 'FROM LSN', value: ({ window }) => formatLsn(window.from.lsn) },
      { title: 'TO LSN', value: ({ window }) => formatLsn(window.to.lsn) },
      { title: 'BACKUPS', value: ({ window }) => window.backups.length },
      { title: 'ENDS', value: ({ window }) => describeWindowEnd(window) },
    ]);
  } else output.line('nothing can be restored');
  for (const line of lines) for (const text of lineTexts(line)) output.line(text);
  for (const { backup, verdict } of backups) {
    if (verdict.state !== 'restorable')
      output.line(`backup ${backup.id} is ${STATES[verdict.state]}: ${verdict.problem}`);
  }
  for (const { id, repository, problem } of system.others)
    output.line(`backup ${id} in repository ${repository}: ${problem}`);
  for (const text of contentProblems(system)) output.line(text);
  for (const gap of system.gaps) output.line(`WAL was lost from ${describeGap(gap)} (repository ${gap.repository})`);
  output.line(evidenceOf(system));
}

const STATES = { suspect: 'suspect', damaged: 'damaged', 'no-wal': 'not restorable' } as const;

function lineTexts({ timeline, problem, historyMissing }: MappedLine): readonly string[] {
  if (problem !== undefined) return [`timeline ${timeline}: ${problem}`];
  if (!historyMissing) return [];
  return [`timeline ${timeline}: its history is not archived, backups of earlier timelines do not lead to it`];
}
