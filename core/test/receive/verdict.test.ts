import { expect, test } from 'vitest';
import { ArchiveError, type ErrorCode } from '../../src/contracts/errors.ts';
import { canGoOn } from '../../src/receive/verdict.ts';

const said = (code: ErrorCode, options: { retriable?: boolean; sqlstate?: string } = {}): ArchiveError =>
  new ArchiveError(code, 'x', {
    ...(options.retriable !== undefined && { retriable: options.retriable }),
    details: { ...(options.sqlstate !== undefined && { sqlstate: options.sqlstate }) },
  });

test.each([
  // code, options, at a start, after streaming
  ['SERVER_UNREACHABLE', {}, true, true],
  ['SERVER_NO_MATCH', {}, true, true],
  ['SLOT_BUSY', {}, true, true],
  ['SPOOL_FULL', {}, true, true],
  ['STREAM_PROTOCOL', {}, true, true],
  ['SERVER_AUTH', {}, false, true],
  ['SERVER_TLS', {}, false, true],
  ['SERVER_ERROR', {}, false, true],
  ['SERVER_UNSUPPORTED', {}, false, false],
  ['SYSTEM_MISMATCH', {}, false, false],
  ['TIMELINE_DIVERGED', {}, false, false],
  ['TIMELINE_DIVERGED', { retriable: true }, true, true],
  ['WAL_GAP', { sqlstate: '58P01' }, true, true],
  ['WAL_GAP', {}, false, false],
  ['SLOT_INVALIDATED', { sqlstate: '55000' }, true, true],
  ['SLOT_MISSING', { sqlstate: '42704' }, true, true],
  ['SPOOL_INVALID', {}, false, false],
  ['INTERNAL', {}, false, false],
] as const)('%s %j: goes on at a start %s, after streaming %s', (code, options, atStart, later) => {
  expect(canGoOn(said(code, options), { streamed: false, createSlot: true })).toBe(atStart);
  expect(canGoOn(said(code, options), { streamed: true, createSlot: true })).toBe(later);
});

test('a slot that may not be made ends the receiver', () => {
  for (const code of ['SLOT_INVALIDATED', 'SLOT_MISSING'] as const) {
    expect(canGoOn(said(code, { sqlstate: '55000' }), { streamed: true, createSlot: false })).toBe(false);
  }
});
