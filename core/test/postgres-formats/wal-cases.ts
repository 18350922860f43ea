/** Records to write, and the short way to read them back. */
import type { WalRecord } from '../../src/postgres/wal-record-data.ts';
import { WalRecordReader, type WalEnd, type WalReadOptions } from '../../src/postgres/wal-records.ts';
import { mainData, MB, type WrittenRecord } from './wal-writer.ts';

export const START: bigint = 5n * BigInt(MB);
export const MICROS = 1795244479123456n;

/** What a reader gives for these bytes, pushed in pieces of `chunk`. */
export function read(
  bytes: Uint8Array,
  options: Partial<WalReadOptions> = {},
  chunk: number = bytes.byteLength,
): { records: WalRecord[]; end: WalEnd } {
  const records: WalRecord[] = [];
  const reader = new WalRecordReader((record) => void records.push(record), {
    start: START,
    segmentSize: MB,
    timeline: 1,
    ...options,
  });
  for (let at = 0; at < bytes.byteLength; at += chunk) reader.push(bytes.subarray(at, at + chunk));
  return { records, end: reader.finish() };
}

/** A moment as PostgreSQL writes it. */
export function time(micros = MICROS): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(micros - 946684800000000n);
  return bytes;
}

/** A record that the reader passes over. */
export const insert = (size: number): WrittenRecord => ({
  rmid: 10,
  info: 0,
  payload: mainData(Buffer.alloc(size, 'x')),
});
export const commit = (xid: number, more: Uint8Array = Buffer.alloc(0)): WrittenRecord => ({
  rmid: 1,
  info: 0,
  xid,
  payload: mainData(Buffer.concat([time(), more])),
});
export const restorePoint = (name: string): WrittenRecord => {
  const data = Buffer.alloc(72);
  time().copy(data);
  data.write(name, 8);
  return { rmid: 0, info: 0x70, payload: mainData(data) };
};
export const SWITCH: WrittenRecord = { rmid: 0, info: 0x40, payload: Buffer.alloc(0) };
