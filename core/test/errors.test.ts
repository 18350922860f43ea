import { describe, expect, test } from 'vitest';
import {
  ArchiveError,
  ERRORS,
  errnoOf,
  isArchiveError,
  throwIfAborted,
  type ErrorCode,
} from '../src/contracts/errors.ts';

const codes = Object.keys(ERRORS) as ErrorCode[];

describe('the error table', () => {
  test.each(codes)('%s has a code, a meaning and a hint of the agreed form', (code) => {
    const { meaning, hint, exitCode, retriable } = ERRORS[code];
    expect(code).toMatch(/^[A-Z]+(?:_[A-Z]+)*$/);
    expect(meaning).toMatch(/^(?:[a-z]|WAL|PostgreSQL|TLS).*[^.]$/);
    expect(hint).toMatch(/^(?:[A-Z]|pgark ).*\.$/);
    expect([1, 2, 3, 4]).toContain(exitCode);
    // What a retry can mend are the surroundings, never the data, the command or the config.
    if (retriable) expect(exitCode).toBe(2);
  });

  test('is frozen', () => {
    expect(Object.isFrozen(ERRORS)).toBe(true);
  });
});

describe('ArchiveError', () => {
  test('takes from the table what the thrower does not say', () => {
    const plain = new ArchiveError('STORAGE_UNAVAILABLE', 'cannot reach it');
    expect(plain).toMatchObject({ hint: ERRORS.STORAGE_UNAVAILABLE.hint, retriable: true, exitCode: 2, details: {} });
    const own = new ArchiveError('STORAGE_UNAVAILABLE', 'x', {
      hint: 'Do.',
      retriable: false,
      details: { a: 1 },
      cause: plain,
    });
    expect(own).toMatchObject({ hint: 'Do.', retriable: false, exitCode: 2, details: { a: 1 }, cause: plain });
  });

  test('is recognised by its brand, not by its class or its text', () => {
    const error = new ArchiveError('ABORTED', 'x');
    expect(isArchiveError(error)).toBe(true);
    expect(isArchiveError(error, 'ABORTED')).toBe(true);
    expect(isArchiveError(error, 'USAGE')).toBe(false);
    expect(isArchiveError({ [Symbol.for('pgark.ArchiveError')]: true, code: 'ABORTED' })).toBe(true);
    for (const other of [new Error('x'), { code: 'ABORTED', name: 'ArchiveError' }, 'ABORTED', undefined, null]) {
      expect(isArchiveError(other)).toBe(false);
    }
  });

  test('helpers', () => {
    expect(errnoOf(Object.assign(new Error('x'), { code: 'ENOENT' }))).toBe('ENOENT');
    expect(errnoOf(new Error('x'))).toBeUndefined();
    expect(errnoOf(undefined)).toBeUndefined();
    const reason = new Error('why');
    expect(() => throwIfAborted(AbortSignal.abort(reason), 'reading')).toThrow(
      expect.objectContaining({ code: 'ABORTED', message: 'reading was cancelled', cause: reason }),
    );
    throwIfAborted(new AbortController().signal, 'reading');
    throwIfAborted(undefined, 'reading');
  });
});
