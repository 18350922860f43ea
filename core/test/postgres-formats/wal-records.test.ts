import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isArchiveError } from '../../src/contracts/errors.ts';
import type { WalRecord } from '../../src/postgres/wal-record-data.ts';
import { readWalRecords, type WalEnd, type WalReadOptions } from '../../src/postgres/wal-records.ts';
import { failure } from './failure.ts';
import { commit, insert, MICROS, read, restorePoint, START, SWITCH } from './wal-cases.ts';
import { mainData, MB, PAGE, WalWriter, type Position } from './wal-writer.ts';

const committed = (position: Position, xid: number): WalRecord => ({
  kind: 'commit',
  ...position,
  xid,
  prepared: false,
  time: 1795244479123,
  micros: MICROS,
});

const step = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 1, max: 300 }).map((size) => ({ kind: 'insert', size }) as const) },
  { weight: 2, arbitrary: fc.integer({ min: 7000, max: 40_000 }).map((size) => ({ kind: 'insert', size }) as const) },
  { weight: 4, arbitrary: fc.integer({ min: 0, max: 20_000 }).map((size) => ({ kind: 'commit', size }) as const) },
  { weight: 2, arbitrary: fc.string({ maxLength: 15 }).map((name) => ({ kind: 'point', name }) as const) },
  { weight: 1, arbitrary: fc.constant({ kind: 'switch' } as const) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 30 }).map((left) => ({ kind: 'near page end', left }) as const) },
  {
    weight: 1,
    arbitrary: fc.integer({ min: 0, max: 30 }).map((left) => ({ kind: 'near segment end', left }) as const),
  },
);
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never;

/** Appends an insert that ends `left` times 8 bytes before the next border of this size. */
function fillTo(writer: WalWriter, border: number, left: number): void {
  if (writer.lsn % BigInt(PAGE) === 0n) writer.record(insert(10));
  for (;;) {
    const room = border - Number(writer.lsn % BigInt(border)) - left * 8;
    const inPage = PAGE - Number(writer.lsn % BigInt(PAGE));
    if (room <= 64) return;
    if (room <= inPage && room <= 7000) {
      const size = room - 24 - 2;
      writer.record(insert(size < 256 ? size : size - 3));
      return;
    }
    writer.record(insert(Math.min(room, 6000) - 1000));
  }
}

function write(writer: WalWriter, steps: readonly Step[]): WalRecord[] {
  const expected: WalRecord[] = [];
  writer.record(insert(1));
  for (const [index, step] of steps.entries()) {
    switch (step.kind) {
      case 'insert':
        writer.record(insert(step.size));
        break;
      case 'commit':
        expected.push(committed(writer.record(commit(index, Buffer.alloc(step.size, 'y'))), index));
        break;
      case 'point': {
        const name = Buffer.from(step.name.replaceAll('\0', '')).subarray(0, 60).toString();
        const kind = 'restore-point';
        expected.push({ kind, ...writer.record(restorePoint(name)), time: 1795244479123, micros: MICROS, name });
        break;
      }
      case 'switch': {
        const { lsn } = writer.record(SWITCH);
        expected.push({ kind: 'switch', lsn, end: writer.skipSegment() });
        break;
      }
      case 'near page end':
        fillTo(writer, PAGE, step.left);
        break;
      case 'near segment end':
        fillTo(writer, MB, step.left);
        break;
    }
  }
  return expected;
}

