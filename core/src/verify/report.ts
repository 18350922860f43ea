import { isArchiveError, type ArchiveError, type ErrorCode } from '../contracts/errors.ts';
import { NOTHING, type Finding, type Problem, type Skipped, type Unrestorable } from './finding.ts';

/** What was found out about one subject: a backup, or the WAL. */
export interface Checked {
  /** Objects that were read, or of which all was looked at that the level asks for, and their bytes as stored. */
  readonly objects: number;
  readonly bytes: number;
  /** The first of them. */
  readonly findings: readonly Finding[];
  readonly findingCount: number;
  /** The first of what could not be looked at. */
  readonly skipped: readonly Skipped[];
  readonly skippedCount: number;
  /** What is no fault, but worth a word. */
  readonly notes: readonly string[];
}

/** Codes that say that the bytes which were read are not those that were stored. */
const DAMAGED: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['STORAGE_CORRUPT', 'CODEC_CORRUPT']);
/** Codes that say what is wrong with the content. */
const INVALID: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['BACKUP_CORRUPT', 'WAL_INVALID', 'REPOSITORY_FORMAT']);

/** What an error says of the object that was read; undefined when it says nothing of it. */
export function problemOf(error: unknown): Problem | undefined {
  if (!isArchiveError(error)) return undefined;
  if (DAMAGED.has(error.code)) return 'damaged';
  if (INVALID.has(error.code)) return 'invalid';
  if (error.code === 'WAL_CONFLICT') return 'conflict';
  return error.code === 'STORAGE_NOT_FOUND' ? 'missing' : undefined;
}

/** Whether for want of a key or a codec an object could not be opened. */
export function isClosed(error: unknown): error is ArchiveError {
  return isArchiveError(error, 'CODEC_KEY') || isArchiveError(error, 'CODEC_UNKNOWN');
}

/**
 * Whether an error is no more than that of one object: what passes by itself, and was tried again long enough, is about the storage, and so
 * are an abort and a fault of the program.
 */
function isOfOne(error: unknown): error is ArchiveError {
  return isArchiveError(error) && !error.retriable && error.code !== 'ABORTED' && error.code !== 'INTERNAL';
}

/** Findings, and objects that were skipped, that are kept each: without a key all of a large archive is skipped. */
const KEPT = 1000;

/** Gathers what is found out about one subject. */
export class Report implements Checked {
  readonly findings: Finding[] = [];
  readonly skipped: Skipped[] = [];
  readonly notes: string[] = [];
  #objects = 0;
  #bytes = 0;
  #findingCount = 0;
  #skippedCount = 0;

  get findingCount(): number {
    return this.#findingCount;
  }

  get skippedCount(): number {
    return this.#skippedCount;
  }

  get objects(): number {
    return this.#objects;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** An object was looked at, with whatever result. */
  looked(bytes: number): void {
    this.#objects++;
    this.#bytes += bytes;
  }

  /** A listing was looked at. */
  lookedAll(objects: number, bytes: number): void {
    this.#objects += objects;
    this.#bytes += bytes;
  }

  found(
    key: string,
    problem: Problem,
    message: string,
    unrestorable: Unrestorable = NOTHING,
    more: Pick<Finding, 'stretch'> = {},
  ): void {
    this.#findingCount++;
    if (this.findings.length < KEPT) this.findings.push({ key, problem, message, unrestorable, ...more });
  }

  skip(key: string, { code, message }: ArchiveError, { backups }: Unrestorable = NOTHING): void {
    this.#skippedCount++;
    if (this.skipped.length < KEPT) this.skipped.push({ key, code, message, backups });
  }

  /** Takes over what was found about something that a backup needs. */
  adopt(findings: readonly Finding[], skipped: readonly Skipped[]): void {
    for (const { key, problem, message, unrestorable, stretch } of findings)
      this.found(key, problem, message, unrestorable, stretch === undefined ? {} : { stretch });
    this.#skippedCount += skipped.length;
    this.skipped.push(...skipped.slice(0, KEPT - this.skipped.length));
  }

  /** Takes back what was found: there is nothing any more of which it could be true. */
  withdraw(note: string): void {
    this.findings.length = 0;
    this.skipped.length = 0;
    this.#findingCount = 0;
    this.#skippedCount = 0;
    this.note(note);
  }

  /** A finding was mended, with a copy of this repository. */
  healed(key: string, repository: string): void {
    for (const [at, finding] of this.findings.entries())
      if (finding.key === key) this.findings[at] = { ...finding, healedFrom: repository };
  }

  note(text: string): void {
    if (!this.notes.includes(text)) this.notes.push(text);
  }

  /** Notes what an error says of an object: what is wrong with it, or that it could not be looked at. Throws one that is about more. */
  failed(key: string, error: unknown, unrestorable: Unrestorable = NOTHING): void {
    const problem = problemOf(error);
    if (problem !== undefined) this.found(key, problem, (error as ArchiveError).message, unrestorable);
    else if (isOfOne(error)) this.skip(key, error, unrestorable);
    else throw error;
  }
}
