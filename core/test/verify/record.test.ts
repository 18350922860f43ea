import { expect, test } from 'vitest';
import { checkSeal, sealed } from '../../src/repository/seal.ts';
import { checkRecord } from '../../src/verify/record-check.ts';
import { BACKUP, bytesOf, golden, invert, SYSTEM } from './golden.ts';

const KEY = `main/${SYSTEM}/backups/${BACKUP}/backup.json`;
const PLACE = { key: KEY, id: BACKUP, systemId: SYSTEM, cluster: 'main' };

/** Every way to flip one bit, or one way of so many. */
function* flips(bytes: Buffer, step: number = 1): Generator<readonly [bit: number, flipped: Buffer]> {
  for (let bit = 0; bit < bytes.byteLength * 8; bit += step) {
    const flipped = Buffer.from(bytes);
    invert(flipped, bit >> 3, 1 << (bit & 7));
    yield [bit, flipped];
  }
}

/** The form alone is looked at first: it takes the least time. */
const isWhole = (bytes: Uint8Array): boolean =>
  checkSeal(bytes).fault === undefined && checkRecord(bytes, PLACE).faults.length === 0;

test('H-59 no single bit of backup.json can be flipped, and no byte of its end be cut off, without being found', async () => {
  const bytes = await bytesOf(await golden(), KEY);
  expect(checkRecord(bytes, PLACE)).toMatchObject({ sealed: true, faults: [] });
  const missed: number[] = [];
  for (const [bit, flipped] of flips(bytes)) if (isWhole(flipped)) missed.push(bit);
  for (let length = 0; length < bytes.byteLength; length++) if (isWhole(bytes.subarray(0, length))) missed.push(length);
  expect(missed).toEqual([]);
});

test('without a digest just those values can be altered that neither the form nor the place of the record fixes', async () => {
  const bytes = await bytesOf(await golden('zstd', { sealed: false }), KEY);
  expect(checkRecord(bytes, PLACE)).toMatchObject({ sealed: false, faults: [] });
  const text = bytes.toString('latin1');
  const keys = new Set<string>();
  for (const [bit, flipped] of flips(bytes, 3)) {
    if (!isWhole(flipped)) continue;
    const line = text.slice(text.lastIndexOf('\n', bit >> 3) + 1, text.indexOf('\n', bit >> 3));
    keys.add(/^ *"([^"]+)": /.exec(line)?.[1] ?? line);
  }
  // All but host, tool and the two times are compared with the listing, the objects, and what is in the backup.
  expect([...keys].sort()).toEqual([
    'dataSize',
    'entries',
    'files',
    'host',
    'id',
    'label',
    'location',
    'nextXid',
    'plainSha256',
    'plainSize',
    'serverVersion',
    'startLsn',
    'startTime',
    'stopLsn',
    'stopTime',
    'stopTimeline',
    'storedSha256',
    'storedSize',
    'tool',
  ]);
});

test('a record of a later version is whole with keys that are not known here, as its digest says', async () => {
  const bytes = await bytesOf(await golden('zstd', { sealed: false }), KEY);
  const value = JSON.parse(bytes.toString('utf8')) as object;
  expect(checkRecord(Buffer.from(sealed({ ...value, compressed: true })), PLACE).faults).toEqual([]);
  const unsealed = Buffer.from(`${JSON.stringify({ ...value, compressed: true }, undefined, 2)}\n`);
  expect(checkRecord(unsealed, PLACE).faults).toEqual([`${KEY} has a key that no backup has: compressed`]);
});

test('a record in another form, or in another place, is found', async () => {
  const bytes = await bytesOf(await golden(), KEY);
  const value = JSON.parse(bytes.toString('utf8')) as object;
  const faults = (content: string): readonly string[] => checkRecord(Buffer.from(content), PLACE).faults;
  expect(faults(JSON.stringify(value))).toEqual([`${KEY} is not in the form in which it was written`]);
  expect(faults(bytes.toString('utf8').replace('"format": 1,', '"format": 1,\n  "format": 1,'))).toEqual([
    `${KEY} is not in the form in which it was written`,
  ]);
  expect(checkRecord(bytes, { ...PLACE, cluster: 'other' }).faults).toEqual([
    `${KEY} says cluster "main" where "other" is`,
  ]);
});
