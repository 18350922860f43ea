import { ArchiveError, type ErrorCode } from '../contracts/errors.ts';
import type { EventSink } from '../contracts/hook.ts';
import { receive as receiveWal, type ReceiveResult } from '../receive/receive.ts';
import type { LongCall } from './call.ts';
import { errorOf, tellingOf } from './telling.ts';
import type { Workplace } from './workplace.ts';

export interface ReceiveCall extends Omit<LongCall<never>, 'onProgress'> {
  /** Replication slot, and application name for `synchronous_standby_names`. Default: `receive.slot` of the config. */
  readonly slot?: string;
  /** Stops once WAL up to this LSN is durable in the spool. Default: runs until the signal fires. */
  readonly until?: bigint;
  /** Whether WAL is shipped into the repositories; else it stays in the spool. Default true. */
  readonly ship?: boolean;
  /** Milliseconds that shipping gets to finish, asked for when the receiver ends. Default 30 s. */
  readonly stopTimeout?: () => number;
  /** Told every second that the receiving thread works: one that stands still says nothing. It must not throw. */
  readonly onAlive?: () => void;
  /** Goes on although the history of the server, now on this timeline, has diverged. */
  readonly acceptTimeline?: number;
}

/** Ends of a receiver that say nothing of what is received: somebody has asked for it, or another one is at work. */
const NO_OUTAGE: ReadonlySet<ErrorCode> = new Set(['ABORTED', 'USAGE', 'SPOOL_LOCKED']);

/** See `Archive.receive`. */
export async function receive(at: Workplace, call: ReceiveCall): Promise<ReceiveResult> {
  const { config, logger, signal } = at;
  const { until, acceptTimeline } = call;
  if (acceptTimeline !== undefined && !(Number.isInteger(acceptTimeline) && acceptTimeline > 0))
    throw new ArchiveError('USAGE', `not a timeline: ${acceptTimeline}`);
  const section = { ...config.receive, ...(call.slot !== undefined && { slot: call.slot }) };
  const { onEvent } = call;
  const events = await at.hooks();
  const { emit } = tellingOf(events, { onEvent, signal });
  events.start();
  // What ends a receiver is told, when it was not told as its state before.
  let state: string | undefined;
  const watched: EventSink = (name, data) => {
    if (name === 'wal.state' && !('repository' in data) && 'state' in data) ({ state } = data);
    emit(name, data);
  };
  const work = async (): Promise<ReceiveResult> => {
    // Shipping waits in its own way, so that one outage is one message and the operator sees the state.
    const { writable } = await at.open({ retry: { deadline: 0 } });
    return receiveWal({
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
      onEvent: watched,
      ...(call.stopTimeout !== undefined && { stopTimeout: call.stopTimeout }),
      ...(call.onAlive !== undefined && { onAlive: call.onAlive }),
      wasTroubled: (repository) => events.hasTold('storage.degraded', { repository, code: '', message: '' }),
    });
  };
  let result: ReceiveResult;
  try {
    result = await work();
  } catch (error) {
    const { code, message } = errorOf(error);
    if (code !== state && !NO_OUTAGE.has(code)) emit('wal.state', { state: code, message });
    throw error;
  }
  const { unshipped } = result;
  if (unshipped > 0) logger.warn({ unshipped }, 'files stay in the spool; the next run ships them');
  return result;
}
