/** What a supervisor of processes is told: whether the daemon does its work, and whether a new start would help. Nothing in it is secret. */
import type { Daemon, DaemonCluster, StreamSample } from '../daemon.ts';
import { isStale } from './look-document.ts';

export interface Health {
  readonly healthy: boolean;
  /** One line each, with the name of the cluster. */
  readonly reasons: readonly string[];
}

/** Milliseconds that a receiver may be without a sign of life, or stand still behind its server, before a new start is worth it. */
const STANDSTILL = 180_000;

/**
 * Whether every receiver streams, as was seen a moment ago. What was not seen is not called good.
 */
export function readiness(daemon: Daemon, now: number = Date.now()): Health {
  const reasons = [
    ...(daemon.state === 'running' ? [] : [`the daemon is ${daemon.state}`]),
    ...[...daemon.clusters.values()].flatMap((cluster) =>
      notReady(cluster, daemon, now).map((reason) => `cluster ${cluster.name}: ${reason}`),
    ),
  ];
  return { healthy: reasons.length === 0, reasons };
}

function notReady(cluster: DaemonCluster, daemon: Daemon, now: number): readonly string[] {
  const part = receiverPart(cluster);
  if (part?.state !== 'running') return [`the receiver is ${part?.state ?? 'not there'}`];
  const look = cluster.latest();
  if (look === undefined) return ['nobody has looked at it yet'];
  const age = `${Math.round((now - look.began) / 1000)} s`;
  if (isStale(look, daemon, now)) return [`the last look at it began ${age} ago`];
  const { receiver } = look.status?.status ?? {};
  if (receiver === undefined) return ['what the receiver does could not be found out'];
  if (receiver.state !== 'running') return [`the state of the receiver is ${receiver.state}`];
  return receiver.status.state === 'streaming'
    ? []
    : [`the receiver does not stream, its state is ${receiver.status.state}`];
}

/**
 * False only where a new start of the process would help: a receiver that is thought to run has given no sign of life for minutes, or says
 * that it streams and takes nothing of what its server has. An outage of server or storage is none of that.
 */
export function liveness(daemon: Daemon, now: number = Date.now()): Health {
  if (daemon.state === 'draining') return { healthy: true, reasons: [] };
  const reasons = [...daemon.clusters.values()].flatMap((cluster) => {
    const part = receiverPart(cluster);
    if (part?.state !== 'running' || now - part.since < STANDSTILL) return [];
    const look = cluster.latest();
    if (look === undefined || isStale(look, daemon, now)) return [];
    const { receiver } = look.status?.status ?? {};
    if (receiver?.state === 'stale' && receiver.ageSeconds * 1000 >= STANDSTILL)
      return [`cluster ${cluster.name}: the receiver has given no sign of life for ${receiver.ageSeconds} s`];
    const stands =
      receiver?.state === 'running' && receiver.status.state === 'streaming' ? standstill(cluster.samples()) : 0;
    if (stands < STANDSTILL) return [];
    return [
      `cluster ${cluster.name}: the receiver has taken no WAL for ${Math.round(stands / 1000)} s, and the server has some`,
    ];
  });
  return { healthy: reasons.length === 0, reasons };
}

/** For how many milliseconds the position has been the same while the server had more; 0 when it moves, or nobody knows. */
export function standstill(samples: readonly StreamSample[]): number {
  const last = samples.at(-1);
  if (last?.received === undefined) return 0;
  let since = last.time;
  for (const { time, server, received } of samples.toReversed()) {
    // What nobody knew may have been anything.
    if (received !== last.received || server === undefined || server <= received) break;
    since = time;
  }
  return last.time - since;
}

function receiverPart(cluster: DaemonCluster): ReturnType<DaemonCluster['parts']>[number] | undefined {
  return cluster.parts().find(({ name }) => name === 'receiver');
}
