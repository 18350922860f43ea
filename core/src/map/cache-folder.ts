import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Config } from '../config/config.ts';

/** Where listings are remembered; undefined when they are not. */
export function cacheFolder({ status }: Pick<Config, 'status'>, env: NodeJS.ProcessEnv): string | undefined {
  if (status.cacheAge === undefined) return undefined;
  return status.cache ?? join(env['XDG_CACHE_HOME'] || join(env['HOME'] || homedir(), '.cache'), 'pgark');
}
