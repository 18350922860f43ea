import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { spawnSync } from 'node:child_process';
import { markAsUntransferable } from 'node:worker_threads';
import { describe, expect, test } from 'vitest';
import { releaseChunk } from '../../src/contracts/lease.ts';
import { blocksInThread, hashInThread, piecesInThread, readInThread } from '../../src/pipeline/hash-thread.ts';
import { blocksInPlace, type BlockSink } from '../../src/pipeline/hasher.ts';
import { content, sha256 } from './objects.ts';

async function hashed(bytes: Uint8Array, chunk: number): Promise<string> {
  const hasher = hashInThread();
  for (let at = 0; at < bytes.byteLength; at += chunk) {
    const part = Buffer.from(bytes.subarray(at, at + chunk));
    await hasher.update(part);
    part.fill(0);
  }
  return hasher.digest();
}

test('hashes many streams at once, each for itself', async () => {
  const streams = [0, 1, 65_536, 1024 * 1024, 1024 * 1024 + 1, 9_000_001].map((length) => content(length, `${length}`));
  for (const chunk of [1000, 65_536, 3_000_000]) {
    const digests = await Promise.all(streams.map((bytes) => hashed(bytes, chunk)));
    expect(digests).toEqual(streams.map((bytes) => sha256(bytes)));
  }
});

test('a stream that is given up takes nothing from the others', async () => {
  const bytes = content(5_000_000);
  for (let round = 0; round < 6; round++) {
    const given = hashInThread();
    await given.update(content(700_000));
    given.discard();
    given.discard();
  }
  expect(await hashed(bytes, 300_000)).toBe(sha256(bytes));
});

test('an idle thread ends, and the next stream starts another', async () => {
  const bytes = content(100_000);
  expect(await hashed(bytes, 10_000)).toBe(sha256(bytes));
  await sleep(2300);
  expect(await hashed(bytes, 10_000)).toBe(sha256(bytes));
});

test('keeps no process alive, whether a stream was ended or given up', () => {
  const module = new URL('../../src/pipeline/hash-thread.ts', import.meta.url);
  const program = `
    const { hashInThread } = await import('${module.href}');
    const given = hashInThread();
    await given.update(Buffer.alloc(10));
    const ended = hashInThread();
    await ended.update(Buffer.alloc(2_000_000));
    const hex = await ended.digest();
    given.discard();
    console.log(hex);`;
  const run = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  expect(run).toMatchObject({ status: 0, stdout: `${sha256(Buffer.alloc(2_000_000))}\n` });
});

test('streams that wait for each other do not keep memory from each other', async () => {
  // More of them than there are pieces of memory, each with a piece that it has only begun.
  const hashers = Array.from({ length: 20 }, () => hashInThread());
  const text = Buffer.from('one after the other');
  for (let round = 0; round < 3; round++) for (const hasher of hashers) await hasher.update(text);
  const digest = sha256(Buffer.concat([text, text, text]));
  for (const hasher of hashers) expect(await hasher.digest()).toBe(digest);
});

describe('pieces', () => {
  test('each has its digest, in order, however the bytes come', async () => {
    const pieces = [0, 1, 700, 0, 0, 1024 * 1024, 1024 * 1024 - 701, 3_000_001, 0].map((length, at) =>
      content(length, `${at}`),
    );
    for (const chunk of [997, 65_536, 5_000_000]) {
      const digests: string[] = [];
      const hasher = piecesInThread((digest) => digests.push(digest));
      for (const piece of pieces) {
        for (let at = 0; at < piece.byteLength; at += chunk) {
          const part = Buffer.from(piece.subarray(at, at + chunk));
          hasher.write(part);
          part.fill(0);
          await hasher.pressure();
        }
        hasher.cut();
      }
      await hasher.finish();
      hasher.discard();
      expect(digests).toEqual(pieces.map((piece) => sha256(piece)));
    }
  });

  test('thousands of empty ones take no memory that would have to be waited for', async () => {
    const digests: string[] = [];
    const hasher = piecesInThread((digest) => digests.push(digest));
    for (let piece = 0; piece < 5000; piece++) hasher.cut();
    await hasher.finish();
    hasher.discard();
    expect(digests).toHaveLength(5000);
    expect(new Set(digests)).toEqual(new Set([sha256(Buffer.alloc(0))]));
  });

  test('a writer that cannot wait is asked to, and loses nothing if it does not', async () => {
    const bytes = content(20_000_000);
    let digest = '';
    const hasher = piecesInThread((told) => (digest = told));
    hasher.write(bytes);
    const pressure = hasher.pressure();
    expect(pressure).toBeInstanceOf(Promise);
    await pressure;
    hasher.cut();
    await hasher.finish();
    hasher.discard();
    expect(digest).toBe(sha256(bytes));
  });

  test('what is written after the end is an error', async () => {
    const hasher = piecesInThread(() => undefined);
    hasher.discard();
    expect(() => hasher.write(Buffer.from('late'))).toThrow(/after the end/);
    await expect(hasher.finish()).rejects.toThrow(/after the end/);
  });
});

