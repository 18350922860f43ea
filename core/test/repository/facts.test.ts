import { expect, test } from 'vitest';
import { memoryRepository } from './repository.ts';
import { ID, SYSTEM } from './sample-record.ts';

const OTHER = '20261122T064530Z-0001';

test('the newest fact of a kind that is wanted, for each subject', async () => {
  const facts = (await memoryRepository()).facts(SYSTEM);
  for (const [subject, kind, time, outcome] of [
    [ID, 'drill', 1000, 'failed'],
    [ID, 'drill', 2000, 'proven'],
    [ID, 'drill', 3000, 'inconclusive'],
    [ID, 'drill-like', 4000, 'proven'],
    [OTHER, 'drill', 5000, 'inconclusive'],
    ['wal', 'gap', 6000, 'proven'],
  ] as const)
    await facts.add(subject, { kind, time, data: { outcome } });
  const found = await facts.newestOfEach('drill', ({ data }) => data['outcome'] !== 'inconclusive');
  expect([...found]).toEqual([[ID, { kind: 'drill', time: 2000, data: { outcome: 'proven' } }]]);
});
