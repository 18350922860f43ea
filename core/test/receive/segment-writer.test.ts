import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { SegmentWriter } from '../../src/receive/segment-writer.ts';

const SIZE = 1024 * 1024;
let folder: string;
let finished: string[];
let opened: string[];
const writers: SegmentWriter[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'pgark-writer-'));
  [finished, opened] = [[], []];
});
afterEach(async () => {
  for (const made of writers.splice(0)) await made.close();
  rmSync(folder, { recursive: true });
});

function writer(): SegmentWriter {
  const made = new SegmentWriter({
    folder,
    segmentSize: SIZE,
    onOpened: (name) => opened.push(name),
    onFinished: (name) => finished.push(name),
  });
  writers.push(made);
  return made;
}

const bytes = (length: number, fill: number): Buffer => Buffer.alloc(length, fill);

test('a new segment is a full-size partial file of zeroes that gets its name when it is whole', () => {
  const made = writer();
  made.begin(1, BigInt(3 * SIZE));
  made.write(BigInt(3 * SIZE), bytes(1000, 1));
  const path = join(folder, '000000010000000000000003');
  expect(opened).toEqual(['000000010000000000000003']);
  expect(statSync(`${path}.partial`).size).toBe(SIZE);
  expect(
    readFileSync(`${path}.partial`)
      .subarray(1000)
      .every((byte) => byte === 0),
  ).toBe(true);
  expect(made.durable).toBe(BigInt(3 * SIZE));
  expect(made.sync()).toBe(true);
  expect(made.sync()).toBe(false);
  expect(made.durable).toBe(BigInt(3 * SIZE + 1000));
  made.write(BigInt(3 * SIZE + 1000), bytes(SIZE - 1000, 2));
  expect(finished).toEqual(['000000010000000000000003']);
  expect(existsSync(`${path}.partial`)).toBe(false);
  expect(made.open).toBe(undefined);
  expect(made.durable).toBe(BigInt(4 * SIZE));
});

test('H-10 one message may cross segment borders, of any size', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 2 * SIZE + 500 }), { minLength: 1, maxLength: 8 }),
      async (lengths) => {
        rmSync(folder, { recursive: true });
        folder = mkdtempSync(join(tmpdir(), 'pgark-writer-'));
        const total = lengths.reduce((sum, length) => sum + length, 0);
        const stream = Buffer.alloc(total, 'a text whose length is no power of two');
        const made = writer();
        made.begin(1, 0n);
        let at = 0;
        for (const length of lengths) {
          made.write(BigInt(at), stream.subarray(at, at + length));
          at += length;
        }
        made.sync();
        await made.close();
        const files = readdirSync(folder).sort();
        const joined = Buffer.concat(files.map((name) => readFileSync(join(folder, name))));
        expect(joined.subarray(0, total).equals(stream)).toBe(true);
        expect(files.filter((name) => !name.endsWith('.partial'))).toHaveLength(Math.floor(total / SIZE));
      },
    ),
    { numRuns: 10 },
  );
});

test('a stream that does not follow what was written is STREAM_PROTOCOL', () => {
  const made = writer();
  made.begin(1, 0n);
  for (const start of [1n, 8192n]) {
    expect(() => made.write(start, bytes(10, 1))).toThrow(expect.objectContaining({ code: 'STREAM_PROTOCOL' }));
  }
  made.write(0n, bytes(100, 1));
  for (const start of [0n, 99n, 101n]) {
    expect(() => made.write(start, bytes(10, 1))).toThrow(expect.objectContaining({ code: 'STREAM_PROTOCOL' }));
  }
  made.release();
});

test('a partial segment is written anew from its first byte on, and keeps what lies behind', () => {
  const first = writer();
  first.begin(1, 0n);
  first.write(0n, bytes(5000, 7));
  first.sync();
  first.release();
  const second = writer();
  second.begin(1, 0n);
  second.write(0n, bytes(100, 7));
  second.sync();
  second.release();
  const content = readFileSync(join(folder, '000000010000000000000000.partial'));
  expect(content.subarray(0, 5000).every((byte) => byte === 7)).toBe(true);
  expect(content.length).toBe(SIZE);
});

