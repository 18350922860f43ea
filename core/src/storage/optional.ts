import type { Storage } from '../contracts/index.ts';

type Retain = NonNullable<Storage['retain']>;

/** The method `retain` of what is wrapped around a storage: it is there if the storage has it. */
export function withRetain(storage: Storage, wrap: (retain: Retain) => Retain): Pick<Storage, 'retain'> {
  if (storage.retain === undefined) return {};
  return { retain: wrap((key, until, options) => (storage as Required<Storage>).retain(key, until, options)) };
}
