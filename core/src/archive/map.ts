import type { RecoveryMap } from '../map/recovery-map.ts';
import { failureAmong } from './backups.ts';
import type { Outcome } from './call.ts';
import { drawFor, type DrawCall } from './draw-map.ts';
import type { Workplace } from './workplace.ts';

export type MapCall = Omit<DrawCall, 'onEvent'>;

/** `failure`: of a repository that could not be read. */
export type DrawnMap = RecoveryMap & Outcome;

/** See `Archive.map`. */
export async function map(at: Workplace, call: MapCall): Promise<DrawnMap> {
  const drawn = await drawFor(at, call);
  return { ...drawn, failure: failureAmong(drawn.failures) };
}
