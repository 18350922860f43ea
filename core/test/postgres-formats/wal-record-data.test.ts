import { describe, expect, test } from 'vitest';
import type { WalRecord } from '../../src/postgres/wal-record-data.ts';
import { MICROS, read, START, time } from './wal-cases.ts';
import { mainData, WalWriter, type WrittenRecord } from './wal-writer.ts';

describe('what records say', () => {
  function only(record: WrittenRecord, magic = 0xd118): WalRecord | undefined {
    const writer = new WalWriter(START);
    writer.magic = magic;
    writer.record(record);
    const { records, end } = read(writer.bytes());
    expect(end.lsn).toBe(writer.lsn);
    expect(records.length).toBeLessThan(2);
    return records[0];
  }

  /** What precedes the transaction id of a prepared transaction, with the given lengths of the lists. */
  function twophase(flags: number, lists: readonly (readonly [count: number, size: number])[], xid: number): Buffer {
    const head = Buffer.alloc(4 + ((flags & 1) !== 0 ? 8 : 0));
    head.writeUInt32LE(flags);
    const bodies = lists.map(([count, size]) => {
      const body = Buffer.alloc(4 + count * size, 0xee);
      body.writeUInt32LE(count);
      return body;
    });
    const tail = Buffer.alloc(4);
    tail.writeUInt32LE(xid);
    return mainData(Buffer.concat([time(), head, ...bodies, tail, Buffer.from('gid\0')]));
  }

  test.each([
    [0xd110, 12],
    [0xd113, 12],
    [0xd116, 12],
    [0xd118, 16],
  ])('a prepared transaction bears its own id, format %i', (magic, statsSize) => {
    const flags = 1 | 2 | 4 | 8 | 16 | 128 | 256;
    const lists = [
      [3, 4],
      [2, 12],
      [5, statsSize],
      [7, 16],
    ] as const;
    for (const [info, kind] of [
      [0x30, 'commit'],
      [0x40, 'abort'],
    ] as const) {
      const record = { rmid: 1, info: info | 0x80, xid: 0, payload: twophase(flags, lists, 4711) };
      expect(only(record, magic)).toMatchObject({ kind, xid: 4711, prepared: true, micros: MICROS });
      expect(only({ ...record, payload: twophase(16, [], 4712) }, magic)).toMatchObject({ xid: 4712 });
    }
  });

  test('PREPARE TRANSACTION', () => {
    const data = Buffer.alloc(80);
    data.writeUInt32LE(4713, 8);
    time().copy(data, 16);
    expect(only({ rmid: 1, info: 0x10, payload: mainData(data) })).toMatchObject({
      kind: 'prepare',
      xid: 4713,
      micros: MICROS,
    });
  });

  test('a time before 1970, and before 2000', () => {
    for (const micros of [-1n, 1n, -1234567n]) {
      const record = only({ rmid: 1, info: 0x20, xid: 9, payload: mainData(time(micros)) });
      expect(record).toMatchObject({ kind: 'abort', xid: 9, micros, time: Math.floor(Number(micros) / 1000) });
    }
  });

  test('headers of blocks, origin and top-level transaction are passed over', () => {
    const data = Buffer.alloc(72);
    time().copy(data);
    data.write('behind blocks', 8);
    const block = (id: number, forkFlags: number, dataBytes: number, image: readonly number[]): Buffer => {
      const head = Buffer.alloc(4);
      head[0] = id;
      head[1] = forkFlags;
      head.writeUInt16LE(dataBytes, 2);
      const relation = Buffer.alloc((forkFlags & 0x80) === 0 ? 16 : 4, 0xcc);
      return Buffer.concat([head, Buffer.from(image), relation]);
    };
    const payload = Buffer.concat([
      block(0, 0x30, 5, [200, 0, 8, 0, 0x01]), // image of 200 bytes with a hole
      block(1, 0x90, 0, [100, 0, 8, 0, 0x05, 16, 0]), // of the same relation, compressed, with a hole
      block(2, 0x10, 0, [50, 0, 0, 0, 0x04]), // compressed, without a hole
      Buffer.of(253, 1, 0),
      Buffer.of(252, 1, 0, 0, 0),
      Buffer.of(255, 72),
      Buffer.alloc(5 + 200 + 100 + 50, 0xdd),
      data,
    ]);
    expect(only({ rmid: 0, info: 0x70, payload })).toMatchObject({ kind: 'restore-point', name: 'behind blocks' });
  });

  test('records that do not matter give nothing', () => {
    for (const [rmid, info] of [
      [0, 0x20],
      [0, 0xa0],
      [0, 0xd0],
      [1, 0x50],
      [1, 0x60],
      [2, 0],
      [128, 0],
    ] as const)
      expect(only({ rmid, info, payload: mainData(Buffer.alloc(3)) })).toBeUndefined();
  });
});
