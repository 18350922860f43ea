import type { HookClause } from './clause.ts';
import { CLOSE_CLAUSES } from './close-clauses.ts';
import { CONTENT_CLAUSES } from './content-clauses.ts';
import { DELIVERY_CLAUSES } from './delivery-clauses.ts';
import { FAILURE_CLAUSES } from './failure-clauses.ts';

/** Every clause of the hook contract as it is tested. */
export const HOOK_CLAUSES: readonly HookClause[] = [
  ...DELIVERY_CLAUSES,
  ...FAILURE_CLAUSES,
  ...CONTENT_CLAUSES,
  ...CLOSE_CLAUSES,
];
