import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseTarget, parseTimeline } from '../../src/restore/target.ts';
import { formatMoment, parseMoment } from '../../src/restore/time-text.ts';

const now = Date.parse('2026-11-21T06:00:00Z');
const read = (text: string): string => formatMoment(parseMoment(text, { now, hostZone: 'Europe/Berlin' }));

describe('times', () => {
  test.each([
    ['2026-11-21T06:00:00Z', '2026-11-21 06:00:00+00'],
    ['2026-11-21 06:00:00+02', '2026-11-21 04:00:00+00'],
    ['2026-11-21 06:00:00.5+02', '2026-11-21 04:00:00.5+00'],
    ['2026-11-21 06:00:00.123456-0530', '2026-11-21 11:30:00.123456+00'],
    ['2026-11-21 06:00:00.1234567+05:30', '2026-11-21 00:30:00.123456+00'],
    ['2026-11-21 06:00 UTC', '2026-11-21 06:00:00+00'],
    ['2026-11-21 6:00 Europe/Berlin', '2026-11-21 05:00:00+00'],
    ['2026-07-01 06:00:00 Europe/Berlin', '2026-07-01 04:00:00+00'],
    ['2026-07-01 06:00:00 America/Argentina/Buenos_Aires', '2026-07-01 09:00:00+00'],
    ['5 minutes ago', '2026-11-21 05:55:00+00'],
    ['2h ago', '2026-11-21 04:00:00+00'],
    ['1 day 2 hours ago', '2026-11-20 04:00:00+00'],
    ['1h30m ago', '2026-11-21 04:30:00+00'],
    ['90 secs ago', '2026-11-21 05:58:30+00'],
  ])('%s is %s', (text, expected) => {
    expect(read(text)).toBe(expected);
  });

  test('H-38 a time without a zone is refused with both readings', () => {
    expect(() => read('2026-11-21 06:00:00')).toThrowError(
      /2026-11-21 06:00:00\+00 in UTC, and 2026-11-21 05:00:00\+00 if Europe\/Berlin/,
    );
  });

  test.each([
    '900000000 weeks ago',
    '3000000 weeks ago',
    `${'9'.repeat(90)} s ago`,
    `${'9'.repeat(400)} s ago`,
    '9999-12-31 23:59:59-15',
  ])('%s has no year of four digits: it is no moment', (text) => {
    expect(() => read(text)).toThrowError(expect.objectContaining({ code: 'USAGE' }));
  });

  test('a moment before 1970 is written like any other', () => {
    expect(formatMoment(-1n)).toBe('1969-12-31 23:59:59.999999+00');
    expect(read('1969-07-20 20:17:40.25Z')).toBe('1969-07-20 20:17:40.25+00');
  });

  test('a local time that exists twice or never is refused', () => {
    expect(() => read('2026-10-25 02:30 Europe/Berlin')).toThrowError(
      /2026-10-25 00:30:00\+00 and 2026-10-25 01:30:00\+00/,
    );
    expect(() => read('2026-03-29 02:30 Europe/Berlin')).toThrowError(/skip/);
  });

  test.each([
    '',
    'yesterday',
    '2026-02-31 06:00Z',
    '2026-11-21',
    '2026-11-21 25:00Z',
    '2026-11-21 06:00 CEST',
    'ago',
    '5 ago',
    '2026-11-21 06:00+25',
    '2026-11-21 06:00 Mars/Olympus',
  ])('"%s" is no time', (text) => {
    expect(() => read(text)).toThrowError(expect.objectContaining({ code: 'USAGE' }));
  });

  test('what is printed is read as the same moment, to the microsecond', () => {
    fc.assert(
      fc.property(fc.bigInt(0n, 4_000_000_000_000_000n), (micros) => parseMoment(formatMoment(micros)) === micros),
    );
  });
});

describe('targets', () => {
  test('nothing given means the end of the archive', () => {
    expect(parseTarget({})).toEqual({ kind: 'latest' });
  });

  test('each kind is read', () => {
    expect(parseTarget({ target: 'immediate' })).toEqual({ kind: 'immediate' });
    expect(parseTarget({ lsn: '0/3000028', exclusive: true })).toEqual({
      kind: 'lsn',
      lsn: 0x3000028n,
      exclusive: true,
    });
    expect(parseTarget({ xid: '4294967999' })).toEqual({ kind: 'xid', xid: 4294967999n, exclusive: false });
    expect(parseTarget({ name: 'before upgrade' })).toEqual({ kind: 'name', name: 'before upgrade' });
  });

  test.each([
    [{ time: '5 min ago', lsn: '0/1' }],
    [{ target: 'newest' }],
    [{ target: 'latest', exclusive: true }],
    [{ name: 'x'.repeat(64) }],
    [{ name: '' }],
    [{ xid: '0' }],
    [{ xid: 'abc' }],
    [{ lsn: '12' }],
  ])('%o is refused', (input) => {
    expect(() => parseTarget(input)).toThrowError(expect.objectContaining({ code: 'USAGE' }));
  });

  test('timelines are numbers or words', () => {
    expect(['latest', 'current', '3', '0x1A'].map(parseTimeline)).toEqual(['latest', 'current', 3, 26]);
    for (const text of ['0', '-1', 'newest', '99999999999', ''])
      expect(() => parseTimeline(text)).toThrowError(expect.objectContaining({ code: 'USAGE' }));
  });
});