test('a partial segment that a crash left short is filled up; a longer one is SPOOL_INVALID', () => {
  const path = join(folder, '000000010000000000000000.partial');
  writeFileSync(path, bytes(4096, 0));
  const made = writer();
  made.begin(1, 0n);
  made.write(0n, bytes(10, 1));
  made.release();
  expect(statSync(path).size).toBe(SIZE);

  writeFileSync(path, bytes(SIZE + 1, 0));
  made.begin(1, 0n);
  expect(() => made.write(0n, bytes(10, 1))).toThrow(expect.objectContaining({ code: 'SPOOL_INVALID' }));
});

test('a whole segment is never written over', () => {
  const path = join(folder, '000000010000000000000000');
  writeFileSync(path, 'whole');
  const made = writer();
  made.begin(1, 0n);
  expect(() => made.write(0n, bytes(10, 1))).toThrow(expect.objectContaining({ code: 'SPOOL_INVALID' }));
  expect(readFileSync(path, 'utf8')).toBe('whole');
});

test('the next segment is made ahead, and is as empty as one that is made when it is needed', async () => {
  const made = writer();
  made.begin(1, 0n);
  made.write(0n, bytes(10, 1));
  const spare = `${folder}.spare`;
  while (!existsSync(spare) || statSync(spare).size < SIZE) await sleep(5);
  await sleep(50);
  made.write(10n, bytes(SIZE, 2));
  const content = readFileSync(join(folder, '000000010000000000000001.partial'));
  expect(content.length).toBe(SIZE);
  expect(content.subarray(0, 10).every((byte) => byte === 2)).toBe(true);
  expect(content.subarray(10).every((byte) => byte === 0)).toBe(true);
  await made.close();
  expect(existsSync(spare)).toBe(false);
  expect(readdirSync(folder).sort()).toEqual(['000000010000000000000000', '000000010000000000000001.partial']);
});

test('a folder that is gone is SPOOL_UNAVAILABLE', () => {
  const made = writer();
  made.begin(1, 0n);
  rmSync(folder, { recursive: true });
  expect(() => made.write(0n, bytes(10, 1))).toThrow(expect.objectContaining({ code: 'SPOOL_UNAVAILABLE' }));
  folder = mkdtempSync(join(tmpdir(), 'pgark-writer-'));
});

/** The descriptor with which this process has a file open. */
function descriptorOf(path: string): number {
  const found = readdirSync('/proc/self/fd').find((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === path;
    } catch {
      return false; // the one with which the folder was read
    }
  });
  return Number(found);
}

/** Puts another file behind a descriptor: the lowest free number is the one that is given next. */
function replace(fd: number, path: string): void {
  closeSync(fd);
  expect(openSync(path, 'r+')).toBe(fd);
}

test.skipIf(process.platform !== 'linux')(
  'H-02 after a failed sync none succeeds, until the segment was written anew',
  async () => {
    const made = writer();
    made.begin(1, 0n);
    made.write(0n, bytes(1000, 1));
    made.sync();
    await sleep(100); // the maker of the spare opens files too
    made.write(1000n, bytes(1000, 2));
    const path = join(folder, '000000010000000000000000.partial');
    const fd = descriptorOf(path);
    replace(fd, '/dev/null'); // which cannot be synced
    const failure = expect.objectContaining({ code: 'SPOOL_UNAVAILABLE' }) as Error;
    expect(() => made.sync()).toThrow(failure);
    replace(fd, path);
    // As a disk does that has reported its error: the next sync would succeed.
    expect(() => made.sync()).toThrow(failure);
    expect(() => made.write(2000n, bytes(10, 3))).toThrow(failure);
    expect(made.durable).toBe(1000n);

    writeFileSync(path, bytes(SIZE, 0)); // what was not written is lost
    made.begin(1, 0n);
    made.write(0n, Buffer.concat([bytes(1000, 1), bytes(1000, 2)]));
    expect(made.sync()).toBe(true);
    expect(made.durable).toBe(2000n);
    expect(
      readFileSync(path)
        .subarray(0, 2000)
        .equals(Buffer.concat([bytes(1000, 1), bytes(1000, 2)])),
    ).toBe(true);
  },
);
