import { ArchiveError } from '../contracts/errors.ts';
import { receive as receiveWal, type ReceiveResult } from '../receive/receive.ts';
import type { LongCall } from './call.ts';
import { tellingOf } from './telling.ts';
import type { Workplace } from './workplace.ts';

export interface ReceiveCall extends Omit<LongCall<never>, 'onProgress'> {
  /** Replication slot, and application name for `synchronous_standby_names`. Default: `receive.slot` of the config. */
  readonly slot?: string;
  /** Stops once WAL up to this LSN is durable in the spool. Default: runs until the signal fires. */
  readonly until?: bigint;
  /** Whether WAL is shipped into the repositories; else it stays in the spool. Default true. */
  readonly ship?: boolean;
  /** Goes on although the history of the server, now on this timeline, has diverged. */
  readonly acceptTimeline?: number;
}

/** See `Archive.receive`. */
export async function receive(at: Workplace, call: ReceiveCall): Promise<ReceiveResult> {
  const { config, logger, signal } = at;
  const { until, acceptTimeline } = call;
  if (acceptTimeline !== undefined && !(Number.isInteger(acceptTimeline) && acceptTimeline > 0))
    throw new ArchiveError('USAGE', `not a timeline: ${acceptTimeline}`);
  const section = { ...config.receive, ...(call.slot !== undefined && { slot: call.slot }) };
  // Shipping waits in its own way, so that one outage is one message and the operator sees the state.
  const { events, writable } = await at.open({ retry: { deadline: 0 } });
  const { onEvent } = call;
  events.start();
  const result = await receiveWal({
    cluster: config.cluster,
    target: await at.target({ applicationName: section.slot }),
    repositories: call.ship === false ? [] : writable,
    config: section,
    ...(until !== undefined && { until }),
    ...(acceptTimeline !== undefined && { acceptTimeline }),
    takeBackup: async (own) => {
      const { unattendedBackup } = await import('./unattended-backup.ts');
      return unattendedBackup(at, { signal: own, telling: tellingOf(events, { onEvent, signal: own }) });
    },
    logger,
    signal,
    onEvent: tellingOf(events, { onEvent, signal }).emit,
  });
  const { unshipped } = result;
  if (unshipped > 0) logger.warn({ unshipped }, 'files stay in the spool; the next run ships them');
  return result;
}
