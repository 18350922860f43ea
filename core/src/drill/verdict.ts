/** Whose fault it is when a drill does not succeed: that of the backup, or that of the host it runs on. */
import { ArchiveError, errnoOf, isArchiveError, type ErrorCode } from '../contracts/errors.ts';

/** What the archive itself is at fault for. Everything else says nothing about the backup. */
const OF_THE_ARCHIVE: ReadonlySet<ErrorCode> = new Set([
  'RESTORE_UNREACHABLE',
  'BACKUP_CORRUPT',
  'CODEC_CORRUPT',
  'STORAGE_CORRUPT',
  // The record of the backup, or a listing, names the object.
  'STORAGE_NOT_FOUND',
  'REPOSITORY_FORMAT',
  'WAL_NOT_FOUND',
  'WAL_CONFLICT',
  'WAL_INVALID',
  'WAL_GAP',
  'TIMELINE_DIVERGED',
  'DRILL_FAILED',
]);

/** Why a drill ended without a proof. */
export interface DrillProblem {
  readonly outcome: 'failed' | 'inconclusive';
  readonly error: ArchiveError;
}

/** Judges an error. A cancelled drill and a fault of the program are no results: they are thrown. */
export function judge(error: unknown): DrillProblem {
  if (!isArchiveError(error) || error.code === 'ABORTED' || error.code === 'INTERNAL') throw error;
  return { outcome: OF_THE_ARCHIVE.has(error.code) ? 'failed' : 'inconclusive', error };
}

/** A line of the log of a server. */
export interface LogLine {
  /** `LOG`, `FATAL`, `PANIC`, `HINT`, ... */
  readonly severity: string;
  readonly sqlstate: string;
  readonly text: string;
}

/**
 * SQLSTATEs of what is lacking on this host: disk, memory and other resources (class 53), a failing disk, a statement or server that
 * somebody ended, a wrong setting of ours (PostgreSQL documentation: "PostgreSQL Error Codes").
 */
const OF_THE_HOST = /^(?:53...|58030|57014|57P0[1-5]|F0...|42501|55P02)$/;
/** Without a code of its own: a library, locale or resource manager that the host or this server lacks, or an outage of the storage. */
const LACKING =
  /could not access file|could not load library|locale is incompatible|locale .* does not exist|resource manager with ID \d+ not registered|from archive: child process|could not (?:map|create|resize) (?:anonymous )?shared memory|could not create (?:any )?.*(?:socket|lock file)/i;

/** The SQLSTATE of an error that a server reported; undefined for any other. */
export function sqlstateOf(error: unknown): string | undefined {
  const code = isArchiveError(error) ? error.details['sqlstate'] : errnoOf(error);
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) ? code : undefined;
}

/** Whether an error that a server reported is the fault of its host. */
export function isOfTheHost({ sqlstate, text }: Pick<LogLine, 'sqlstate' | 'text'>): boolean {
  return OF_THE_HOST.test(sqlstate) || LACKING.test(text);
}

/** Why a server ended by itself, read off its log. `signal` is what killed it, if that did. */
export function deathOf(log: readonly LogLine[], signal: string | undefined): ArchiveError {
  const fatal = log.filter(({ severity }) => severity === 'PANIC' || severity === 'FATAL');
  const [first] = fatal;
  if (first === undefined) {
    const last = log.at(-1)?.text ?? 'it said nothing';
    const how = signal === undefined ? 'ended' : `was killed by ${signal}`;
    return new ArchiveError('DRILL_INCONCLUSIVE', `the server of the drill ${how}: ${last}`, {
      hint: 'Somebody else ended it, or the system did for lack of memory. Run the drill again.',
    });
  }
  // What its restore_command wrote has no severity, and is the reason when that failed.
  const output = log.filter(({ severity, text }) => severity === 'OUTPUT' && /error: /.test(text)).at(-1)?.text;
  const failed = fatal.some(({ text }) => text.includes('from archive: '));
  const said = [...fatal.map(({ text }) => text), ...(failed && output !== undefined ? [output] : [])].join('; ');
  if (fatal.some(isOfTheHost)) return new ArchiveError('DRILL_INCONCLUSIVE', `the server of the drill ended: ${said}`);
  return new ArchiveError('DRILL_FAILED', `the restored server ended in recovery: ${said}`);
}