describe('reading WAL records', () => {
  test('gives those that matter, wherever pages and segments break them, across 4 GiB too', () => {
    const starts = fc.constantFrom(START, 0xffe00000n, 0xfff00000n, 0x7fffffff_fff00000n);
    const chunks = fc.oneof(fc.integer({ min: 500, max: 20_000 }), fc.constantFrom(PAGE, MB, 10 * MB));
    let overSegments = 0;
    fc.assert(
      fc.property(starts, fc.array(step, { maxLength: 40 }), chunks, fc.boolean(), (start, steps, chunk, checkCrc) => {
        const writer = new WalWriter(start);
        const expected = write(writer, steps);
        const end = writer.lsn;
        const bytes = writer.bytes();
        overSegments += bytes.byteLength / MB - 1;
        const result = read(bytes, { start, checkCrc }, chunk);
        expect(result.records).toEqual(expected);
        expect(result.end.lsn).toBe(end);
        expect(['zeroes', 'source-end']).toContain(result.end.reason);
      }),
      { numRuns: 150 },
    );
    expect(overSegments).toBeGreaterThan(0);
  });

  test('ends where the bytes end, and keeps what is whole', () => {
    const writer = new WalWriter(START);
    const positions = [1, 2, 3, 4, 5].map((xid) => writer.record(commit(xid, Buffer.alloc(xid * 2000))));
    const bytes = writer.bytes();
    for (let length = 0; length < Number(writer.lsn - START); length += 7) {
      const { records, end } = read(bytes.subarray(0, length));
      expect(end.reason).toBe('source-end');
      const whole = positions.filter((position) => position.end <= START + BigInt(length + 7) - 7n);
      expect(records.length).toBeGreaterThanOrEqual(whole.length);
      expect(end.lsn).toBe(records.at(-1)?.end ?? START);
      expect(end.lsn).toBeLessThanOrEqual(START + BigInt(length) + 7n);
    }
  });

  test('skips what the first page continues, over several pages', () => {
    const writer = new WalWriter(START);
    const rest = 2 * PAGE + 100;
    let left = rest;
    for (const room of [PAGE - 40, PAGE - 24, PAGE]) {
      writer.page(left);
      left -= room;
    }
    const bytes = writer.bytes();
    // The record begins on the third page, after what is left there.
    const from = 2 * PAGE + 24 + Math.ceil((rest - (PAGE - 40) - (PAGE - 24)) / 8) * 8;
    const other = new WalWriter(START);
    other.page();
    other.record(commit(7));
    other.bytes().copy(bytes, from, 40, 200);
    const { records, end } = read(bytes);
    expect(records).toMatchObject([{ kind: 'commit', xid: 7, lsn: START + BigInt(from) }]);
    expect(end.reason).toBe('zeroes');
  });

  test('gives nothing that begins before the position asked for', () => {
    const writer = new WalWriter(START);
    const positions = [1, 2, 3].map((xid) => writer.record(commit(xid)));
    const from = positions[1]?.lsn ?? 0n;
    expect(read(writer.bytes(), { start: from }).records).toMatchObject([{ xid: 2 }, { xid: 3 }]);
    expect(read(writer.bytes(), { start: from + 1n }).records).toMatchObject([{ xid: 3 }]);
  });

  test('goes on after a record that a crash cut off', () => {
    const writer = new WalWriter(START);
    writer.record(commit(1));
    const { lsn } = writer.record(insert(20_000), { stopAfter: PAGE });
    writer.skipPage();
    writer.page(0, 0x0008);
    const position = writer.record(commit(2));
    expect(position.lsn).toBeGreaterThan(lsn);
    const { records, end } = read(writer.bytes());
    expect(records).toMatchObject([{ xid: 1 }, { xid: 2, ...position }]);
    expect(end).toMatchObject({ lsn: position.end, reason: 'zeroes' });
  });
});

