import { expect, test } from 'vitest';
import { newSeed, randomTarget } from '../../src/drill/random-target.ts';
import type { RestorePlan } from '../../src/restore/plan-types.ts';

const from = Date.parse('2026-11-21T06:00:00.000Z');
const plan = (last: bigint | undefined): RestorePlan =>
  ({ backup: { id: 'x', stopTime: new Date(from).toISOString() }, wal: { lastTransaction: last } }) as RestorePlan;

test('a moment lies between the end of the backup and the last transaction, and its seed draws it again', () => {
  const first = BigInt(from) * 1000n;
  for (let round = 0; round < 500; round++) {
    const seed = newSeed();
    const last = first + BigInt(round * round + 1);
    const target = randomTarget(plan(last), seed);
    if (target.kind !== 'time') throw new Error(`a target of the kind ${target.kind}`);
    expect(target.micros >= first && target.micros < last, `seed ${seed}, round ${round}`).toBe(true);
    expect(randomTarget(plan(last), seed)).toEqual(target);
  }
  const drawn = [1, 2, 3, 4].map((seed) => (randomTarget(plan(first + 10n ** 12n), seed) as { micros: bigint }).micros);
  expect(new Set(drawn).size).toBe(4);
});

test('without a transaction after the backup there is no moment', () => {
  expect(() => randomTarget(plan(undefined), 1)).toThrow('no transaction follows backup x');
  expect(() => randomTarget(plan(BigInt(from) * 1000n), 1)).toThrow('no transaction follows backup x');
});
