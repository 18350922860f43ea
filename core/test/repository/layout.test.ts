import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isArchiveError } from '../../src/contracts/errors.ts';
import {
  checkCluster,
  isBackupId,
  newBackupId,
  parseTailName,
  parseWalKey,
  tailFolder,
  tailKey,
  walKey,
} from '../../src/repository/layout.ts';
import { historyName, parseWalFileName, segmentName } from '../../src/postgres/wal-file.ts';

const digest = fc.string({ unit: fc.constantFrom(...'0123456789abcdef'.split('')), minLength: 32, maxLength: 32 });
const codecs = fc.array(fc.constantFrom('zst', 'gz', 'age', 'lz4'), { maxLength: 3 });
const timeline = fc.integer({ min: 1, max: 0xffffffff });
const segmentFile = fc
  .record({
    timeline,
    log: fc.integer({ min: 0, max: 0xffffffff }),
    index: fc.integer({ min: 0, max: 255 }),
    ending: fc.constantFrom('', '.partial', '.00000028.backup'),
  })
  .map(
    ({ timeline, log, index, ending }) => segmentName(timeline, BigInt(log) * 256n + BigInt(index), 16 << 20) + ending,
  );
const fileName = fc.oneof(segmentFile, timeline.map(historyName));

test('a key of a WAL file says what made it', () => {
  fc.assert(
    fc.property(fileName, digest, codecs, (name, digest, codecs) => {
      const file = parseWalFileName(name);
      if (file === undefined) throw new Error(`not a WAL file: ${name}`);
      expect(parseWalKey(walKey(file, digest, codecs))).toEqual({ file, digest, codecs });
    }),
  );
});

test('a key of a slice says what made it', () => {
  fc.assert(
    fc.property(
      segmentFile.map((name) => name.slice(0, 24)),
      digest,
      codecs,
      fc.nat(0x3fffffff),
      (name, digest, codecs, from) => {
        const file = parseWalFileName(name);
        if (file === undefined) throw new Error(`not a WAL file: ${name}`);
        const slice = { from, to: from + 1, digest, codecs };
        expect(parseTailName(tailKey(file, slice).slice(tailFolder(file).length))).toEqual(slice);
      },
    ),
  );
});

test('what is no WAL file in its place is not taken for one', () => {
  const whole = `00000001/0000000A/000000010000000A000000FE-${'a'.repeat(32)}.zst`;
  expect(parseWalKey(whole)).toBeDefined();
  for (const key of [
    whole.replace('00000001/', '00000002/'),
    whole.replace('/0000000A/', '/0000000B/'),
    whole.replace('/0000000A/', '/'),
    whole.replace('a.zst', '.zst'),
    whole.replace('.zst', '.ZST'),
    `${whole}/x`,
    whole.replace('0000000A000000FE', '0000000a000000fe'),
    `00000001/0000000A/000000010000000A000000FE.tail/00000000-00000010-${'a'.repeat(32)}`,
  ]) {
    expect(parseWalKey(key), key).toBeUndefined();
  }
});

test('backup ids sort by time and are recognised', () => {
  const early = newBackupId(new Date('2026-11-21T06:45:30.999Z'), () => 0.99);
  const late = newBackupId(new Date('2026-11-21T06:45:31Z'), () => 0);
  expect([early, late]).toEqual(['20261121T064530Z-fd70', '20261121T064531Z-0000']);
  expect([early, late].every(isBackupId)).toBe(true);
  expect(['latest', '20261121T064530Z', '../20261121T064530Z-fd70'].some(isBackupId)).toBe(false);
});

test('a cluster name can not leave its place', () => {
  expect(checkCluster('main')).toBe('main');
  for (const name of ['', '.', '..', 'a/b', '-a', 'a b', 'x'.repeat(64)]) {
    expect(() => checkCluster(name), name).toThrow(
      expect.toSatisfy((error) => isArchiveError(error, 'CONFIG_INVALID')),
    );
  }
});