describe('the end of valid WAL', () => {
  /** Three commits over two pages, and what is done to them. */
  function ended(
    change: (bytes: Buffer, positions: readonly Position[]) => void,
    options: Partial<WalReadOptions> = {},
  ): { xids: number[]; end: WalEnd; positions: readonly Position[] } {
    const writer = new WalWriter(START);
    const positions = [1, 2, 3].map((xid) => writer.record(commit(xid, Buffer.alloc(6000))));
    const bytes = writer.bytes();
    change(bytes, positions);
    const { records, end } = read(bytes, options);
    const xids = records.map((record) => ('xid' in record ? record.xid : 0));
    expect(end.lsn).toBe(records.at(-1)?.end ?? START);
    return { xids, end, positions };
  }
  const at = (position: Position | undefined): number => Number((position?.lsn ?? 0n) - START);

  test('nothing is written', () => {
    expect(ended((bytes) => bytes.fill(0))).toMatchObject({ xids: [], end: { reason: 'zeroes' } });
    expect(ended((bytes) => bytes.fill(0, PAGE))).toMatchObject({ xids: [1], end: { reason: 'zeroes' } });
    expect(ended(() => undefined)).toMatchObject({ xids: [1, 2, 3], end: { reason: 'zeroes' } });
    expect(read(Buffer.alloc(0)).end).toEqual({
      kind: 'end',
      lsn: START,
      reason: 'source-end',
      detail: 'the WAL that was given ends',
    });
    expect(read(Buffer.alloc(39)).end.reason).toBe('source-end');
  });

  test('a page is of another position, as in a recycled segment', () => {
    const { xids, end } = ended((bytes) => bytes.writeBigUInt64LE(0x300000n, PAGE + 8));
    expect(xids).toEqual([1]);
    expect(end).toMatchObject({ reason: 'page', detail: 'the page at 0/502000 is a page of 0/300000' });
  });

  test('a page is no page', () => {
    expect(ended((bytes) => bytes.writeUInt16LE(0xd999, PAGE)).end.reason).toBe('page');
    expect(ended((bytes) => bytes.writeUInt16LE(0x0013, PAGE + 2)).end.reason).toBe('page');
    expect(ended((bytes) => bytes.writeUInt16LE(0x0003, PAGE + 2)).end.reason).toBe('page');
    expect(ended((bytes) => bytes.fill('x'))).toMatchObject({ xids: [], end: { reason: 'page' } });
  });

  test('WAL of a version that is not known is not guessed at', () => {
    const { xids, end } = ended((bytes) => bytes.writeUInt16LE(0xd1ff, 0));
    expect(xids).toEqual([]);
    expect(end).toMatchObject({ reason: 'page', detail: 'the page at 0/500000 has the magic number d1ff' });
  });

  test('H-07 WAL is of another cluster', () => {
    const { xids, end } = ended(() => undefined, { systemId: '1' });
    expect(xids).toEqual([]);
    expect(end.detail).toBe('the page at 0/500000 is of the cluster 7710493345181022616');
    expect(ended(() => undefined, { systemId: '7710493345181022616' }).xids).toEqual([1, 2, 3]);
    // A second segment of another cluster.
    const writer = new WalWriter(START);
    writer.record(commit(1));
    writer.record(SWITCH);
    writer.skipSegment();
    writer.systemId = 5n;
    writer.record(commit(2));
    expect(read(writer.bytes())).toMatchObject({ records: [{ xid: 1 }, { kind: 'switch' }], end: { reason: 'page' } });
  });

  test('segments are of another size', () => {
    const start = 6n * BigInt(MB);
    const writer = new WalWriter(start);
    writer.record(commit(1));
    expect(read(writer.bytes(), { start, segmentSize: 2 * MB })).toMatchObject({
      records: [],
      end: { reason: 'page' },
    });
    expect(ended((bytes) => bytes.writeUInt32LE(2 * MB, 32)).end.reason).toBe('page');
    expect(failure(() => read(Buffer.alloc(1), { segmentSize: 3 * MB })).code).toBe('USAGE');
  });

  test('a page is of a timeline that does not follow', () => {
    expect(ended((bytes) => bytes.writeUInt32LE(2, PAGE + 4))).toMatchObject({
      xids: [1],
      end: { reason: 'timeline' },
    });
    const forked = ended(
      (bytes) => {
        bytes.writeUInt32LE(2, PAGE + 4);
        bytes.writeUInt32LE(2, 2 * PAGE + 4);
      },
      { timeline: 2 },
    );
    expect(forked.xids).toEqual([1, 2, 3]);
    const back = ended((bytes) => bytes.writeUInt32LE(2, 4), { timeline: 2 });
    expect(back).toMatchObject({ xids: [1], end: { reason: 'timeline' } });
  });

  test('a record does not follow the one before, as in a recycled segment', () => {
    const { xids, end } = ended((bytes, [, second]) => bytes.writeBigUInt64LE(0x300000n, at(second) + 8));
    expect(xids).toEqual([1]);
    expect(end).toMatchObject({ reason: 'record' });
    expect(ended((bytes, [first]) => bytes.writeBigUInt64LE(START + 40n, at(first) + 8)).xids).toEqual([]);
    expect(ended((bytes, [, second]) => bytes.writeUInt32LE(23, at(second))).end.reason).toBe('record');
  });

  test('a record is altered', () => {
    for (const offset of [4, 16, 24, 100, 2500, 6000]) {
      const { xids, end } = ended((bytes, [, second]) => {
        const place = at(second) + offset + (at(second) + offset >= PAGE ? 24 : 0);
        bytes[place] = (bytes[place] ?? 0) ^ 0x10;
      });
      expect(xids).toEqual([1]);
      expect(end.reason).toBe('checksum');
    }
  });

  test('without checksums an altered row passes, as said', () => {
    const change = (bytes: Buffer, [, second]: readonly Position[]): void =>
      void bytes.fill('z', at(second) + 100, at(second) + 120);
    expect(ended(change).xids).toEqual([1]);
    expect(ended(change, { checkCrc: false }).xids).toEqual([1, 2, 3]);
  });

  test('a record is not continued', () => {
    expect(ended((bytes) => bytes.writeUInt16LE(0, PAGE + 2))).toMatchObject({
      xids: [1],
      end: { reason: 'continuation' },
    });
    expect(ended((bytes) => bytes.writeUInt32LE(77, PAGE + 16)).end.reason).toBe('continuation');
    // A page says that it continues a record, but the record before ended.
    const writer = new WalWriter(START);
    writer.record(commit(1));
    fillTo(writer, PAGE, 0);
    expect(writer.lsn % BigInt(PAGE)).toBe(0n);
    writer.page(100);
    expect(read(writer.bytes())).toMatchObject({ records: [{ xid: 1 }], end: { reason: 'continuation' } });
  });

  test('a record has a form that is not known', () => {
    for (const payload of [Buffer.of(200, 1, 2), Buffer.of(255, 90, 1), mainData(Buffer.alloc(7))]) {
      const writer = new WalWriter(START);
      writer.record(commit(1));
      writer.record({ rmid: 1, info: 0, xid: 2, payload });
      writer.record(commit(3));
      expect(read(writer.bytes())).toMatchObject({ records: [{ xid: 1 }], end: { reason: 'record' } });
    }
  });

  test('any altered bit gives a beginning of the records', () => {
    const writer = new WalWriter(START);
    write(writer, [
      { kind: 'commit', size: 5000 },
      { kind: 'insert', size: 9000 },
      { kind: 'point', name: 'a' },
      { kind: 'commit', size: 100 },
      { kind: 'insert', size: 100 },
    ]);
    const length = Number(writer.lsn - START);
    const bytes = writer.bytes().subarray(0, 4 * PAGE);
    const whole = read(bytes);
    expect(whole.end.lsn).toBe(writer.lsn);
    fc.assert(
      fc.property(fc.nat(length - 1), fc.nat(7), (offset, bit) => {
        const altered = Buffer.from(bytes);
        altered[offset] = (altered[offset] ?? 0) ^ (1 << bit);
        const { records, end } = read(altered);
        expect(records).toEqual(whole.records.slice(0, records.length));
        // The magic number of the first page decides the version, and one bit away from one is another: the next page tells.
        const seen = offset < 2 ? PAGE : offset;
        if (end.lsn !== whole.end.lsn) expect(end.lsn).toBeLessThanOrEqual(START + BigInt(seen));
      }),
      { numRuns: 500, examples: [[0, 3]] },
    );
  });
});

