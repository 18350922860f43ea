import { ABORT_CLAUSES } from './abort-clauses.ts';
import { BROKEN_CLAUSES } from './broken-clauses.ts';
import type { StorageClause } from './clause.ts';
import { KEY_CLAUSES } from './key-clauses.ts';
import { LIST_CLAUSES } from './list-clauses.ts';
import { LOCK_CLAUSES } from './lock-clauses.ts';
import { PAST_CLAUSES } from './past-clauses.ts';
import { PUT_CLAUSES } from './put-clauses.ts';
import { READ_CLAUSES } from './read-clauses.ts';
import { REMOVE_CLAUSES } from './remove-clauses.ts';
import { SCALE_CLAUSES } from './scale-clauses.ts';
import { STEP_CLAUSES } from './step-clauses.ts';

/** Every promise of the Storage contract as tests that are plain functions, in the order of their ids. */
export const STORAGE_CLAUSES: readonly StorageClause[] = [
  ...KEY_CLAUSES,
  ...PUT_CLAUSES,
  ...ABORT_CLAUSES,
  ...READ_CLAUSES,
  ...BROKEN_CLAUSES,
  ...SCALE_CLAUSES,
  ...LIST_CLAUSES,
  ...REMOVE_CLAUSES,
  ...STEP_CLAUSES,
  ...LOCK_CLAUSES,
  ...PAST_CLAUSES,
].sort((left, right) => left.id.slice(0, 7).localeCompare(right.id.slice(0, 7), 'en'));
