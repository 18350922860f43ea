/**
 * A model of the repository: random sequences of what may happen to one, and after each removal the question whether what a kept backup
 * promised is there. What must stay is worked out here, from the story, and not by the code that decides.
 *
 * `PGARK_TEST_RETENTION_STEPS` sets how many steps there are (default 100,000), `PGARK_TEST_RETENTION_SEED` replays; a failure names it.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RetentionModel } from './model.ts';
import { parseStep, type Step } from './story.ts';

const STEPS = Number(process.env['PGARK_TEST_RETENTION_STEPS'] || 100_000);
const SEED = Number(process.env['PGARK_TEST_RETENTION_SEED'] || Date.now() % 0x7fffffff);
/** Steps of one story. */
const LENGTH = 400;

const small = fc.nat(999);
/** As a text, so that a story that fails can be read. */
const step = (name: Step['name'], weight: number): fc.WeightedArbitrary<string> => ({
  arbitrary: fc.tuple(fc.constant(name), small, small, small).map((parts) => parts.join(' ')),
  weight,
});

// The first is what others shrink to.
const steps = fc.oneof(
  { withCrossShrink: true },
  step('tick', 36),
  step('wal', 44),
  step('backup', 12),
  step('incremental', 8),
  step('abandon', 2),
  step('slices', 3),
  step('promote', 2),
  step('stray', 2),
  step('upgrade', 1),
  step('pin', 3),
  step('unpin', 2),
  step('prove', 2),
  step('lease', 3),
  step('release', 3),
  step('lock', 2),
  step('expire', 5),
  step('gc', 2),
);

test(
  'H-70 H-71 H-72 H-74 whatever a kept backup promised is there, and nothing stays unaccounted for',
  { timeout: 60_000 + STEPS * 6 },
  async () => {
    const total = new Map<string, number>();
    let done = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(steps, { minLength: LENGTH, maxLength: LENGTH }), async (story) => {
        const model = await RetentionModel.begin();
        try {
          for (const one of story) await model.take(parseStep(one));
          await model.end();
        } catch (error) {
          const told = story.slice(0, model.steps).join(', ');
          throw new Error(`PGARK_TEST_RETENTION_SEED=${SEED}, step ${model.steps} of: ${told}`, { cause: error });
        } finally {
          done += model.steps;
          for (const [name, count] of model.counts) total.set(name, (total.get(name) ?? 0) + count);
        }
      }),
      {
        numRuns: Math.ceil(STEPS / LENGTH),
        seed: SEED,
        endOnFailure: process.env['PGARK_TEST_RETENTION_SHRINK'] !== '1',
      },
    );
    expect(done).toBeGreaterThanOrEqual(STEPS);
    // What it is about did happen.
    for (const name of [
      'removed',
      'crashed',
      'crashedGc',
      'promoted',
      'upgraded',
      'retained',
      'leased',
      'swept',
      'restores',
      'incrementals',
      'removedWal',
    ])
      expect(total.get(name) ?? 0, name).toBeGreaterThan(STEPS / 20_000);
  },
);
