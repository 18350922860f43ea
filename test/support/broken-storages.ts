/** Storages that each break one promise of the contract: the conformance suite has to find every one of them. */
import type { Storage } from '@pgark/sdk';
import type { StorageSuiteOptions } from '@pgark/sdk/testing';
import { BROKEN_PLACES } from './broken-places.ts';
import { BROKEN_PUTS } from './broken-puts.ts';
import { BROKEN_READS } from './broken-reads.ts';
import { BROKEN_SEQUENCES } from './broken-sequences.ts';

export interface BrokenStorage {
  readonly fault: string;
  /** The clauses of the broken promise that fail, all of them. */
  readonly fails: readonly string[];
  readonly create: () => Storage;
  /** What the suite is given beside it, where the fault is in that. */
  readonly options?: () => Partial<StorageSuiteOptions>;
  /** What the failure says, where a clause can fail for several reasons. */
  readonly says?: string;
}

export const BROKEN_STORAGES: readonly BrokenStorage[] = [
  ...BROKEN_PUTS,
  ...BROKEN_SEQUENCES,
  ...BROKEN_READS,
  ...BROKEN_PLACES,
];
