import fc from 'fast-check';
import { expect, test } from 'vitest';
import { segmentName } from '../../src/postgres/wal-file.ts';
import { findFrontier, type WalFrontier } from '../../src/restore/wal-scan.ts';
import type { WalPiece } from '../../src/restore/wal-pieces.ts';
import { insert, MICROS, read, START, SWITCH, time } from '../postgres-formats/wal-cases.ts';
import { mainData, MB, WalWriter, type WrittenRecord } from '../postgres-formats/wal-writer.ts';

const CHUNK = 64 * 1024;
const OPTIONS = { segmentSize: MB, systemId: '7710493345181022616' };

const commit = (order: number): WrittenRecord => ({
  rmid: 1,
  info: 0,
  xid: order,
  payload: mainData(time(MICROS + BigInt(order))),
});
const tablespace = (oid: number): WrittenRecord => {
  const data = Buffer.alloc(4 + 6);
  data.writeUInt32LE(oid);
  data.write('/space', 4);
  return { rmid: 5, info: 0, payload: mainData(data) };
};

/** The segments of WAL that begins at {@link START}; `taken` counts the bytes that were read of them. */
function segmentsOf(bytes: Buffer): { readonly pieces: readonly WalPiece[]; readonly taken: { bytes: number } } {
  const taken = { bytes: 0 };
  const first = START / BigInt(MB);
  const pieces = Array.from({ length: bytes.byteLength / MB }, (_, at): WalPiece => {
    const number = first + BigInt(at);
    async function* chunks(): AsyncGenerator<Uint8Array> {
      for (let from = at * MB; from < (at + 1) * MB; from += CHUNK) {
        taken.bytes += CHUNK;
        yield bytes.subarray(from, from + CHUNK);
      }
    }
    return { name: segmentName(1, number, MB), timeline: 1, number, source: 'archive', storedBytes: MB, read: chunks };
  });
  return { pieces, taken };
}

/** The same, each window read as a whole. */
function frontierOf(bytes: Buffer): Omit<WalFrontier, 'hasRecord' | 'lastRecord' | 'tablespaces'> & {
  readonly tablespaces: readonly bigint[];
} {
  const count = bytes.byteLength / MB;
  for (let length = 1; ; length *= 2) {
    const segments = Math.min(length, count);
    const from = count - segments;
    const { records, end } = read(bytes.subarray(from * MB), { start: START + BigInt(from * MB) });
    const times = records.flatMap((record) => (record.kind === 'commit' ? [record.micros] : []));
    const lastTransaction = times.reduce<bigint | undefined>(
      (last, one) => ((last ?? 0n) > one ? last : one),
      undefined,
    );
    if (lastTransaction === undefined && segments < count) continue;
    const tablespaces = records.flatMap((record) => (record.kind === 'tablespace' ? [record.lsn] : []));
    return { end: end.lsn, lastTransaction, segments, tablespaces };
  }
}

test('WAL in which nothing happened for long is read once, however far back its last transaction is', async () => {
  const writer = new WalWriter(START);
  const { lsn: created } = writer.record(tablespace(9));
  writer.record(commit(1));
  // Records go on over the borders of segments.
  while (writer.lsn < START + BigInt(8.5 * MB)) writer.record(insert(50_000));
  const bytes = writer.bytes();
  const { pieces, taken } = segmentsOf(bytes);
  const frontier = await findFrontier(pieces, OPTIONS);
  expect(frontier).toMatchObject({
    end: writer.lsn,
    lastRecord: writer.previous,
    lastTransaction: MICROS + 1n,
    segments: 9,
    tablespaces: [{ lsn: created, oid: 9, location: '/space' }],
  });
  // Four windows, of 2, 4, 8 and 9 segments, are joined with the one behind them, each by the first chunk of it.
  expect(taken.bytes).toBeGreaterThan(8 * MB);
  expect(taken.bytes).toBeLessThanOrEqual(9 * MB + 4 * CHUNK);
});

test('what is found is what reading all of it finds', async () => {
  const step = fc.oneof(
    { weight: 5, arbitrary: fc.integer({ min: 1, max: 200_000 }).map((size) => insert(size)) },
    // Longer than a segment.
    { weight: 2, arbitrary: fc.integer({ min: 900_000, max: 2_500_000 }).map((size) => insert(size)) },
    { weight: 1, arbitrary: fc.integer({ min: 0, max: 1000 }).map((order) => commit(order)) },
    { weight: 1, arbitrary: fc.integer({ min: 1, max: 1000 }).map((oid) => tablespace(oid)) },
    { weight: 1, arbitrary: fc.constant(SWITCH) },
  );
  let joined = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 25 }), async (records) => {
      const writer = new WalWriter(START);
      for (const record of records) {
        writer.record(record);
        if (record === SWITCH) writer.skipSegment();
      }
      const bytes = writer.bytes();
      const { pieces, taken } = segmentsOf(bytes);
      const found = await findFrontier(pieces, OPTIONS);
      const { tablespaces, ...expected } = frontierOf(bytes);
      expect(found).toMatchObject(expected);
      expect(found?.tablespaces.map(({ lsn }) => lsn)).toEqual(tablespaces);
      const windows = Math.ceil(Math.log2(found?.segments ?? 1));
      if (windows > 0 && taken.bytes <= bytes.byteLength + windows * CHUNK) joined++;
    }),
    { numRuns: 40 },
  );
  expect(joined, 'some were read in more than one piece, and joined').toBeGreaterThan(0);
});

test('segments that are sound by themselves, but do not follow each other, are no WAL', async () => {
  const write = (size: number): Buffer => {
    const writer = new WalWriter(START);
    while (writer.lsn < START + BigInt(7.5 * MB)) writer.record(insert(size));
    return writer.bytes();
  };
  const one = write(5000);
  const other = write(7000);
  for (const border of [1, 4, 6, 7]) {
    const mixed = Buffer.concat([one.subarray(0, border * MB), other.subarray(border * MB)]);
    const { pieces } = segmentsOf(mixed);
    const behind = START + BigInt(border * MB);
    // Behind the border all is well.
    expect((await findFrontier(pieces.slice(border), OPTIONS))?.end).toBeGreaterThan(behind);
    const found = findFrontier(pieces, OPTIONS);
    // What ends in the last segment is the end.
    if (border === 7) expect((await found)?.end).toBeLessThanOrEqual(behind);
    else await expect(found).rejects.toMatchObject({ code: 'WAL_INVALID' });
  }
});
