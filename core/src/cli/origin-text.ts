import type { Origin } from '../config/explain.ts';

/** Where a value of the config comes from: `pgark.yaml:12`, `env PGARK_RECEIVE_SLOT`. */
export function originText(origin: Origin): string {
  if (origin.kind === 'default') return 'default';
  if (origin.kind === 'env') return `env ${origin.name}`;
  return origin.line === undefined ? origin.file : `${origin.file}:${origin.line}`;
}
