/**
 * Every error that pgark throws on purpose is an {@link ArchiveError} with a code of this table.
 *
 * The table is the single source for the exit code of a command, for whether a retry can help, and for the
 * hint that is printed when the place that throws knows none better. Codes are never renamed and never reused.
 */
import { TABLE } from './error-table.ts';

/** One row of the error table. */
export interface ErrorRow {
  /** What the code means, one sentence for the reference. */
  readonly meaning: string;
  /** Whether trying the same call again later may succeed. */
  readonly retriable: boolean;
  /** The exit code of a command that ends with this error (`docs/reference/exit-codes.md`). */
  readonly exitCode: number;
  /** What the operator should do, unless the thrower says something more exact. */
  readonly hint: string;
}

/** A code of the error table. */
export type ErrorCode = keyof typeof TABLE;

/** The error table, by code. */
export const ERRORS: Readonly<Record<ErrorCode, ErrorRow>> = Object.freeze(
  Object.fromEntries(
    Object.entries(TABLE).map(([code, [meaning, retriable, exitCode, hint]]) => [
      code,
      { meaning, retriable, exitCode, hint },
    ]),
  ) as Record<ErrorCode, ErrorRow>,
);

/** What one can tell about an error beside its code. */
export interface ArchiveErrorOptions {
  /** A sentence that says what to do; by default that of the table. */
  readonly hint?: string;
  /** The error that led to this one. */
  readonly cause?: unknown;
  /** Overrides the table, decided where the error is born. */
  readonly retriable?: boolean;
  /** Facts for programs; shown by `--json`. Never a secret. */
  readonly details?: Readonly<Record<string, unknown>>;
}

const BRAND = Symbol.for('pgark.ArchiveError');

/**
 * An error with a code of the table {@link ERRORS}.
 *
 * The message is lower case, has no final stop and names the object. Recognise it with {@link isArchiveError}:
 * a plugin may carry its own copy of this class, so `instanceof` says nothing.
 */
export class ArchiveError extends Error {
  override readonly name: string = 'ArchiveError';
  readonly code: ErrorCode;
  readonly hint: string;
  readonly retriable: boolean;
  readonly exitCode: number;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: ArchiveErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint ?? ERRORS[code].hint;
    this.retriable = options.retriable ?? ERRORS[code].retriable;
    this.exitCode = ERRORS[code].exitCode;
    this.details = options.details ?? {};
    Object.defineProperty(this, BRAND, { value: true });
  }
}

/** Whether `error` is an {@link ArchiveError} (of any copy of this module), with `code` if one is given. */
export function isArchiveError(error: unknown, code?: ErrorCode): error is ArchiveError {
  if (typeof error !== 'object' || error === null || (error as Record<symbol, unknown>)[BRAND] !== true) return false;
  return code === undefined || (error as ArchiveError).code === code;
}

/** The errno of a system error (`ENOENT`, ...), or undefined. */
export function errnoOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null | undefined)?.code;
  return typeof code === 'string' ? code : undefined;
}

/** Throws `ABORTED` when the signal has fired. */
export function throwIfAborted(signal: AbortSignal | undefined, what: string): void {
  if (signal?.aborted) throw new ArchiveError('ABORTED', `${what} was cancelled`, { cause: signal.reason });
}
