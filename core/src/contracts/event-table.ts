/**
 * What every event means, how bad it is, and how it reads: the one table of the closed list `ArchiveEvents`.
 *
 * Hooks get severity, summary and condition with each event, so that they need to know no payload.
 */
import type { ArchiveEvent, ArchiveEvents, EventCondition, EventName, Severity } from './hook.ts';

/** One row of the table. */
export interface EventRow<Name extends EventName> {
  /** What has happened, one sentence for the reference. */
  readonly meaning: string;
  readonly severity: (data: ArchiveEvents[Name]) => Severity;
  /** One line for people, without the name of the cluster. */
  readonly summary: (data: ArchiveEvents[Name]) => string;
  /** The condition that it opens or closes. */
  readonly condition?: (data: ArchiveEvents[Name]) => EventCondition | undefined;
  /** It comes before the work that it announces, which a hook with the policy `fail` may refuse. */
  readonly isGate?: true;
  /** It is so frequent, and so little is lost with it, that it is not kept for a hook that cannot be told. */
  readonly isFleeting?: true;
  readonly example: ArchiveEvents[Name];
}

const INFO = (): Severity => 'info';
const WARNING = (): Severity => 'warning';
const CRITICAL = (): Severity => 'critical';

const opens = (key: string): EventCondition => ({ key, state: 'open' });
const closes = (key: string): EventCondition => ({ key, state: 'closed' });

/** States that say that WAL is lost, or is about to be. */
const LOSSES: ReadonlySet<string> = new Set([
  'HOLE',
  'SLOT_INVALIDATED',
  'SYSTEM_MISMATCH',
  'TIMELINE_DIVERGED',
  'WAL_CONFLICT',
  'WAL_GAP',
]);
/** States of the receiver in which it does what it is there for, or need not. */
const AT_WORK: ReadonlySet<string> = new Set(['streaming', 'standing-by']);

const isCalm = (state: string): boolean => state !== 'unknown' && state === state.toLowerCase();

function severityOfState({ state }: { readonly state: string }): Severity {
  if (isCalm(state)) return 'info';
  return LOSSES.has(state) ? 'critical' : 'warning';
}

/** What the guardian does not know, another one tells the reason of: one outage is one message. */
function severityOfWatch({ state }: { readonly state: string }): Severity {
  return state === 'unknown' ? 'info' : severityOfState({ state });
}

function conditionOfWatch(key: string, state: string): EventCondition | undefined {
  if (state === 'unknown') return undefined;
  return isCalm(state) ? closes(key) : opens(key);
}

/** A failure, unless somebody has asked for it. */
const severityOfFailure = ({ code }: { readonly code: string }): Severity => (code === 'ABORTED' ? 'info' : 'warning');

/** Commands whose failures have events of their own, which a run of them need not tell again. */
const TOLD_BY_THEMSELVES: ReadonlySet<string> = new Set(['backup', 'verify', 'drill']);

/** What failed is told by its own event where it has one: one failure is one message. A timeout is none of theirs. */
function severityOfRun({ kind, state, code }: ArchiveEvents['run.failed']): Severity {
  return state === 'failed' && TOLD_BY_THEMSELVES.has(kind) && code !== 'ABORTED' ? 'info' : 'warning';
}

/** Powers of 1000, as people read sizes of backups. */
function size(bytes: number): string {
  const power = Math.min(5, Math.floor(Math.log10(Math.max(bytes, 1)) / 3));
  const unit = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'][power] ?? 'B';
  return `${power === 0 ? bytes : (bytes / 1000 ** power).toFixed(1)} ${unit}`;
}

const count = (number: number, thing: string): string => `${number} ${thing}${number === 1 ? '' : 's'}`;

