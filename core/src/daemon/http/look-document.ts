/** How old an answer is: reads answer from the last look at a cluster. */
import type { Daemon, DaemonCluster, Look } from '../daemon.ts';
import { refusal, type Refusal } from './refusal.ts';

/** Looks that may fail to come, or take long, before what is known is called stale; and seconds below which nothing is. */
const MISSED = 3;
const LEAST = 30_000;

/** Whether a look says nothing of now any more. One from the future was seen by a clock that was put back since, and may be of any age. */
export function isStale(look: Look, { config }: Daemon, now: number = Date.now()): boolean {
  return Math.abs(now - look.began) > Math.max(MISSED * config.refresh, LEAST);
}

export function lookDocument(look: Look, daemon: Daemon): LookDocument {
  const now = Date.now();
  return {
    began: new Date(look.began).toISOString(),
    ended: new Date(look.ended).toISOString(),
    ...(look.listed !== undefined && { listed: new Date(look.listed).toISOString() }),
    ageSeconds: Math.max(0, Math.round((now - look.began) / 1000)),
    stale: isStale(look, daemon, now),
    failures: look.failures.map(({ code, message, hint }) => ({ code, message, hint })),
  };
}

export interface LookDocument {
  readonly began: string;
  readonly ended: string;
  readonly listed?: string;
  readonly ageSeconds: number;
  readonly stale: boolean;
  readonly failures: readonly { readonly code: string; readonly message: string; readonly hint: string }[];
}

/** The last look, or that there is none yet. */
export function looked(cluster: DaemonCluster): Look | Refusal {
  return cluster.latest() ?? refusal('DAEMON_LOOKING', `nobody has looked at cluster "${cluster.name}" yet`);
}
