/** Storages that each break one promise of the contract: the conformance suite has to find every one of them. */
import type { Storage } from '@pgark/sdk';
import { BROKEN_PUTS } from './broken-puts.ts';
import { BROKEN_READS } from './broken-reads.ts';

export interface BrokenStorage {
  readonly fault: string;
  /** The clauses of the broken promise that fail, all of them. */
  readonly fails: readonly string[];
  readonly create: () => Storage;
}

export const BROKEN_STORAGES: readonly BrokenStorage[] = [...BROKEN_PUTS, ...BROKEN_READS];