/** The table, in the order of the reference. */
export const EVENTS: { readonly [Name in EventName]: EventRow<Name> } = {
  'receive.connected': {
    meaning: 'The receiver streams from a server.',
    severity: INFO,
    summary: ({ host, timeline, lsn }) => `receiving from ${host}, timeline ${timeline} from ${lsn}`,
    condition: () => closes('receive'),
    example: { host: 'db1', timeline: 3, lsn: '1A/C4000000' },
  },
  'receive.disconnected': {
    meaning: 'The receiver has lost its stream, and tries again.',
    severity: WARNING,
    summary: ({ message }) => `receiving is interrupted: ${message}`,
    condition: () => opens('receive'),
    example: { code: 'SERVER_UNREACHABLE', message: 'db1:5432: connection refused' },
  },
  'receive.lag': {
    meaning: 'How far the receiver is behind the server has come above `receive.guardian.maxLag`, or below it again.',
    severity: severityOfWatch,
    summary: ({ message }) => message,
    condition: ({ state }) => conditionOfWatch('lag', state),
    example: { state: 'RECEIVER_LAGGING', message: 'the receiver is 3.2 GiB behind db1' },
  },
  'receive.stopped': {
    meaning: 'The receiver has ended as it was told to.',
    severity: INFO,
    summary: ({ lsn }) => `the receiver was stopped at ${lsn}`,
    example: { lsn: '1A/C5012340' },
  },
  'slot.state': {
    meaning: 'The replication slot keeps its WAL, may lose it, has lost it, or is not there.',
    severity: severityOfWatch,
    summary: ({ message }) => message,
    condition: ({ state }) => conditionOfWatch('slot', state),
    example: { state: 'AT_RISK', message: 'slot "pgark" on db1 loses its WAL after 412 MiB more' },
  },
  'wal.timeline': {
    meaning: 'A server was promoted: a timeline has ended and the next one follows.',
    severity: INFO,
    summary: ({ from, to, lsn }) => `timeline ${from} ended at ${lsn}, timeline ${to} follows`,
    example: { from: 3, to: 4, lsn: '1A/C5012340' },
  },
  'wal.shipped': {
    meaning: 'A file of WAL is in all repositories. Frequent: a hook that cannot be told misses it.',
    severity: INFO,
    summary: ({ file, bytes }) => `${file} is archived, ${size(bytes)}`,
    isFleeting: true,
    example: { file: '000000030000001A000000C4', bytes: 16_777_216 },
  },
  'wal.ship_failed': {
    meaning: 'WAL waits in the spool because a repository does not take it; it is tried again.',
    severity: ({ code }) => severityOfState({ state: code }),
    summary: ({ file, message }) => `${file} waits in the spool: ${message}`,
    condition: ({ repository }) => opens(`storage:${repository}`),
    example: {
      repository: 'offsite',
      file: '000000030000001A000000C4',
      code: 'STORAGE_UNAVAILABLE',
      message: 'repository offsite: the storage does not answer',
    },
  },
  'wal.conflict': {
    meaning: 'A repository holds a file of WAL of this name with another content: two servers share one archive.',
    severity: CRITICAL,
    summary: ({ file, message }) => `${file} is in conflict with the archive: ${message}`,
    condition: ({ repository }) => opens(`storage:${repository}`),
    example: {
      repository: 'offsite',
      file: '000000030000001A000000C4',
      message: '000000030000001A000000C4 is archived with other content',
    },
  },
  'wal.gap': {
    meaning:
      'WAL is lost: it is neither archived nor on the server. No backup before it can be rolled forward past it. ' +
      'A gate where `pgark wal-push` is about to let a segment go.',
    severity: CRITICAL,
    summary: ({ timeline, from, to, reason }) => `WAL is lost from ${from} to ${to} on timeline ${timeline}: ${reason}`,
    condition: () => opens('archive'),
    isGate: true,
    example: { timeline: 3, from: '1A/C4000000', to: '1A/C6000000', reason: 'the server has removed it' },
  },
  'wal.state': {
    meaning:
      'The state of the receiver has changed, or with `repository` that of shipping into it. States in capitals are codes of errors.',
    severity: severityOfState,
    summary: ({ message }) => message,
    condition: ({ state, repository }) => {
      // It stays until the archive is mended, which the guardian sees.
      if (state === 'REPOSITORY_BEHIND') return undefined;
      if (repository !== undefined)
        return state === 'shipping' ? closes(`storage:${repository}`) : opens(`storage:${repository}`);
      if (!isCalm(state)) return opens('receive');
      return AT_WORK.has(state) ? closes('receive') : undefined;
    },
    example: { state: 'SERVER_UNREACHABLE', message: 'db1:5432: connection refused' },
  },
  'storage.degraded': {
    meaning: 'A repository cannot be used by the receiver; WAL for it waits in the spool.',
    severity: WARNING,
    summary: ({ message }) => message,
    condition: ({ repository }) => opens(`storage:${repository}`),
    example: {
      repository: 'offsite',
      code: 'STORAGE_UNAVAILABLE',
      message: 'repository offsite: the storage does not answer',
    },
  },
  'storage.recovered': {
    meaning: 'A repository that could not be used works again.',
    severity: INFO,
    summary: ({ repository }) => `repository ${repository} works again`,
    condition: ({ repository }) => closes(`storage:${repository}`),
    example: { repository: 'offsite' },
  },
  'guardian.state': {
    meaning:
      'What the guardian knows of the `server`, the `leader` or the `archive` has changed. A state in small letters is a good one, but for `unknown`.',
    severity: ({ state, alone }) => (alone === true ? 'warning' : severityOfWatch({ state })),
    summary: ({ message }) => message,
    condition: ({ subject, state, alone }) => {
      // What a receiver sees that stands by does not say that a hole is closed.
      if (state === 'followed' || state === 'ARCHIVE_BEHIND') return conditionOfWatch('archive:followed', state);
      const key = subject === 'archive' ? 'archive' : `guardian:${subject}`;
      return alone === true ? opens(key) : conditionOfWatch(key, state);
    },
    example: {
      subject: 'archive',
      state: 'HOLE',
      message: 'WAL is missing: 2 segments from 1A/C4000000 on (repository offsite)',
    },
  },
  'guardian.acted': {
    meaning: 'The guardian has made a slot, closed a hole in a repository, or had a backup taken.',
    severity: INFO,
    summary: ({ message }) => message,
    example: { action: 'hole', message: 'repository offsite lacked 2 segments of WAL: brought 2 from repository near' },
  },
  'backup.started': {
    meaning: 'A base backup is about to be copied.',
    severity: INFO,
    summary: ({ id }) => `backup ${id} begins`,
    isGate: true,
    example: { id: '20261129T010203Z-3f9a' },
  },
  'backup.finished': {
    meaning:
      'A base backup is complete. `suspect`: the server found damaged pages in it. `behind` names repositories that do not have it.',
    severity: ({ suspect, behind }) => (suspect ? 'critical' : behind.length > 0 ? 'warning' : 'info'),
    summary: ({ id, bytes, suspect, behind }) =>
      `backup ${id} is complete, ${size(bytes)}` +
      (suspect ? ', but SUSPECT: the server found damaged pages' : '') +
      (behind.length > 0 ? `, but not in ${behind.join(', ')}` : ''),
    condition: ({ suspect, behind }) => (suspect || behind.length > 0 ? opens('backup') : closes('backup')),
    example: { id: '20261129T010203Z-3f9a', bytes: 4_210_000_000, suspect: false, behind: [] },
  },
  'backup.failed': {
    meaning: 'A base backup has failed. Earlier ones are as good as they were.',
    severity: severityOfFailure,
    summary: ({ id, message }) => `backup ${id} failed: ${message}`,
    condition: ({ code }) => (code === 'ABORTED' ? undefined : opens('backup')),
    example: {
      id: '20261129T010203Z-3f9a',
      code: 'STORAGE_FULL',
      message: 'repository primary: no space left on the storage',
    },
  },
  'expire.planned': {
    meaning: '`pgark expire --confirm` is about to remove this from a repository.',
    severity: INFO,
    summary: ({ repository, backups, bytes }) =>
      `${count(backups.length, 'backup')} and ${size(bytes)} are about to be removed from repository ${repository}`,
    isGate: true,
    example: { repository: 'primary', backups: ['20261101T010203Z-77c1'], bytes: 4_100_000_000 },
  },
  'expire.finished': {
    meaning: 'What was planned is removed. `locked` names backups that go later, as their objects are under a lock.',
    severity: INFO,
    summary: ({ repository, backups, locked, bytes }) =>
      `${count(backups.length, 'backup')} and ${size(bytes)} were removed from repository ${repository}` +
      (locked.length > 0 ? `; ${locked.length} more are locked` : ''),
    example: {
      repository: 'primary',
      backups: ['20261101T010203Z-77c1'],
      locked: [],
      objects: 412,
      bytes: 4_100_000_000,
    },
  },
  'restore.finished': {
    meaning: 'A data directory is restored, ready to be started.',
    severity: INFO,
    summary: ({ backup, directory }) => `backup ${backup} is restored into ${directory}`,
    example: { backup: '20261129T010203Z-3f9a', directory: '/srv/restored' },
  },
  'restore.failed': {
    meaning: 'A restore has failed; the same command resumes it.',
    severity: severityOfFailure,
    summary: ({ backup, directory, message }) => `restoring backup ${backup} into ${directory} failed: ${message}`,
    example: {
      backup: '20261129T010203Z-3f9a',
      directory: '/srv/restored',
      code: 'RESTORE_FAILED',
      message: 'cannot write /srv/restored/base/5/1259: no space left on device',
    },
  },
  'verify.finished': {
    meaning: 'A verification of a repository found everything in order.',
    severity: INFO,
    summary: ({ repository, level }) => `repository ${repository} is verified (${level})`,
    // A look at less than everything does not say that damage is mended.
    condition: ({ repository, whole }) => (whole ? closes(`verify:${repository}`) : undefined),
    example: { repository: 'primary', level: 'sample', whole: false },
  },
  'verify.failed': {
    meaning: 'A verification found damage, or could not look at everything: of that nothing is known.',
    severity: ({ outcome }) => (outcome === 'damaged' ? 'critical' : 'warning'),
    summary: ({ repository, message }) => `verifying repository ${repository}: ${message}`,
    condition: ({ repository, outcome }) => (outcome === 'damaged' ? opens(`verify:${repository}`) : undefined),
    example: {
      repository: 'primary',
      level: 'full',
      outcome: 'damaged',
      message: '1 object of backup 20261129T010203Z-3f9a is damaged',
    },
  },
  'drill.finished': {
    meaning: 'A backup is proven: it was restored up to `lsn` and passed all checks.',
    severity: INFO,
    summary: ({ backup, repository, lsn, seconds }) =>
      `backup ${backup} of repository ${repository} is proven up to ${lsn}, in ${Math.round(seconds)} s`,
    condition: ({ repository }) => closes(`drill:${repository}`),
    example: {
      backup: '20261129T010203Z-3f9a',
      repository: 'primary',
      target: 'latest',
      lsn: '1A/C5012340',
      seconds: 312.4,
    },
  },
  'drill.failed': {
    meaning:
      'A drill did not prove its backup. `inconclusive`: the host of the drill is at fault, and nothing is known.',
    severity: ({ outcome }) => (outcome === 'failed' ? 'critical' : 'warning'),
    summary: ({ backup, repository, outcome, message }) =>
      `${backup === '' ? 'a backup' : `backup ${backup}`} of repository ${repository} ${outcome === 'failed' ? 'is not proven' : 'could not be tried'}: ${message}`,
    condition: ({ repository }) => opens(`drill:${repository}`),
    example: {
      backup: '20261129T010203Z-3f9a',
      repository: 'primary',
      outcome: 'failed',
      message: 'amcheck found damage in index pg_class_oid_index',
    },
  },
  'key.unreadable': {
    meaning: '`pgark check` or `pgark keys` found that no key at hand opens what a repository holds.',
    severity: CRITICAL,
    summary: ({ repository, message }) => `repository ${repository} cannot be read with the keys at hand: ${message}`,
    condition: ({ repository, scope }) => opens(`keys:${repository}:${scope}`),
    example: {
      repository: 'primary',
      scope: 'newest',
      message: 'backup 20261129T010203Z-3f9a: no identity matches a recipient',
    },
  },
  'key.readable': {
    meaning: '`pgark check` or `pgark keys` found that the keys at hand open what a repository holds.',
    severity: INFO,
    summary: ({ repository }) => `the keys at hand open what repository ${repository} holds`,
    condition: ({ repository, scope }) => closes(`keys:${repository}:${scope}`),
    example: { repository: 'primary', scope: 'newest' },
  },
  'run.finished': {
    meaning: 'A run of a job of `pgark run` has done what it is there for.',
    severity: INFO,
    summary: ({ run, message }) => `run ${run} is done: ${message}`,
    condition: ({ job }) => closes(`run:${job}`),
    example: {
      run: 'nightly-20261129T010000000Z',
      job: 'nightly',
      kind: 'backup',
      message: 'backup 20261129T010203Z-3f9a, 4.2 GB',
    },
  },
  'run.failed': {
    meaning:
      'A run of a job of `pgark run` has failed, was interrupted by the end of its daemon, or did not begin although it was due. ' +
      'A failed backup, verification or drill is told by its own event, and this one is `info` then.',
    severity: severityOfRun,
    summary: ({ run, state, message }) =>
      `run ${run} ${state === 'failed' ? 'failed' : state === 'skipped' ? 'did not begin' : 'was interrupted'}: ${message}`,
    condition: ({ job }) => opens(`run:${job}`),
    example: {
      run: 'weekly-check-20261129T010000000Z',
      job: 'weekly-check',
      kind: 'check',
      state: 'failed',
      code: 'CHECK_FAILED',
      message: '1 of 21 checks failed (server: slot)',
    },
  },
  'hook.dropped': {
    meaning:
      'So much had to wait for this hook that some of it was dropped. Told to the hook itself, once it can be told again.',
    severity: WARNING,
    summary: ({ count: dropped, since, until }) =>
      `${count(dropped, 'event')} could not be told and were dropped, from ${new Date(since).toISOString()} to ${new Date(until).toISOString()}`,
    example: { count: 1200, since: Date.UTC(2026, 10, 29, 1, 2, 3), until: Date.UTC(2026, 10, 29, 3, 2, 3) },
  },
};

