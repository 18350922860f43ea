/** What hooks are still to be told, by the folders in which it waits: neither a hook nor its plugin is needed to look. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf } from '../contracts/errors.ts';
import { WAITING_NAME } from './waiting-events.ts';

/** Of one hook. Both are absent when nobody could look. */
export interface HookBacklog {
  readonly hook: string;
  /** Events that wait. */
  readonly waiting?: number;
  /** When the oldest of them came, epoch milliseconds. */
  readonly oldest?: number;
}

/** Looks at the folder of each hook. Never throws. */
export async function readHookBacklogs(folder: string, hooks: readonly string[]): Promise<readonly HookBacklog[]> {
  return Promise.all(
    hooks.map(async (hook) => {
      try {
        const names = (await readdir(join(folder, hook))).filter((name) => WAITING_NAME.test(name)).sort();
        const [first] = names;
        const microseconds = WAITING_NAME.exec(first ?? '')?.[1];
        return {
          hook,
          waiting: names.length,
          ...(microseconds !== undefined && { oldest: Math.floor(Number(microseconds) / 1000) }),
        };
      } catch (error) {
        // It is made when the first event is kept.
        return errnoOf(error) === 'ENOENT' ? { hook, waiting: 0 } : { hook };
      }
    }),
  );
}
