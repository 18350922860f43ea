/** Random schedules, restarts, kills, clocks that are put forward and back, daylight saving: nothing twice, nothing lost, nothing beside its like. */
import { expect, test } from 'vitest';
import { Model } from './model.ts';

const FULL = process.env['PGARK_TEST_FULL'] === '1';
const STORIES = FULL ? 2000 : 25;
const SEED = Number(process.env['PGARK_SEED'] ?? Math.floor(Math.random() * 1e9));

test(
  `H-82 each moment is run at most once, beside none of its kind, and none is lost without a word (seed ${SEED})`,
  { timeout: FULL ? 3_600_000 : 60_000 },
  () => {
    const sum = { runs: 0, skips: 0, repeats: 0, kills: 0, jumps: 0 };
    for (let story = 0; story < STORIES; story++) {
      const model = new Model(SEED + story);
      const { faults, ...counts } = model.tell({ hours: 40 });
      expect(faults.slice(0, 5), `seed ${SEED + story}: ${JSON.stringify(model.jobs)}`).toEqual([]);
      for (const key of Object.keys(sum) as (keyof typeof sum)[]) sum[key] += counts[key];
    }
    // All that it is about has happened.
    for (const [what, count] of Object.entries(sum)) expect(count, what).toBeGreaterThan(0);
  },
);

test('a scheduler that forgets what is on record is caught by the same stories', () => {
  const faults = Array.from(
    { length: 10 },
    (_, story) => new Model(story, { forgetful: true }).tell({ hours: 40 }).faults,
  );
  expect(faults.flat().some((fault) => fault.startsWith('run twice'))).toBe(true);
});