/** The names of the closed list. */
export const EVENT_NAMES: readonly EventName[] = Object.keys(EVENTS) as EventName[];

/** Whether an event comes before the work that it announces, which a hook may refuse. */
export function isGate(name: EventName): boolean {
  return EVENTS[name].isGate === true;
}

/** What is known of an event beside its name and data. */
export type EventOrigin = Pick<ArchiveEvent, 'id' | 'time' | 'cluster' | 'host'>;

/** Makes an event as hooks get it: its severity, summary and condition are those of the table. */
export function makeEvent<Name extends EventName>(
  name: Name,
  data: ArchiveEvents[Name],
  { id, time, cluster, host }: EventOrigin,
): ArchiveEvent<Name> {
  const row: EventRow<Name> = EVENTS[name];
  const condition = row.condition?.(data);
  // Text of servers and storages may have several lines.
  const summary = row.summary(data).replaceAll(/\s+/g, ' ').trim();
  const severity = row.severity(data);
  return { id, name, time, cluster, host, severity, summary, ...(condition !== undefined && { condition }), data };
}

/** An example of an event, for the reference and for tests of hooks. */
export function exampleEvent<Name extends EventName>(
  name: Name,
  origin: Partial<EventOrigin> = {},
): ArchiveEvent<Name> {
  return makeEvent(name, EVENTS[name].example, {
    id: '0b7e9a54-6f0c-4d0e-9d53-6a3f5c1d2e4f',
    time: Date.UTC(2026, 10, 29, 1, 2, 3),
    cluster: 'main',
    host: 'backup1',
    ...origin,
  });
}
