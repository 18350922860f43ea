import { expect, test } from 'vitest';
import { XxHash32, xxhash32 } from '../src/xxhash32.ts';

/** Of the reference implementation, `xxhsum -H0`. */
const KNOWN: readonly (readonly [string, number])[] = [
  ['', 0x02cc5d05],
  ['a', 0x550d7456],
  ['abc', 0x32d153ff],
  ['Nobody inspects the spammish repetition', 0xe2293b2f],
];

test.each(KNOWN)('the hash of "%s"', (text, hash) => {
  expect(xxhash32(Buffer.from(text))).toBe(hash);
});

test('pieces of any length, at any alignment, are hashed as the whole', () => {
  const bytes = Buffer.from(Array.from({ length: 1000 }, (_, at) => (at * 7919) >> 3));
  for (let length = 0; length < 100; length++) {
    const whole = xxhash32(bytes.subarray(3, 3 + length));
    for (const step of [1, 3, 15, 16, 17, 31]) {
      const hash = new XxHash32();
      for (let at = 0; at < length; at += step) hash.update(bytes.subarray(3 + at, 3 + Math.min(length, at + step)));
      expect(hash.digest(), `${length} bytes by ${step}`).toBe(whole);
      expect(hash.digest(), 'asked again').toBe(whole);
    }
  }
});
