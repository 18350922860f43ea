/** What a monitoring system is to make of a status: pure, by the thresholds of the config. */
import type { StatusConfig } from '../config/config.ts';
import { gapsOf, newestWindow, type ClusterStatus } from './cluster-status.ts';

/** Exit codes of the plugins of Nagios, Icinga and their kin. */
export const LEVELS = { ok: 0, warning: 1, critical: 2, unknown: 3 } as const;

export type Level = keyof typeof LEVELS;

export interface Judgement {
  readonly level: Level;
  /** Why, the worst first; empty when all is well. */
  readonly reasons: readonly string[];
  readonly metrics: readonly Metric[];
}

/** One value with its thresholds. */
export interface Metric {
  readonly name: string;
  readonly unit: 's' | 'B' | '';
  /** Undefined when it is not known. */
  readonly value: number | undefined;
  readonly warning?: number | undefined;
  readonly critical?: number | undefined;
}

type Reason = readonly [level: Level, text: string];

/** From the least to the worst: what is known to be bad is worse than what is not known. */
const ORDER: readonly Level[] = ['ok', 'unknown', 'warning', 'critical'];

/** Judges a status. `describe` puts seconds into words. */
export function judge(status: ClusterStatus, config: StatusConfig, describe: (seconds: number) => string): Judgement {
  const { map, system, lastBackup, archived, lag } = status;
  const metrics: Metric[] = [
    metric('backup_age', 's', lastBackup?.ageSeconds, config.backupWarning, config.backupCritical),
    metric('wal_age', 's', lag.seconds, config.walWarning, config.walCritical),
    { name: 'wal_lag', unit: 'B', value: lag.bytes },
  ];
  const reasons: Reason[] = map.failures.map(({ repository, error }) => [
    map.repositories.length === 0 ? 'unknown' : 'warning',
    `repository ${repository} could not be read: ${error.message}`,
  ]);
  if (map.repositories.length > 0) {
    reasons.push(...ageReasons('the newest good backup', metrics[0], describe));
    if (lastBackup === undefined) {
      const where = map.failures.length === 0 ? '' : ' in what could be read';
      reasons.push(['critical', `there is no backup that can be restored${where}`]);
    }
    reasons.push(...ageReasons('the last archived WAL', metrics[1], describe));
    for (const [what, age] of [
      ['the newest good backup', lastBackup],
      ['the last archived WAL', archived],
    ] as const)
      if (age !== undefined && age.ageSeconds === undefined)
        reasons.push(['unknown', `${what} seems to come from ${describe(age.aheadSeconds)} ahead: clocks differ`]);
    if (lag.bytes === undefined) reasons.push(['unknown', 'neither server nor receiver says how far the WAL goes']);
    const gaps = system === undefined ? [] : gapsOf(system);
    metrics.push({ name: 'gaps', unit: '', value: gaps.length });
    if (gaps.some(({ kind }) => kind === 'end'))
      reasons.push(['critical', 'the WAL behind the newest backup does not lead to its end']);
    if (gaps.some(({ kind }) => kind === 'between') && config.gaps !== 'ignore')
      reasons.push([config.gaps, 'WAL is missing between backups']);
    if (system !== undefined && lastBackup !== undefined && newestWindow(system) === undefined)
      reasons.push(['critical', `timeline ${system.latest}, which a restore follows, cannot be restored`]);
  }
  const sorted = reasons.toSorted(([one], [other]) => ORDER.indexOf(other) - ORDER.indexOf(one));
  return { level: sorted[0]?.[0] ?? 'ok', reasons: sorted.map(([, text]) => text), metrics };
}

function metric(
  name: string,
  unit: 's',
  value: number | undefined,
  warning: number | undefined,
  critical: number | undefined,
): Metric {
  return { name, unit, value, ...scaled('warning', warning), ...scaled('critical', critical) };
}

function scaled(name: 'warning' | 'critical', milliseconds: number | undefined): Partial<Metric> {
  return milliseconds === undefined ? {} : { [name]: milliseconds / 1000 };
}

function ageReasons(what: string, found: Metric | undefined, describe: (seconds: number) => string): readonly Reason[] {
  const { value, warning, critical } = found ?? {};
  if (value === undefined) return [];
  const text = `${what} is ${describe(value)} old`;
  if (critical !== undefined && value >= critical) return [['critical', text]];
  return warning !== undefined && value >= warning ? [['warning', text]] : [];
}

/** The values as plugins print them behind a bar: `backup_age=7200s;93600;180000`. What is not known is `U`. */
export function perfdata(metrics: readonly Metric[]): string {
  return metrics
    .map(({ name, unit, value, warning, critical }) => {
      const shown = value === undefined ? 'U' : `${value}${unit}`;
      const thresholds = warning === undefined && critical === undefined ? '' : `;${warning ?? ''};${critical ?? ''}`;
      return `${name}=${shown}${thresholds}`;
    })
    .join(' ');
}
