import { describe, expect, test } from 'vitest';
import { EvenSample, lookBetween } from '../../src/keys/even-sample.ts';

const sampleOf = (count: number, most?: number): readonly number[] => {
  const sample = new EvenSample<number>(most);
  for (let item = 0; item < count; item++) sample.add(item);
  return sample.items();
};

describe('EvenSample', () => {
  test('keeps everything that is few, and the first, the last and even distances of what is many', () => {
    for (const count of [0, 1, 2, 16])
      expect(sampleOf(count, 16)).toEqual(Array.from({ length: count }, (_, at) => at));
    for (const count of [17, 18, 31, 32, 33, 1000, 4096, 4097]) {
      const kept = sampleOf(count, 16);
      expect(kept.length).toBeLessThanOrEqual(18);
      expect([kept[0], kept.at(-1)]).toEqual([0, count - 1]);
      const steps = new Set(kept.slice(0, -1).map((item, at) => (kept[at + 1] ?? 0) - item));
      steps.delete((kept.at(-1) ?? 0) - (kept.at(-2) ?? 0));
      expect(steps.size).toBeLessThanOrEqual(1);
    }
    expect(sampleOf(100_000).length).toBeLessThan(1030);
  });
});

describe('lookBetween', () => {
  async function looks(
    values: readonly string[],
  ): Promise<{ readonly seen: ReadonlyMap<number, string>; count: number }> {
    let count = 0;
    const places = values.map((_, at) => at);
    const look = async (at: number): Promise<string> => {
      count++;
      return values[at] ?? '';
    };
    return { seen: await lookBetween(places, look, (one, other) => one === other), count };
  }

  test('finds every border between two that differ, exactly, with few looks', async () => {
    const runs = { a: 317, b: 1, c: 500, d: 206 };
    const values = Object.entries(runs).flatMap(([name, length]) => Array.from({ length }, () => name));
    const { seen, count } = await looks(values);
    expect(count).toBe(seen.size);
    expect(count).toBeLessThan(50);
    for (const border of [317, 318, 818]) {
      expect(seen.get(border - 1)).toBe(values[border - 1]);
      expect(seen.get(border)).toBe(values[border]);
    }
    expect([...new Set(seen.values())].sort()).toEqual(['a', 'b', 'c', 'd']);
  });

  test('what differs everywhere costs no more than the most looks; nothing and one item are no trouble', async () => {
    const { count } = await looks(Array.from({ length: 1000 }, (_, at) => String(at)));
    expect(count).toBe(64);
    expect((await looks([])).count).toBe(0);
    expect([...(await looks(['a'])).seen]).toEqual([[0, 'a']]);
  });
});
