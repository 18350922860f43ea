/** The newest segment is read from the spool while the receiver writes it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { WalReader } from '../../src/repository/wal.ts';
import { unfinishedSegment } from '../../src/wal-command/unfinished-segment.ts';
import { segmentName } from '../../src/postgres/wal-file.ts';
import { SYSTEM_ID } from './segments.ts';

const SIZE = 16 << 20;
let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'pgark-torn-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Writes the segment again and again from its first byte on, as fast as a busy server, and tells how far it is. */
const WRITER = `
const { workerData } = require('node:worker_threads');
const { openSync, writeSync, ftruncateSync, fsyncSync } = require('node:fs');
const position = new Int32Array(workerData.shared);
const content = Buffer.from(workerData.content);
const fd = openSync(workerData.path, 'r+');
for (;;) {
  // A new round: the file is empty again. The reader waits for it.
  Atomics.store(position, 0, 0);
  ftruncateSync(fd, 0); ftruncateSync(fd, ${SIZE});
  for (let at = 0; at < ${SIZE}; at += 8192) {
    writeSync(fd, content, at, 8192, at);
    Atomics.store(position, 0, at + 8192);
    if (at % (64 * 1024) === 0) Atomics.wait(position, 1, 0, 0.2);
    if (Atomics.load(position, 2) === 1) process.exit();
  }
  Atomics.store(position, 3, Atomics.load(position, 3) + 1);
}`;

test('H-20 WAL that arrives while the spool is read is no conflict, and what is given has no hole', async () => {
  const name = segmentName(1, 5n, SIZE);
  const content = Buffer.alloc(SIZE, 7);
  content.writeUInt16LE(0xd118, 0);
  content.writeUInt16LE(2, 2);
  content.writeUInt32LE(1, 4);
  content.writeBigUInt64LE(5n * BigInt(SIZE), 8);
  content.writeBigUInt64LE(BigInt(SYSTEM_ID), 24);
  content.writeUInt32LE(SIZE, 32);
  content.writeUInt32LE(8192, 36);
  const path = join(folder, `${name}.partial`);
  writeFileSync(path, Buffer.alloc(SIZE));
  const shared = new SharedArrayBuffer(16);
  const position = new Int32Array(shared);
  const worker = new Worker(WRITER, { eval: true, workerData: { shared, content, path } });
  const outcomes = new Map<string, number>();
  const note = (what: string): void => void outcomes.set(what, (outcomes.get(what) ?? 0) + 1);
  try {
    for (const end = Date.now() + 10_000; Date.now() < end && (outcomes.get('fine') ?? 0) < 30;) {
      const round = Atomics.load(position, 3);
      const reader = {
        find: () => Promise.resolve(undefined),
        timelines: () => Promise.resolve([]),
        // The slices of the archive go as far as the receiver had come when they were listed: a moment after the spool was read.
        tail: async () => {
          await new Promise((resolve) => setTimeout(resolve, 30));
          return content.subarray(0, Math.max(Atomics.load(position, 0) - 65_536, 0));
        },
      } as unknown as WalReader;
      let what: string;
      try {
        const found = await unfinishedSegment(reader, name, { spool: folder });
        what = 'fine';
        if (found !== undefined) {
          let last = found.bytes.byteLength;
          while (last > 0 && found.bytes[last - 1] === 0) last--;
          if (Buffer.compare(found.bytes.subarray(0, last), content.subarray(0, last)) !== 0) what = 'a hole';
        }
      } catch (error) {
        what = (error as { code: string }).code;
      }
      if (Atomics.load(position, 3) === round) note(what);
    }
  } finally {
    Atomics.store(position, 2, 1);
    await worker.terminate();
  }
  expect(outcomes.get('fine')).toBeGreaterThan(0);
  expect([...outcomes.keys()].filter((what) => what !== 'fine')).toEqual([]);
});
