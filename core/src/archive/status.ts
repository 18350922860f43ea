import { hooksFolder, targetOf } from '../archive-parts.ts';
import { readHookBacklogs, type HookBacklog } from '../hooks/hook-backlog.ts';
import { durationText } from '../retention/plan.ts';
import { clusterStatus, type ClusterStatus } from '../status/cluster-status.ts';
import { judge, type Judgement } from '../status/judge.ts';
import { readReceiverState, type ReceiverState } from '../status/receiver-state.ts';
import { readServerState } from '../status/server-state.ts';
import { readSpoolState, type SpoolState } from '../status/spool-state.ts';
import { failureAmong } from './backups.ts';
import type { Outcome } from './call.ts';
import { drawFor, type DrawCall } from './draw-map.ts';
import type { Workplace } from './workplace.ts';

export interface StatusCall extends Omit<DrawCall, 'systemId' | 'onEvent'> {
  /** Whether the server is asked. Default true. */
  readonly server?: boolean;
  /** How reasons put seconds into words. Default `2h`. */
  readonly age?: (seconds: number) => string;
}

/** `failure`: of a repository that could not be read. */
export interface StatusDone extends Outcome {
  /** The evidence. */
  readonly status: ClusterStatus;
  /** What it comes to by the thresholds of the config. */
  readonly judgement: Judgement;
  /** Of this host. */
  readonly spool: SpoolState;
  /** One entry for each hook of the config. */
  readonly hooks: readonly HookBacklog[];
}

/** See `Archive.status`. */
export async function status(at: Workplace, call: StatusCall): Promise<StatusDone> {
  const { config, loaded, signal } = at;
  const { slot } = config.receive;
  const { age = (seconds: number): string => durationText(seconds * 1000) } = call;
  const [receiver, spool, hooks, server, map] = await Promise.all([
    readReceiverState(config.receive.spool, config.cluster),
    readSpoolState(config.receive.spool, config.cluster),
    readHookBacklogs(
      hooksFolder(config),
      config.hooks.map(({ name }) => name),
    ),
    call.server === false
      ? { state: 'unknown' as const, problem: 'it was not asked' }
      : readServerState(() => targetOf(loaded, { signal }), slot, { signal }),
    drawFor(at, call),
  ]);
  const evidence = clusterStatus({ config, time: Date.now(), receiver, server, map });
  const judgement = judge(evidence, config.status, age);
  return { status: evidence, judgement, spool, hooks, failure: failureAmong(map.failures) };
}

/** See `Archive.receiver`. */
export async function receiver({ config }: Workplace): Promise<ReceiverState> {
  return readReceiverState(config.receive.spool, config.cluster);
}
