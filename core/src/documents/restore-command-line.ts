import { formatLsn } from '../postgres/lsn.ts';
import type { RestorePlan } from '../restore/plan-types.ts';
import { shellWord } from '../restore/quoting.ts';
import type { RecoveryTarget, TimelineChoice } from '../restore/target.ts';
import { formatMoment } from '../restore/time-text.ts';

export interface CommandLineOptions {
  readonly cluster: string;
  /** As it was asked for. */
  readonly timeline: TimelineChoice;
  /** Of the config file. */
  readonly path: string | undefined;
  /** The new data directory. Default: the word `DIRECTORY`, for who runs it to fill in. */
  readonly directory?: string;
}

/** The command that carries a plan out, for a shell. It holds no secret. */
export function restoreCommandLine(
  { target, backup, systemId, action }: RestorePlan,
  { cluster, timeline, path, directory = 'DIRECTORY' }: CommandLineOptions,
): string {
  return [
    'pgark',
    ...(path === undefined ? [] : ['--config', path]),
    '--cluster',
    cluster,
    'restore',
    ...targetFlags(target),
    ...(timeline === 'latest' ? [] : ['--target-timeline', String(timeline)]),
    ...(target.kind === 'latest' || action === 'promote' ? [] : ['--target-action', action]),
    '--backup',
    backup.id,
    '--system-id',
    systemId,
    directory,
  ]
    .map(shellWord)
    .join(' ');
}

function targetFlags(target: RecoveryTarget): readonly string[] {
  const exclusive = 'exclusive' in target && target.exclusive ? ['--exclusive'] : [];
  switch (target.kind) {
    case 'time':
      return ['--target-time', formatMoment(target.micros), ...exclusive];
    case 'lsn':
      return ['--target-lsn', formatLsn(target.lsn), ...exclusive];
    case 'xid':
      return ['--target-xid', String(target.xid), ...exclusive];
    case 'name':
      return ['--target-name', target.name];
    case 'immediate':
      return ['--target', 'immediate'];
    case 'latest':
      return [];
  }
}
