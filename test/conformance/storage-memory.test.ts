import { MemoryStorage } from '@pgark/storage-memory';
import { describeStorage } from '@pgark/sdk/testing';

describeStorage('memory', {
  create: async () => new MemoryStorage(),
});
