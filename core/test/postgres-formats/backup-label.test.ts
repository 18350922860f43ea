import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatBackupLabel, parseBackupLabel, type BackupLabel } from '../../src/postgres/backup-label.ts';
import { bytesToText } from '../../src/postgres/lossless-text.ts';
import { failure } from './failure.ts';

const TEXT = `START WAL LOCATION: 0/2000028 (file 000000010000000000000002)
CHECKPOINT LOCATION: 0/2000060
BACKUP METHOD: streamed
BACKUP FROM: primary
START TIME: 2026-11-21 05:33:13 UTC
LABEL: base backup
START TIMELINE: 1
`;

describe('backup_label', () => {
  test('is read', () => {
    expect(parseBackupLabel(Buffer.from(TEXT))).toEqual({
      startLsn: 0x2000028n,
      startSegment: '000000010000000000000002',
      checkpointLsn: 0x2000060n,
      method: 'streamed',
      from: 'primary',
      startTime: '2026-11-21 05:33:13 UTC',
      label: 'base backup',
      timeline: 1,
    });
  });

  test('of an incremental backup names the one before', () => {
    const text = `${TEXT}INCREMENTAL FROM LSN: 0/1000028\nINCREMENTAL FROM TLI: 1\n`;
    const label = parseBackupLabel(Buffer.from(text));
    expect(label.incrementalFrom).toEqual({ lsn: 0x1000028n, timeline: 1 });
    expect(Buffer.from(formatBackupLabel(label)).toString()).toBe(text);
    const { incrementalFrom: _, ...combined } = label;
    expect(Buffer.from(formatBackupLabel(combined)).toString()).toBe(TEXT);
  });

  test('comes back as it was, whatever its label', () => {
    const labels = fc.oneof(
      fc.constantFrom('', 'LABEL: x', 'a\nSTART TIMELINE: 7\nb', 'a\n'),
      fc.uint8Array().map((bytes) => bytesToText(bytes)),
      fc.string({ unit: 'binary' }),
    );
    fc.assert(
      fc.property(labels, fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.boolean(), (text, lsn, incremental) => {
        const label: BackupLabel = {
          ...parseBackupLabel(Buffer.from(TEXT)),
          label: text,
          startLsn: lsn,
          ...(incremental ? { incrementalFrom: { lsn, timeline: 3 } } : {}),
        };
        expect(parseBackupLabel(formatBackupLabel(label))).toEqual(label);
      }),
    );
  });

  test.each([
    '',
    TEXT.slice(0, -1),
    TEXT.slice(0, -20),
    TEXT.replace('BACKUP METHOD: streamed\n', ''),
    TEXT.replace('0/2000028', '0-2000028'),
    TEXT.replace('(file 000000010000000000000002)', ''),
    `${TEXT}INCREMENTAL FROM LSN: 0/1000028\n`,
    `${TEXT}more\n`,
  ])('is not %j', (text) => {
    const error = failure(() => parseBackupLabel(Buffer.from(text), 'base/backup_label'));
    expect(error).toMatchObject({ code: 'BACKUP_CORRUPT' });
    expect(error.message).toContain('base/backup_label');
  });
});
