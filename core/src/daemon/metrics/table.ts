/**
 * The one table of metrics. The families that the daemon gives and `docs/reference/metrics.md` are made of it.
 *
 * A name says its unit, and is never used for something else later. A series whose value is not known is absent, never 0 and never old.
 */
import { ARCHIVE_TABLE } from './table-archive.ts';
import { STREAM_TABLE } from './table-stream.ts';
import { PROCESS_TABLE, WORK_TABLE } from './table-work.ts';

/** One row of the table. */
export interface MetricRow {
  readonly type: 'counter' | 'gauge' | 'histogram';
  /** `timestamp`: seconds since 1970. Empty: a number of things, a state (0 or 1). */
  readonly unit: '' | 'seconds' | 'bytes' | 'timestamp';
  readonly labels: readonly MetricLabel[];
  /** One or two sentences. */
  readonly help: string;
  /** When it has no series. */
  readonly absent: string;
}

/** What a series may be told by: each has few values, whatever the archive holds. */
export const METRIC_LABELS = {
  cluster: 'name of the cluster in the config',
  repository: 'name of the repository in the config',
  operation: '`put`, `get`, `stat`, `list`, `remove`, `retain`, `step`',
  outcome: 'how it ended; the values stand with the metric',
  direction: '`sent`, `received`',
  level:
    'of a verification: `chain`, `sample`, `full`; of a status and its thresholds: `ok`, `warning`, `critical`, `unknown`',
  type: 'of a backup: `full`',
  kind: 'of a size: `raw`, `stored`; of a gap: `between`, `end`; of a job: what it does, such as `backup`',
  state: 'the values stand with the metric',
  subject: '`backup`, `wal`',
  phase: 'of a drill: `plan`, `wal`, `restore`, `recovery`, `checks`',
  part: '`receiver`, `scheduler`, `wal-server`',
  job: 'name of a job of the config, or the kind of what was asked for by hand',
  hook: 'name of the hook in the config',
  event: 'name of an [event](events.md)',
  condition: 'such as `receive`, `backup`, `storage:offsite`',
  version: 'of pgark',
  node: 'version of Node',
  host: 'name of the host',
} as const;

export type MetricLabel = keyof typeof METRIC_LABELS;

type Tables = typeof STREAM_TABLE & typeof ARCHIVE_TABLE & typeof WORK_TABLE & typeof PROCESS_TABLE;

/** A name of the table. */
export type MetricName = keyof Tables;

/** The names of the metrics of one type. */
export type NameOf<Type extends MetricRow['type']> = {
  [Name in MetricName]: Tables[Name][0] extends Type ? Name : never;
}[MetricName];

/** `[type, unit, labels, what must be known, help, when it has no series although that is known]` */
type Row = readonly [
  MetricRow['type'],
  MetricRow['unit'],
  readonly Exclude<MetricLabel, 'cluster'>[],
  keyof typeof UNKNOWN,
  string,
  string,
];

/** What a value is taken from, and when that says nothing. */
const UNKNOWN = {
  '': [],
  look: [],
  receiver: ['no receiver runs on this host'],
  server: ['the server could not be asked'],
  repository: ['the repository could not be read'],
  archive: ['no repository could be read'],
} as const;

function rowsOf(table: Readonly<Record<string, Row>>, before: readonly MetricLabel[]): readonly [string, MetricRow][] {
  return Object.entries(table).map(([name, [type, unit, labels, needs, help, absent]]) => {
    const reasons = [absent, ...UNKNOWN[needs], needs === '' ? '' : 'the last look is too old'];
    const when = reasons.filter((reason) => reason !== '').join('; ') || 'never';
    return [name, { type, unit, labels: [...before, ...labels], help, absent: when }];
  });
}

/** The subjects of the reference, and the rows of each. */
export const METRIC_SUBJECTS: Readonly<Record<string, readonly (readonly [string, MetricRow])[]>> = {
  'Server, receiver, spool': rowsOf(STREAM_TABLE, ['cluster']),
  Archive: rowsOf(ARCHIVE_TABLE, ['cluster']),
  'Parts, jobs, hooks': rowsOf(WORK_TABLE, ['cluster']),
  Process: rowsOf(PROCESS_TABLE, []),
};

/** The table, by name. */
export const METRICS: Readonly<Record<MetricName, MetricRow>> = Object.freeze(
  Object.fromEntries(Object.values(METRIC_SUBJECTS).flat()) as Record<MetricName, MetricRow>,
);