describe.each([
  ['in the thread', blocksInThread],
  ['in place', blocksInPlace],
])('a stream that is hashed on its way, %s', (_, begin) => {
  /** A sink that keeps what it gets, and releases it as a reader does. */
  class Kept implements BlockSink {
    readonly chunks: Buffer[] = [];
    ended = false;
    write(bytes: Uint8Array): void {
      if (this.ended) throw new Error('it was ended before');
      this.chunks.push(Buffer.from(bytes));
    }
    give(block: Uint8Array): void {
      this.write(block);
      releaseChunk(block);
    }
    end(): void {
      this.ended = true;
    }
    fail(error: unknown): void {
      throw error;
    }
  }

  test('goes on as it came, to one sink after the other, and only its pieces are hashed', async () => {
    const sizes = [0, 1, 511, 1024 * 1024 - 512, 0, 1_500_001, 70_000];
    const digests: string[] = [];
    const hasher = begin((sha256) => digests.push(sha256));
    const sinks: Kept[] = [];
    const expected: Buffer[] = [];
    for (let part = 0; part < 3; part++) {
      const sink = new Kept();
      sinks.push(sink);
      hasher.begin(sink);
      const bytes: Buffer[] = [];
      for (const [at, size] of sizes.entries()) {
        const header = content(512, `header ${part} ${at}`);
        const piece = content(size, `piece ${part} ${at}`);
        hasher.pass(Buffer.from(header));
        for (let from = 0; from < size; from += 40_000) {
          const chunk = Buffer.from(piece.subarray(from, from + 40_000));
          hasher.write(chunk);
          chunk.fill(0);
        }
        hasher.cut();
        await hasher.pressure();
        bytes.push(header, piece);
      }
      hasher.end();
      expected.push(Buffer.concat(bytes));
    }
    // An archive of nothing.
    const empty = new Kept();
    hasher.begin(empty);
    hasher.end();
    await hasher.finish();
    hasher.discard();
    for (const [part, { chunks, ended }] of sinks.entries()) {
      expect(ended).toBe(true);
      expect(Buffer.concat(chunks).equals(expected[part] ?? Buffer.alloc(0))).toBe(true);
    }
    expect(empty).toMatchObject({ chunks: [], ended: true });
    const wanted = [0, 1, 2].flatMap((part) => sizes.map((size, at) => sha256(content(size, `piece ${part} ${at}`))));
    expect(digests).toEqual(wanted);
  });

  test('takes bytes with their memory, in their place among the others', async () => {
    const digests: string[] = [];
    const hasher = begin((sha256) => digests.push(sha256));
    const [one, other, third] = [content(300_000, 'one'), content(200_000, 'other'), content(70_000, 'third')];
    hasher.write(one.subarray(0, 1000));
    const memory = new Uint8Array(500_000);
    memory.set(one.subarray(1000), 512);
    memory.set(other.subarray(0, 90_000), 400_000);
    const back: ArrayBuffer[] = [];
    const ranges = [
      { from: 512, to: 299_512, ends: true },
      { from: 0, to: 0, ends: true },
      { from: 400_000, to: 490_000, ends: false },
    ];
    hasher.move(memory.buffer, ranges, (bytes) => back.push(bytes));
    hasher.write(other.subarray(90_000));
    hasher.cut();
    hasher.move(Uint8Array.from(third).buffer, [{ from: 0, to: 70_000, ends: true }], (bytes) => back.push(bytes));
    await hasher.finish();
    hasher.discard();
    expect(digests).toEqual([one, Buffer.alloc(0), other, third].map((bytes) => sha256(bytes)));
    expect(back.map(({ byteLength }) => byteLength)).toEqual([500_000, 70_000]);
    expect(third.equals(Buffer.from(back[1] ?? new ArrayBuffer()))).toBe(true);
  });

  test('that is given up ends no sink', async () => {
    const sink = new Kept();
    const hasher = begin(() => undefined);
    hasher.begin(sink);
    hasher.write(content(5_000_000));
    hasher.discard();
    const other = begin(() => undefined);
    other.write(content(10));
    await other.finish();
    other.discard();
    expect(sink.ended).toBe(false);
  });

  test('whose sink takes nothing any more is told so where it is written', async () => {
    const fault = new Error('the reader has left');
    const refuse = (): never => {
      throw fault;
    };
    const hasher = begin(() => undefined);
    hasher.begin({ write: refuse, give: refuse, end: () => undefined, fail: () => undefined });
    const writeAll = async (): Promise<void> => {
      hasher.pass(content(3_000_000));
      hasher.end();
      await hasher.finish();
    };
    await expect(writeAll()).rejects.toBe(fault);
    hasher.discard();
  });
});

