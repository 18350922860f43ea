import { setTimeout as sleep } from 'node:timers/promises';
import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { hashInThread } from '../../src/pipeline/hash-thread.ts';
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
