/** What a supervisor of processes is told: whether the daemon does its work, and whether a new start would help. Nothing in it is secret. */
import type { Daemon, DaemonCluster } from '../daemon.ts';

export interface Health {
  readonly healthy: boolean;
  /** One line each, with the name of the cluster. */
  readonly reasons: readonly string[];
}

/** Milliseconds that a receiving thread may be without a sign of life before a new start is worth it. */
const STANDSTILL = 60_000;

/** Whether every receiver streams, or stands by for one that does, as it said a moment ago. What nobody has said is not called good. */
export function readiness(daemon: Daemon): Health {
  const reasons = [
    ...(daemon.state === 'running' ? [] : [`the daemon is ${daemon.state}`]),
    ...[...daemon.broken.keys()].map((name) => `cluster ${name}: its section of the config cannot be used`),
    ...[...daemon.clusters.values()].flatMap((cluster) =>
      notReady(cluster).map((reason) => `cluster ${cluster.name}: ${reason}`),
    ),
  ];
  return { healthy: reasons.length === 0, reasons };
}

function notReady(cluster: DaemonCluster): readonly string[] {
  const part = cluster.parts().find(({ name }) => name === 'receiver');
  if (part?.state !== 'running') return [`the receiver is ${part?.state ?? 'not there'}`];
  const said = cluster.receiver();
  if (said === undefined) return ['what the receiver does is not known yet'];
  if (said.state !== 'running') return [`the receiver says nothing of itself, its last word is ${said.state}`];
  const { state } = said.status;
  return state === 'streaming' || state === 'standing-by'
    ? []
    : [`the receiver does not stream, its state is ${state}`];
}

/**
 * False only where a new start of the process would help: a receiving thread that has given no sign of life. An outage of server or storage is
 * none of that, and a process that drains ends by itself.
 */
export function liveness(daemon: Daemon): Health {
  const reasons = (daemon.state === 'draining' ? [] : daemon.stuck(STANDSTILL)).map(
    (name) => `cluster ${name}: the receiving thread has given no sign of life for ${STANDSTILL / 1000} s`,
  );
  return { healthy: reasons.length === 0, reasons };
}
