/** What a restored cluster is told in `postgresql.auto.conf`. */
import { formatLsn } from '../postgres/lsn.ts';
import type { RestorePlan } from './plan-types.ts';
import { settingValue } from './quoting.ts';
import { formatMoment } from './time-text.ts';

export type Setting = readonly [name: string, value: string];

const BEGIN = '# >>> pgark restore: written by the last restore, replaced by the next one';
const END = '# <<< pgark restore';
/** Targets that are left from elsewhere: PostgreSQL refuses to start with two. */
const LEFTOVER = /^[ \t]*recovery_target(?:_[a-z]+)?\b/i;
const DISABLED = '# disabled by pgark restore: ';

/**
 * The settings for a plan, in the order in which they are shown and written.
 *
 * Beside the recovery they keep a copy of a cluster from acting as the original: it does not archive, does not run clean-up commands
 * on the original's archive, and does not wait for the original's synchronous standbys.
 */
export function recoverySettings(
  plan: RestorePlan,
  options: { readonly restoreCommand: string; readonly primaryConninfo?: string | undefined },
): readonly Setting[] {
  const settings: Setting[] = [
    ['restore_command', options.restoreCommand],
    ['archive_mode', 'off'],
    ['archive_cleanup_command', ''],
    ['recovery_end_command', ''],
  ];
  if (plan.standby) {
    settings.push(
      ['recovery_target_timeline', 'latest'],
      ['primary_slot_name', ''],
      // A backup of a standby, or of a server that once was one, names a primary of its own.
      ['primary_conninfo', options.primaryConninfo ?? ''],
    );
    return settings;
  }
  settings.push(
    ['synchronous_standby_names', ''],
    // A number is refused without its history file: the backup's own timeline needs none.
    ['recovery_target_timeline', plan.historyMissing ? 'current' : String(plan.timeline)],
    ...target(plan),
    // A server that reads ahead asks for segments behind the target, and ends when it cannot have one that is archived.
    ...(plan.wal.isDoubtful ? [['recovery_prefetch', 'off'] as const] : []),
  );
  return settings;
}

function target({ target, action }: RestorePlan): readonly Setting[] {
  const inclusive = (exclusive: boolean): Setting => ['recovery_target_inclusive', exclusive ? 'false' : 'true'];
  const end: Setting = ['recovery_target_action', action];
  switch (target.kind) {
    case 'latest':
      return [];
    case 'immediate':
      return [['recovery_target', 'immediate'], end];
    case 'time':
      return [['recovery_target_time', formatMoment(target.micros)], inclusive(target.exclusive), end];
    case 'lsn':
      return [['recovery_target_lsn', formatLsn(target.lsn)], inclusive(target.exclusive), end];
    case 'xid':
      return [['recovery_target_xid', String(target.xid)], inclusive(target.exclusive), end];
    case 'name':
      return [['recovery_target_name', target.name], end];
  }
}

/** Takes the block of an earlier restore and foreign recovery targets out of a configuration file, and adds the block of this one. */
export function withSettings(content: string, settings: readonly Setting[]): string {
  const lines: string[] = [];
  let inside = false;
  for (const line of content.split('\n')) {
    if (line === BEGIN) inside = true;
    else if (line === END) inside = false;
    else if (!inside) lines.push(LEFTOVER.test(line) ? DISABLED + line : line);
  }
  const kept = lines.join('\n').replace(/\n+$/, '');
  const block = [BEGIN, ...settings.map(([name, value]) => `${name} = ${settingValue(value)}`), END];
  return `${kept === '' ? '' : `${kept}\n`}${block.join('\n')}\n`;
}