describe('readWalRecords', () => {
  test('gives the records, the end last, and takes no bytes behind the end', async () => {
    const writer = new WalWriter(START);
    writer.record(commit(1));
    const bytes = writer.bytes();
    let given = 0;
    let closed = false;
    async function* source(): AsyncGenerator<Uint8Array> {
      try {
        for (let at = 0; at < bytes.byteLength; at += PAGE) {
          given++;
          yield bytes.subarray(at, at + PAGE);
        }
      } finally {
        closed = true;
      }
    }
    const items = [];
    for await (const item of readWalRecords(source(), { start: START, segmentSize: MB, timeline: 1 })) items.push(item);
    expect(items.map(({ kind }) => kind)).toEqual(['commit', 'end']);
    expect(given).toBe(1);
    expect(closed).toBe(true);
  });

  test('stops when it is cancelled, and hands over the error of the source', async () => {
    const writer = new WalWriter(START);
    for (let xid = 1; xid < 10; xid++) writer.record(commit(xid, Buffer.alloc(6000)));
    const bytes = writer.bytes();
    const controller = new AbortController();
    async function* source(fault?: Error): AsyncGenerator<Uint8Array> {
      yield bytes.subarray(0, 2 * PAGE);
      if (fault !== undefined) throw fault;
      yield bytes.subarray(2 * PAGE);
    }
    const options = { start: START, segmentSize: MB, timeline: 1, signal: controller.signal };
    const cancelled = async (): Promise<void> => {
      for await (const item of readWalRecords(source(), options)) if (item.kind === 'commit') controller.abort();
    };
    await expect(cancelled()).rejects.toSatisfy((error) => isArchiveError(error, 'ABORTED'));
    const fault = new Error('the disk is gone');
    const broken = async (): Promise<void> => {
      for await (const item of readWalRecords(source(fault), { ...options, signal: new AbortController().signal }))
        expect(item.kind).toBe('commit');
    };
    await expect(broken()).rejects.toBe(fault);
  });
});
