/** What the receiver of this host says of itself. */
import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { errnoOf } from '../contracts/errors.ts';
import { STATUS_FILE, type ReceiverStatus } from '../receive/status-file.ts';

/**
 * `running`: it wrote its status a moment ago. `stale`: it ended without a word, or stands still: what it said last may not hold. `stopped`: it
 * ended in order. `absent`: none has run on this host, or with another spool. `unreadable`: nobody could look.
 */
export type ReceiverState =
  | { readonly state: 'running' | 'stale' | 'stopped'; readonly status: ReceiverStatus; readonly ageSeconds: number }
  | { readonly state: 'absent' }
  | { readonly state: 'unreadable'; readonly problem: string };

/** Milliseconds after which a status is old: it is written every two seconds. */
const FRESH = 30_000;

/** Reads the status that a receiver has left beside its spool. Never throws. */
export async function readReceiverState(
  spool: string,
  cluster: string,
  now: number = Date.now(),
): Promise<ReceiverState> {
  const path = join(spool, cluster, STATUS_FILE);
  let status: ReceiverStatus;
  try {
    status = JSON.parse(await readFile(path, 'utf8')) as ReceiverStatus;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return { state: 'absent' };
    return { state: 'unreadable', problem: `${path}: ${error instanceof Error ? error.message : String(error)}` };
  }
  const time = Date.parse(status.time);
  if (status.format !== 1 || Number.isNaN(time)) return { state: 'unreadable', problem: `${path} is not a status` };
  const ageSeconds = Math.max(0, Math.round((now - time) / 1000));
  if (status.state === 'stopped') return { state: 'stopped', status, ageSeconds };
  // One from the future was written by another clock.
  const isAlive = Math.abs(now - time) < FRESH && (status.host !== hostname() || isRunning(status.pid));
  return { state: isAlive ? 'running' : 'stale', status, ageSeconds };
}

/** Whether a process of this host runs; one of another user does too. */
function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errnoOf(error) === 'EPERM';
  }
}
