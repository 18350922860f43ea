import { MemoryStorage } from '@pgark/storage-memory';
import { describeStorage } from '@pgark/sdk/testing';
import { gaps, LOCAL_GAPS } from '../support/known-gaps.ts';
import { SCALE } from '../support/scale.ts';

describeStorage('memory', {
  create: async () => new MemoryStorage({ versions: true }),
  scale: SCALE,
  listLength: 10_000,
  knownGaps: [
    ...LOCAL_GAPS,
    ...gaps(
      'every storage is a place of its own, in this process',
      'STOR-07/reopen',
      'STOR-06/missing',
      'STOR-06/denied',
      'STOR-06/full',
    ),
    ...(SCALE === 'full' ? gaps('the object would be in the memory of this process', 'STOR-09/large') : []),
  ],
});
