/** The alert rules of the docs with shorter times and fewer bytes, so that a test sees in seconds what they see in hours. */
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';

const RULES = new URL('../../docs/monitoring/pgark.rules.yml', import.meta.url);

/** Of each rule what is replaced in its text: all places, and there has to be one. What a rule says beside that stays as it is. */
const SHORTENED: Readonly<Record<string, readonly (readonly [from: string, to: string])[]>> = {
  PgarkDown: [['for: 2m', 'for: 3s']],
  PgarkAbsent: [['for: 5m', 'for: 3s']],
  PgarkClusterInvalid: [['for: 1m', 'for: 3s']],
  PgarkLookStale: [
    ['> 600', '> 20'],
    ['[10m]', '[20s]'],
    ['for: 5m', 'for: 3s'],
  ],
  // A cluster that is begun anew has its parts again in a few seconds.
  PgarkPartDown: [['for: 10m', 'for: 10s']],
  PgarkPartRestarting: [['[30m]', '[20s]']],
  PgarkFault: [['[15m]', '[10s]']],
  PgarkReceiverDown: [['for: 5m', 'for: 10s']],
  PgarkReceiverStuck: [['for: 2m', 'for: 3s']],
  PgarkReceiverLagging: [
    ['> 900', '> 3'],
    ['64 * 1024 * 1024', '4 * 1024 * 1024'],
    ['for: 5m', 'for: 3s'],
  ],
  PgarkServerUnknown: [['for: 15m', 'for: 10s']],
  PgarkServerInDoubt: [['for: 15m', 'for: 3s']],
  PgarkWalNotArchived: [
    ['[15m]', '[15s]'],
    ['for: 5m', 'for: 3s'],
  ],
  PgarkRepositoryBehind: [
    ['1024 * 1024 * 1024', '48 * 1024 * 1024'],
    ['for: 15m', 'for: 3s'],
  ],
  PgarkWalGap: [['for: 5m', 'for: 3s']],
  PgarkWalHole: [['for: 5m', 'for: 3s']],
  // The guardian looks at what the repositories hold every twentieth time.
  PgarkRepositoryHole: [['for: 1h', 'for: 25s']],
  PgarkSlotLost: [['for: 2m', 'for: 3s']],
  PgarkSlotAtRisk: [['for: 1m', 'for: 3s']],
  PgarkSlotKeepsWal: [
    ['32 * 1024 * 1024 * 1024', '40 * 1024 * 1024'],
    ['for: 15m', 'for: 3s'],
  ],
  PgarkBackupTooOld: [['for: 5m', 'for: 3s']],
  PgarkNoBackup: [['for: 30m', 'for: 3s']],
  PgarkRepositoryBackupTooOld: [['for: 5m', 'for: 3s']],
  PgarkRepositoryWithoutBackup: [['for: 1d', 'for: 3s']],
  PgarkBackupFailed: [['for: 1m', 'for: 3s']],
  PgarkBackupUnusable: [['for: 10m', 'for: 3s']],
  PgarkNothingRestorable: [['for: 30m', 'for: 3s']],
  // The shortest window that a config takes is an hour: 20 seconds of it.
  PgarkRecoveryWindowShort: [
    ['(pgark_retention_window_seconds)', '(pgark_retention_window_seconds / 180)'],
    ['for: 1h', 'for: 3s'],
  ],
  PgarkVerifyIncomplete: [['for: 1h', 'for: 3s']],
  PgarkVerifyTooOld: [
    ['10 * 86400', '20'],
    ['for: 1h', 'for: 3s'],
  ],
  PgarkNeverVerified: [
    ['[1d]', '[10s]'],
    ['for: 10d', 'for: 3s'],
  ],
  PgarkDrillTooOld: [
    ['35 * 86400', '20'],
    ['for: 1h', 'for: 3s'],
  ],
  PgarkNeverDrilled: [
    ['[1d]', '[10s]'],
    ['for: 35d', 'for: 3s'],
  ],
  PgarkRepositoryUnreachable: [['for: 10m', 'for: 3s']],
  PgarkRepositoryNotWritten: [['for: 15m', 'for: 3s']],
  PgarkClocksDiffer: [['for: 15m', 'for: 3s']],
  PgarkStorageFailing: [
    ['[10m]', '[15s]'],
    ['for: 5m', 'for: 3s'],
  ],
  PgarkSpoolFilling: [
    ['2 * 1024 * 1024 * 1024', '16 * 1024 * 1024'],
    ['[1h]', '[10s]'],
    ['4 * 3600', '120'],
    ['for: 5m', 'for: 3s'],
  ],
  PgarkSpoolWaiting: [
    ['> 3600', '> 8'],
    ['for: 5m', 'for: 3s'],
  ],
  PgarkRunFailed: [['for: 1m', 'for: 3s']],
  PgarkRunTakesLong: [['> 86400', '> 8']],
  PgarkSchedulerWithoutHolder: [['for: 15m', 'for: 10s']],
  PgarkHookNotDelivering: [
    ['> 900', '> 8'],
    ['for: 5m', 'for: 3s'],
  ],
};

/** The names of the rules of a group, as the file has them. */
export function rulesOf(group: string): readonly string[] {
  const { groups } = parse(readFileSync(RULES, 'utf8')) as {
    readonly groups: readonly { readonly name: string; readonly rules: readonly { readonly alert: string }[] }[];
  };
  const found = groups.find(({ name }) => name === group);
  if (found === undefined) throw new Error(`there is no group ${group}`);
  return found.rules.map(({ alert }) => alert);
}

/** The text of the file, shortened. The rules of `own` keep their times. Throws for a row of the table that does not fit the file. */
export function shortenedRules(own: readonly string[] = []): string {
  const [head = '', ...blocks] = readFileSync(RULES, 'utf8').split(/^(?= +- alert: )/m);
  const left = new Set(Object.keys(SHORTENED));
  const shorter = blocks.map((block) => {
    const name = /- alert: (\w+)/.exec(block)?.[1] ?? '';
    left.delete(name);
    if (own.includes(name)) return block;
    return (SHORTENED[name] ?? []).reduce((text, [from, to]) => {
      if (!text.includes(from)) throw new Error(`rule ${name} has no "${from}" to be replaced`);
      return text.replaceAll(from, to);
    }, block);
  });
  if (left.size > 0) throw new Error(`there are no such rules: ${[...left].join(', ')}`);
  return [head, ...shorter].join('');
}
