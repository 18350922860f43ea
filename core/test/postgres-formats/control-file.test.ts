import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseControlFile } from '../../src/postgres/control-file.ts';
import { crc32c } from '../../src/postgres/crc32c.ts';
import { failure } from './failure.ts';

function controlFile(version: number, crcOffset: number): Buffer {
  const file = Buffer.alloc(8192);
  file.writeBigUInt64LE(7710493345181022616n, 0);
  file.writeUInt32LE(version, 8);
  file.writeUInt32LE(202506291, 12);
  file.writeUInt32LE(6, 16);
  file.writeBigInt64LE(1795244479n, 24);
  file.writeBigUInt64LE(0x16b374d848n, 32);
  file.writeBigUInt64LE(0x16b374d810n, 40);
  file.writeUInt32LE(3, 48);
  file.writeUInt32LE(2, 52);
  file.writeBigUInt64LE(0x100000007n, 64);
  file.writeBigInt64LE(1795244470n, 104);
  file.writeUInt32LE(8192, 216);
  file.writeUInt32LE(131072, 220);
  file.writeUInt32LE(8192, 224);
  file.writeUInt32LE(16 * 1024 * 1024, 228);
  file.writeUInt32LE(1, 252);
  return seal(file, crcOffset);
}

function seal(file: Buffer, crcOffset: number): Buffer {
  file.writeUInt32LE(crc32c(file.subarray(0, crcOffset)), crcOffset);
  return file;
}

describe.each([
  [1300, 288],
  [1700, 288],
  [1800, 292],
])('pg_control of version %i', (version, crcOffset) => {
  const file = controlFile(version, crcOffset);

  test('says what it says, without losing a digit', () => {
    expect(parseControlFile(file)).toEqual({
      systemId: '7710493345181022616',
      controlVersion: version,
      catalogVersion: 202506291,
      state: 'in production',
      modified: 1795244479000,
      checkpointLsn: 0x16b374d848n,
      checkpoint: {
        redoLsn: 0x16b374d810n,
        timeline: 3,
        previousTimeline: 2,
        nextXid: 0x100000007n,
        time: 1795244470000,
      },
      minRecoveryLsn: 0n,
      minRecoveryTimeline: 0,
      blockSize: 8192,
      relationSegmentBlocks: 131072,
      walBlockSize: 8192,
      walSegmentSize: 16 * 1024 * 1024,
      dataChecksumVersion: 1,
    });
  });

  test('H-34 no altered bit passes, which a manifest with CRC32C would let pass', () => {
    fc.assert(
      fc.property(fc.nat(crcOffset + 3), fc.nat(7), (offset, bit) => {
        const altered = Buffer.from(file);
        altered[offset] = (altered[offset] ?? 0) ^ (1 << bit);
        expect(['BACKUP_CORRUPT', 'SERVER_UNSUPPORTED']).toContain(failure(() => parseControlFile(altered)).code);
      }),
    );
    // The reason: with its own CRC32C renewed, the CRC32C over both stays the same.
    const forged = Buffer.from(file);
    forged.writeBigUInt64LE(1n, 32);
    seal(forged, crcOffset);
    expect(crc32c(forged)).toBe(crc32c(file));
  });

  test('is refused when it is cut short', () => {
    for (const length of [0, 15, 16, crcOffset, crcOffset + 3]) {
      const error = failure(() => parseControlFile(file.subarray(0, length), 'base.tar: global/pg_control'));
      expect(error.code).toBe('BACKUP_CORRUPT');
      expect(error.message).toContain('base.tar: global/pg_control');
    }
  });

  test('is refused with values that cannot be', () => {
    for (const offset of [16, 228]) {
      const altered = Buffer.from(file);
      altered.writeUInt32LE(12345, offset);
      expect(failure(() => parseControlFile(seal(altered, crcOffset)))).toMatchObject({ code: 'BACKUP_CORRUPT' });
    }
  });
});

test('pg_control of another version or byte order is not supported, anything else is no control file', () => {
  expect(failure(() => parseControlFile(controlFile(2600, 292))).code).toBe('SERVER_UNSUPPORTED');
  const swapped = controlFile(1300, 288);
  swapped.writeUInt32BE(1300, 8);
  expect(failure(() => parseControlFile(swapped)).code).toBe('SERVER_UNSUPPORTED');
  expect(failure(() => parseControlFile(Buffer.alloc(8192))).code).toBe('BACKUP_CORRUPT');
});
