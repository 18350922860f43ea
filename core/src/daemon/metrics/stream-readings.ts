/** What is known of server, receiver, slot and spool, and how far the repositories are. */
import type { StatusDone } from '../../archive/status.ts';
import { parseLsn } from '../../postgres/lsn.ts';
import type { ReceiverStatus } from '../../receive/status-file.ts';
import type { ReceiverState } from '../../status/receiver-state.ts';
import type { TimelineInventory } from '../../repository/inventory.ts';
import { reading, seconds, type Reading } from './reading.ts';

export interface StreamParts {
  /** What the receiver said last; undefined when nobody has asked yet. */
  readonly receiver: ReceiverState | undefined;
  /** Whether a receiver is a part of the daemon. */
  readonly hasReceiver: boolean;
  /** Of the last look; undefined when it is too old, or saw nothing. */
  readonly done: StatusDone | undefined;
  /** Epoch milliseconds. */
  readonly now: number;
}

/** Milliseconds after which what a receiver said says nothing of now: it speaks every two seconds, and is heard every 15 at least. */
const SPOKEN = 60_000;

export function* streamReadings({ receiver, hasReceiver, done, now }: StreamParts): Generator<Reading> {
  const running =
    receiver?.state === 'running' && Math.abs(now - Date.parse(receiver.status.time)) < SPOKEN
      ? receiver.status
      : undefined;
  const isKnown = receiver !== undefined && receiver.state !== 'unreadable';
  if (isKnown && (hasReceiver || running !== undefined))
    yield* reading('pgark_receiver_connected', running?.connected !== undefined);
  if (running !== undefined) {
    yield* reading('pgark_receiver_state_info', 1, { state: running.state });
    for (const { name, waiting } of running.repositories)
      yield* reading('pgark_spool_waiting_files', waiting, { repository: name });
  }
  const position = running?.position;
  if (running !== undefined && position !== undefined) {
    yield* reading('pgark_wal_received_lsn_bytes', parseLsn(position.received));
    yield* reading('pgark_wal_flushed_lsn_bytes', parseLsn(position.flushed));
    yield* reading('pgark_receiver_lag_bytes', position.lagBytes);
    const caughtUp = Date.parse(running.time) - position.lagSeconds * 1000;
    yield* reading('pgark_receiver_caught_up_timestamp_seconds', seconds(caughtUp));
  }
  const server = done?.status.server.state === 'answered' ? done.status.server : undefined;
  const ends = [server?.walEnd, position?.serverEnd].flatMap((lsn) => (lsn === undefined ? [] : [parseLsn(lsn)]));
  const end = ends.reduce<bigint | undefined>(
    (most, one) => (most === undefined || one > most ? one : most),
    undefined,
  );
  yield* reading('pgark_server_wal_lsn_bytes', end);
  yield* reading('pgark_timeline', server?.timeline ?? position?.timeline);
  if (done === undefined) return;
  yield* reading('pgark_server_up', server !== undefined);
  if (server !== undefined) {
    const { slot } = server;
    const isLost = slot === undefined || slot.walStatus === 'lost' || slot.invalidation !== undefined;
    if (hasReceiver) yield* reading('pgark_slot_lost', isLost);
    yield* reading('pgark_slot_active', slot?.active);
    yield* reading('pgark_slot_kept_bytes', slot?.keptBytes);
    yield* reading('pgark_slot_safe_bytes', slot?.safeBytes);
  }
  yield* repositoryReadings(done, { running, end });
  if (done.spool.state !== 'read') return;
  yield* reading('pgark_spool_size_bytes', done.spool.bytes);
  yield* reading('pgark_spool_free_bytes', done.spool.freeBytes);
  yield* reading('pgark_spool_oldest_file_timestamp_seconds', seconds(done.spool.oldest));
}

/** How far each repository is, of the timeline that WAL is written on now. */
function* repositoryReadings(
  { status }: StatusDone,
  { running, end }: { readonly running: ReceiverStatus | undefined; readonly end: bigint | undefined },
): Generator<Reading> {
  const { map, system, server, lag } = status;
  const timeline = server.state === 'answered' ? server.timeline : running?.position?.timeline;
  const own = system !== undefined && running?.systemId === system.systemId ? running : undefined;
  let most = 0n;
  for (const { name, state } of map.repositories) {
    const wal = state.systems.find(({ systemId }) => systemId === system?.systemId)?.wal;
    const line = wal && newestLine(wal.timelines, timeline);
    const last = line?.runs.at(-1)?.last;
    const whole = wal === undefined || last === undefined ? undefined : (last + 1n) * BigInt(wal.segmentSize);
    const shipped = own?.repositories.find((repository) => repository.name === name)?.shipped;
    const all = [whole, shipped === undefined ? undefined : parseLsn(shipped)].filter((lsn) => lsn !== undefined);
    if (all.length === 0) continue;
    const reached = all.reduce((one, other) => (one > other ? one : other));
    if (reached > most) most = reached;
    yield* reading('pgark_wal_uploaded_lsn_bytes', reached, { repository: name });
    yield* reading('pgark_wal_last_upload_timestamp_seconds', seconds(line?.last?.modified), { repository: name });
  }
  if (map.repositories.length === 0 || lag.bytes === undefined || end === undefined) return;
  yield* reading('pgark_wal_lag_bytes', Math.min(lag.bytes, most >= end ? 0 : Number(end - most)));
}

/** What is archived on a later one than the server is on says nothing of this server. */
function newestLine(
  timelines: readonly TimelineInventory[],
  timeline: number | undefined,
): TimelineInventory | undefined {
  return timelines.findLast((one) => one.last !== undefined && (timeline === undefined || one.timeline <= timeline));
}
