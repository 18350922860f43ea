/** What the server says of the slot and of whoever streams from it. */
import { isArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { formatLsn } from '../postgres/lsn.ts';
import { askServer, readSlotReport } from '../postgres/slot-report.ts';
import type { ConnectionTarget } from '../postgres/target.ts';

/** LSNs as text. */
export type ServerState =
  | {
      readonly state: 'answered';
      readonly host: string;
      readonly systemId: string;
      readonly inRecovery: boolean;
      readonly timeline: number;
      /** The end of its WAL. */
      readonly walEnd: string;
      /** Absent when there is none of this name. */
      readonly slot?: {
        readonly active: boolean;
        readonly restartLsn?: string;
        readonly walStatus?: string;
        readonly keptBytes?: number;
        readonly safeBytes?: number;
        readonly invalidation?: string;
      };
      /** Whoever streams under the name of the slot, as `pg_stat_replication` shows it. */
      readonly stream?: {
        /** All but that it streams is shown to members of `pg_monitor` only. */
        readonly state?: string;
        readonly client?: string;
        readonly since?: string;
        readonly sent?: string;
        readonly flushed?: string;
      };
    }
  /** It could not be asked: nothing is known. */
  | { readonly state: 'unknown'; readonly code?: string; readonly problem: string };

/** Milliseconds for all questions together: who looks at a status when the server is down must not wait for it. */
const PATIENCE = 5000;

const STREAM = `
  SELECT state, host(client_addr) AS client, backend_start::text AS since, sent_lsn::text AS sent, flush_lsn::text AS flushed
    FROM pg_stat_replication WHERE application_name = $1 ORDER BY backend_start LIMIT 1`;

/** Asks the server, within a short time. Never throws, but for `ABORTED`. */
export async function readServerState(
  target: () => Promise<ConnectionTarget>,
  slot: string,
  { signal }: CallOptions = {},
): Promise<ServerState> {
  const late = AbortSignal.timeout(PATIENCE);
  const call = { signal: signal === undefined ? late : AbortSignal.any([signal, late]) };
  try {
    const server = await target();
    const report = await readSlotReport(server, slot, call);
    const [stream] = await askServer(server, call, async ({ client }) => (await client.query(STREAM, [slot])).rows);
    const { host, systemId, inRecovery, timeline, walEnd } = report;
    return {
      state: 'answered',
      host,
      systemId,
      inRecovery,
      timeline,
      walEnd: formatLsn(walEnd),
      ...(report.slot !== undefined && { slot: slotOf(report.slot, walEnd) }),
      ...(stream !== undefined && { stream: streamOf(stream as Readonly<Record<string, unknown>>) }),
    };
  } catch (error) {
    if (signal?.aborted === true) throw error;
    if (late.aborted) return { state: 'unknown', problem: `the server gave no answer within ${PATIENCE / 1000} s` };
    if (!isArchiveError(error)) throw error;
    return { state: 'unknown', code: error.code, problem: error.message };
  }
}

type Answered = Extract<ServerState, { readonly state: 'answered' }>;
type Report = Awaited<ReturnType<typeof readSlotReport>>;

function slotOf(slot: NonNullable<Report['slot']>, walEnd: bigint): NonNullable<Answered['slot']> {
  const { active, restartLsn, walStatus, safeBytes, invalidation } = slot;
  return {
    active,
    ...(restartLsn !== undefined && { restartLsn: formatLsn(restartLsn), keptBytes: Number(walEnd - restartLsn) }),
    ...(walStatus !== undefined && { walStatus }),
    ...(safeBytes !== undefined && { safeBytes: Number(safeBytes) }),
    ...(invalidation !== undefined && { invalidation }),
  };
}

function streamOf(row: Readonly<Record<string, unknown>>): NonNullable<Answered['stream']> {
  const text = (name: string): Readonly<Record<string, string>> => {
    const value = row[name];
    return typeof value === 'string' ? { [name]: value } : {};
  };
  return { ...text('state'), ...text('client'), ...text('since'), ...text('sent'), ...text('flushed') };
}
