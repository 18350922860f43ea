import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatLsn, parseLsn } from '../../src/postgres/lsn.ts';
import { ancestry, parseHistory } from '../../src/postgres/timeline.ts';
import {
  historyName,
  isSegmentSize,
  lastSegmentNumber,
  parseWalFileName,
  readSegmentHeader,
  segmentName,
  segmentNumber,
  segmentNumberOf,
  segmentStart,
} from '../../src/postgres/wal-file.ts';
import { failure } from './failure.ts';

const MB = 1024 * 1024;
const lsn = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const segmentSize = fc.integer({ min: 0, max: 10 }).map((power) => MB * 2 ** power);

describe('an LSN', () => {
  test('is read as it is written', () => {
    expect(parseLsn('16/B374D848')).toBe(0x16b374d848n);
    expect(formatLsn(0x16b374d848n)).toBe('16/B374D848');
    expect(formatLsn(0n)).toBe('0/0');
    expect(parseLsn('0/0000A0B8')).toBe(0xa0b8n); // as 19 prints it
    fc.assert(
      fc.property(lsn, (value) => {
        expect(parseLsn(formatLsn(value))).toBe(value);
      }),
    );
  });

  test.each(['', '16', '16/', '/1', '16/B374D848 x', '1234567890/0', '0/G', '-1/0'])('is not %j', (text) => {
    expect(failure(() => parseLsn(text)).code).toBe('USAGE');
  });
});

describe('a segment name', () => {
  test('is that of pg_walfile_name', () => {
    expect(segmentName(1, segmentNumber(parseLsn('0/16B374D8'), 16 * MB), 16 * MB)).toBe('000000010000000000000016');
    expect(segmentName(0x1f, segmentNumber(parseLsn('A/FE000000'), 16 * MB), 16 * MB)).toBe('0000001F0000000A000000FE');
    expect(segmentName(1, segmentNumber(parseLsn('A/FE000000'), MB), MB)).toBe('000000010000000A00000FE0');
    expect(segmentName(1, segmentNumber(parseLsn('A/FE000000'), 1024 * MB), 1024 * MB)).toBe(
      '000000010000000A00000003',
    );
  });

  test('leads back to its segment, whatever the size', () => {
    fc.assert(
      fc.property(lsn, segmentSize, fc.integer({ min: 1, max: 0xffffffff }), (position, size, timeline) => {
        const number = segmentNumber(position, size);
        const file = parseWalFileName(segmentName(timeline, number, size));
        expect(file).toMatchObject({ kind: 'segment', timeline });
        if (file?.kind !== 'segment') throw new Error('no segment');
        expect(segmentNumberOf(file, size)).toBe(number);
        expect(segmentStart(position, size)).toBe(number * BigInt(size));
      }),
    );
  });

  test('H-31 the last segment needed up to a border is the one before', () => {
    expect(lastSegmentNumber(parseLsn('0/3000000'), 16 * MB)).toBe(2n);
    expect(lastSegmentNumber(parseLsn('0/3000001'), 16 * MB)).toBe(3n);
    expect(segmentNumber(parseLsn('0/3000000'), 16 * MB)).toBe(3n);
  });

  test('the kinds of files', () => {
    expect(parseWalFileName('000000010000000A000000FE.partial')).toMatchObject({
      kind: 'partial',
      log: 10,
      index: 254,
    });
    expect(parseWalFileName('000000010000000A000000FE.00000028.backup')).toMatchObject({
      kind: 'backup',
      offset: 0x28,
    });
    expect(parseWalFileName(historyName(31))).toEqual({ kind: 'history', name: '0000001F.history', timeline: 31 });
    for (const name of ['', '000000010000000A000000F', '000000000000000A000000FE', '000000010000000a000000fe', '../x'])
      expect(parseWalFileName(name)).toBeUndefined();
    for (const suffix of ['\n', '.gz', '.partial.gz', '/x'])
      expect(parseWalFileName(`000000010000000A000000FE${suffix}`)).toBeUndefined();
  });

  test('sizes', () => {
    for (const size of [0, MB / 2, 3 * MB, 2048 * MB, 1.5 * MB]) expect(isSegmentSize(size)).toBe(false);
    for (const size of [MB, 16 * MB, 1024 * MB]) expect(isSegmentSize(size)).toBe(true);
  });
});

describe('the header of a segment', () => {
  const header = Buffer.alloc(40);
  header.writeUInt16LE(0xd118, 0);
  header.writeUInt16LE(2, 2);
  header.writeUInt32LE(3, 4);
  header.writeBigUInt64LE(0x1000000n, 8);
  header.writeBigUInt64LE(7710493345181022616n, 24);
  header.writeUInt32LE(16 * MB, 32);
  header.writeUInt32LE(8192, 36);

  test('says what it says, without losing a digit', () => {
    expect(readSegmentHeader(header, 'x')).toEqual({
      magic: 0xd118,
      timeline: 3,
      pageAddress: 0x1000000n,
      systemId: '7710493345181022616',
      segmentSize: 16 * MB,
      pageSize: 8192,
    });
  });

  test('is refused when it is none', () => {
    const short = Buffer.from(header);
    short.writeUInt16LE(0, 2);
    for (const bytes of [header.subarray(0, 39), Buffer.alloc(40), short]) {
      const error = failure(() => readSegmentHeader(bytes, '000000010000000000000001'));
      expect(error.code).toBe('WAL_INVALID');
      expect(error.message).toContain('000000010000000000000001');
    }
  });
});

describe('a timeline history', () => {
  const content = Buffer.from('1\t0/100017C8\tno recovery target specified\n\n# note\n3\t0/2000000\tbefore 2026\n');

  test('lists the ancestors', () => {
    const history = parseHistory(content, '00000004.history');
    expect(history).toEqual([
      { timeline: 1, end: 0x100017c8n, reason: 'no recovery target specified' },
      { timeline: 3, end: 0x2000000n, reason: 'before 2026' },
    ]);
    expect(ancestry(4, history)).toEqual([
      { timeline: 1, start: 0n, end: 0x100017c8n },
      { timeline: 3, start: 0x100017c8n, end: 0x2000000n },
      { timeline: 4, start: 0x2000000n, end: undefined },
    ]);
    expect(ancestry(1, [])).toEqual([{ timeline: 1, start: 0n, end: undefined }]);
  });

  test.each(['x\n', '1\tzero\n', '2\t0/1\ta\n1\t0/2\tb\n', '2\t0/1\ta\n2\t0/2\tb\n'])('is not %j', (text) => {
    expect(failure(() => parseHistory(Buffer.from(text), '00000002.history'))).toMatchObject({ code: 'WAL_INVALID' });
  });
});
