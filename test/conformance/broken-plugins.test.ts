/**
 * Each clause of each suite has a plugin that is broken just there. The tests of the suites (`*-suite*.test.ts`) run each of them and see it
 * fail with the id of its clause; here they are counted.
 */
import { CODEC_CLAUSES, HOOK_CLAUSES, STORAGE_CLAUSES } from '@pgark/sdk/testing';
import { describe, expect, test } from 'vitest';
import { BROKEN_CODECS } from '../support/broken-codecs.ts';
import { BROKEN_HOOKS } from '../support/broken-hooks.ts';
import { BROKEN_STORAGES } from '../support/broken-storages.ts';
import { SEALING_FAULTS } from '../support/sealing-codec.ts';

/** Of each kind: the clauses, and those that each broken plugin breaks. */
const SUITES = [
  { kind: 'storage', clauses: STORAGE_CLAUSES, broken: BROKEN_STORAGES.map(({ fails }) => fails) },
  {
    kind: 'codec',
    clauses: CODEC_CLAUSES,
    broken: [...BROKEN_CODECS.map(({ clauses }) => clauses), ...Object.values(SEALING_FAULTS)],
  },
  { kind: 'hook', clauses: HOOK_CLAUSES, broken: BROKEN_HOOKS.map(({ fails }) => [fails]) },
] as const;

describe('H-84 broken plugins', () => {
  test.for(SUITES)(
    'each clause of the suite of a $kind is broken by one',
    async ({ kind, clauses, broken }, { annotate }) => {
      const ids = clauses.map(({ id }) => id);
      expect(new Set(broken.flat())).toEqual(new Set(ids));
      await annotate(`${broken.length} broken plugins of the kind ${kind} for ${ids.length} clauses`);
    },
  );

  test('there are more than a hundred', async ({ annotate }) => {
    const count = SUITES.flatMap(({ broken }) => broken).length;
    console.log(`${count} broken plugins, each found by the id of a clause`);
    await annotate(String(count));
    expect(count).toBeGreaterThan(100);
  });
});
