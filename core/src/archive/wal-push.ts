import type { LetGoResult } from '../wal-command/let-go.ts';
import { pushOrLetGo } from '../wal-command/let-go.ts';
import { DroppedSegments } from '../wal-command/dropped-segments.ts';
import type { WalPushResult } from '../wal-command/push.ts';
import type { LongCall } from './call.ts';
import { tellingOf } from './telling.ts';
import type { Workplace } from './workplace.ts';

export interface WalPushCall extends Omit<LongCall<never>, 'onProgress'> {
  /** The file, `%p`: an absolute path. */
  readonly path: string;
  /** Its name, `%f`. */
  readonly name: string;
  /** The cluster whose WAL it must be, decimal text. Default: what the file says. */
  readonly systemId?: string;
  /** Milliseconds for the whole. Default one minute. */
  readonly timeout?: number;
}

/** See `Archive.walPush`. */
export async function walPush(at: Workplace, call: WalPushCall): Promise<WalPushResult | LetGoResult> {
  const { config, logger, signal } = at;
  const { path, name, systemId, timeout, onEvent } = call;
  const { writable } = await at.open({ retry: { deadline: 0 } });
  const result = await pushOrLetGo({
    path,
    name,
    repositories: writable,
    signal,
    logger,
    policy: config.push,
    dropped: new DroppedSegments(config.receive.spool, config.cluster, config.push),
    // Hooks are opened for it alone: PostgreSQL waits for each of its segments.
    onGap: async (gap) => tellingOf(await at.hooks(), { onEvent, signal }).gate('wal.gap', gap),
    ...(timeout !== undefined && { timeout }),
    ...(systemId !== undefined && { systemId }),
  });
  logger.debug({ file: name, outcome: result.outcome }, result.outcome === 'dropped' ? 'let go' : 'archived');
  return result;
}
