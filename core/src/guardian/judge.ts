/** What an answer of the server means. Pure. */
import type { ArchiveError } from '../contracts/errors.ts';
import type { SlotReport } from '../postgres/slot-report.ts';
import { formatSize } from './format-size.ts';

/** What is known of one subject. */
export interface Judgement {
  readonly subject: 'server' | 'slot' | 'lag' | 'leader' | 'archive';
  /** In small letters when all is well, `unknown` when it could not be found out. */
  readonly state: string;
  readonly message: string;
  /** What to do. */
  readonly hint?: string;
  /** A change of it is told although the state has the same name, such as the host of a primary. */
  readonly detail?: string;
}

export interface JudgeOptions {
  readonly slot: string;
  readonly systemId: string;
  /** Bytes. */
  readonly maxLag: number;
  /** The last answer before this one. */
  readonly before?: SlotReport;
}

/** Of what a slot may keep, the part that is left when it is told: a fifth. */
const RISK = 5n;

/** Whether a judgement is good news. Unknown is not. */
export function isCalm({ state }: Pick<Judgement, 'state'>): boolean {
  return state !== 'unknown' && state === state.toLowerCase();
}

export function judge(report: SlotReport, options: JudgeOptions): readonly Judgement[] {
  return [judgeServer(report, options), judgeSlot(report, options), judgeLag(report, options)];
}

/** Nobody could say: that is never shown as good. */
export function judgeSilence(
  { code, message }: ArchiveError,
  { slot }: Pick<JudgeOptions, 'slot'>,
): readonly Judgement[] {
  const hint =
    code === 'SERVER_AUTH'
      ? 'The guardian asks with SQL: pg_hba.conf needs a line for a database, not only for "replication".'
      : 'See the message of the server.';
  return [
    { subject: 'server', state: 'unknown', message: `which server is the primary is not known: ${message}`, hint },
    { subject: 'slot', state: 'unknown', message: `how slot "${slot}" is, is not known: ${message}`, hint },
    { subject: 'lag', state: 'unknown', message: `how far the receiver is behind is not known: ${message}`, hint },
  ];
}

function judgeServer(report: SlotReport, { systemId, before }: JudgeOptions): Judgement {
  const { host, timeline, inRecovery } = report;
  const subject = 'server';
  if (report.systemId !== systemId) {
    return {
      subject,
      state: 'SYSTEM_MISMATCH',
      message: `${host} is system ${report.systemId}, not ${systemId}`,
      hint: 'Another cluster answers at this address: correct the address.',
      detail: host,
    };
  }
  const role = inRecovery ? 'standby' : 'primary';
  const was =
    before === undefined || (before.host === host && before.timeline === timeline && before.inRecovery === inRecovery)
      ? ''
      : `; before, ${before.host} answered, a ${before.inRecovery ? 'standby' : 'primary'} on timeline ${before.timeline}`;
  return {
    subject,
    state: role,
    message: `${host} is a ${role} on timeline ${timeline}${was}`,
    detail: `${host} ${timeline}`,
  };
}

function judgeSlot(report: SlotReport, { slot: name }: JudgeOptions): Judgement {
  const { host, slot, keepBytes } = report;
  const subject = 'slot';
  const what = `slot "${name}" on ${host}`;
  if (slot === undefined) {
    const hint = 'The receiver makes it anew when it connects, unless receive.createSlot is false.';
    return { subject, state: 'SLOT_MISSING', message: `${what} does not exist`, hint };
  }
  if (slot.walStatus === 'lost' || slot.invalidation !== undefined) {
    const why = slot.invalidation === undefined ? '' : ` (${slot.invalidation})`;
    const hint = 'The receiver makes it anew when it connects, and records what is lost. Raise max_slot_wal_keep_size.';
    return { subject, state: 'SLOT_INVALIDATED', message: `${what} has lost its WAL${why}`, hint };
  }
  const left = slot.safeBytes;
  const scarce = left !== undefined && keepBytes !== undefined && left * RISK < keepBytes;
  if (slot.walStatus === 'unreserved' || scarce) {
    const message =
      left === undefined || left <= 0n
        ? `${what} loses its WAL at the next checkpoint`
        : `${what} loses its WAL after ${formatSize(left)} more`;
    const hint = 'See why the receiver is behind, and raise max_slot_wal_keep_size meanwhile.';
    return { subject, state: 'AT_RISK', message, hint };
  }
  if (slot.walStatus === undefined) {
    return { subject, state: 'UNRESERVED', message: `${what} keeps no WAL`, hint: 'The receiver makes it anew.' };
  }
  const safe = left === undefined ? 'any amount of WAL' : `${formatSize(left)} more`;
  return { subject, state: 'reserved', message: `${what} keeps its WAL, and may keep ${safe}`, detail: host };
}

function judgeLag(report: SlotReport, { slot: name, maxLag }: JudgeOptions): Judgement {
  const { host, slot, walEnd } = report;
  const subject = 'lag';
  if (slot?.restartLsn === undefined) {
    return { subject, state: 'unknown', message: `slot "${name}" on ${host} does not say how far the receiver is` };
  }
  const behind = walEnd > slot.restartLsn ? walEnd - slot.restartLsn : 0n;
  const message = `the receiver is ${formatSize(behind)} behind ${host}`;
  if (behind <= BigInt(maxLag)) return { subject, state: 'near', message };
  const hint = slot.active
    ? 'See its network, the disk of its spool, and with "ack: remote" the storage.'
    : 'No receiver streams from this slot: start one.';
  return { subject, state: 'RECEIVER_LAGGING', message, hint };
}