test('memory that cannot go to the thread is told, and neither waited for nor left out of a digest', async () => {
  const digests: string[] = [];
  const hasher = piecesInThread((sha256) => digests.push(sha256));
  hasher.write(content(1000));
  const buffer = new ArrayBuffer(10);
  markAsUntransferable(buffer); // as is the pool of Node, or the memory of WebAssembly
  const released: ArrayBuffer[] = [];
  for (let round = 0; round < 10; round++)
    expect(() => hasher.move(buffer, [{ from: 0, to: 10, ends: true }], (memory) => released.push(memory))).toThrow(
      /cannot go to the hashing thread/,
    );
  await expect(hasher.finish()).rejects.toMatchObject({ code: 'INTERNAL' });
  hasher.discard();
  expect(digests).toEqual([]);
  expect(released).toEqual([]);
  // The others go on.
  const bytes = content(5_000_000);
  expect(await hashed(bytes, 300_000)).toBe(sha256(bytes));
});

test('reads files into the memory that it is given, while it hashes streams', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'pgark-hash-thread-'));
  try {
    const path = join(folder, 'file');
    const bytes = content(3_000_001);
    writeFileSync(path, bytes);
    const stream = hashed(bytes, 300_000);
    for (const room of [bytes.byteLength, 4_000_000, 700_000, 0]) {
      const memory = new Uint8Array(room);
      const read = await readInThread(path, memory);
      if (read === undefined) throw new Error('there is one core only, and no thread');
      const expected = bytes.subarray(0, room);
      expect(memory.byteLength, 'it went to the thread').toBe(0);
      expect(read).toMatchObject({ size: expected.byteLength, sha256: sha256(expected) });
      expect(read.memory).toHaveLength(room);
      expect(expected.equals(read.memory.subarray(0, read.size))).toBe(true);
    }
    await expect(readInThread(join(folder, 'none'), new Uint8Array(10))).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(readInThread(folder, new Uint8Array(10))).rejects.toMatchObject({ code: 'EISDIR' });
    expect(await stream).toBe(sha256(bytes));
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('a thread that dies fails all that wait for it, and the next stream starts another', () => {
  const module = new URL('../../src/pipeline/hash-thread.ts', import.meta.url);
  // The thread is ended in the middle of its work, as it would be for want of memory.
  const program = `
    import { Worker } from 'node:worker_threads';
    const { postMessage } = Worker.prototype;
    let ended = false;
    Worker.prototype.postMessage = function (message, transfer) {
      postMessage.call(this, message, transfer);
      if (message.stream === 2 && !ended) ended = this.terminate();
    };
    const { blocksInThread, hashInThread, piecesInThread, readInThread } = await import('${module.href}');
    const first = hashInThread();
    await first.update(Buffer.alloc(10));
    const blocks = blocksInThread(() => undefined);
    const sinks = [];
    for (let number = 0; number < 3; number++) {
      sinks[number] = 'waits';
      const end = () => (sinks[number] = 'ended');
      blocks.begin({ write() {}, give() {}, end, fail: (error) => (sinks[number] = error.code) });
      blocks.pass(Buffer.alloc(5000));
      if (number < 2) blocks.end();
    }
    const pieces = piecesInThread(() => undefined);
    pieces.write(Buffer.alloc(30_000_000));
    pieces.cut();
    const read = readInThread('/proc/self/exe', new Uint8Array(90_000_000));
    const [one, other, file] = await Promise.allSettled([first.digest(), pieces.finish(), read, pieces.pressure()]);
    for (const { reason } of [one, other, file]) console.log(reason?.code, reason?.message);
    console.log(sinks.join(' '));
    const next = hashInThread();
    await next.update(Buffer.from('again'));
    console.log(await next.digest());`;
  const run = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    encoding: 'utf8',
    timeout: 30_000,
  });
  const [one, other, file, sinks, again] = run.stdout.trim().split('\n');
  expect({ one, other, file, stderr: run.stderr }).toMatchObject({
    one: 'INTERNAL the hashing thread ended',
    other: 'INTERNAL the hashing thread ended',
    file: 'INTERNAL the hashing thread ended',
  });
  // Its answers about the first may have come before its end.
  expect(sinks).toMatch(/^(ended|INTERNAL) (ended|INTERNAL) INTERNAL$/);
  expect(again).toBe(sha256(Buffer.from('again')));
});
