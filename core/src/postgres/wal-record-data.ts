/**
 * What single WAL records say (PostgreSQL source: `access/xlogrecord.h`, `access/xact.h`, `access/xlog_internal.h`,
 * `catalog/pg_control.h`; the same in 15 to 18 but for the size of a dropped statistics item).
 */

/** Where a record is. */
export interface WalRecordPosition {
  /** Its first byte. */
  readonly lsn: bigint;
  /** Where the next record may begin: what the server calls the record's end, and gives as its LSN. */
  readonly end: bigint;
}

/** A moment as the server wrote it. */
interface WalTime {
  /** Epoch ms, rounded down. */
  readonly time: number;
  /** The same moment in full: microseconds since 1970. */
  readonly micros: bigint;
}

/** The end of a transaction, or its `PREPARE TRANSACTION`. */
export interface WalTransaction extends WalRecordPosition, WalTime {
  readonly kind: 'commit' | 'abort' | 'prepare';
  /** The transaction's own id; for a prepared transaction that of the transaction, not of `COMMIT PREPARED`. */
  readonly xid: number;
  /** Whether a prepared transaction ends here. */
  readonly prepared: boolean;
}

/** `pg_create_restore_point`. */
interface WalRestorePoint extends WalRecordPosition, WalTime {
  readonly kind: 'restore-point';
  readonly name: string;
}

/** A checkpoint. */
interface WalCheckpoint extends WalRecordPosition {
  readonly kind: 'checkpoint';
  /** Whether the server was shut down with it; it is then the last record before a start. */
  readonly shutdown: boolean;
  readonly redo: bigint;
  readonly timeline: number;
  readonly previousTimeline: number;
  /** Next transaction id, with the epoch in the upper half. */
  readonly nextXid: bigint;
  /** Epoch ms; whole seconds. */
  readonly time: number;
}

/** The first record of a new timeline after a promotion. */
interface WalEndOfRecovery extends WalRecordPosition, WalTime {
  readonly kind: 'end-of-recovery';
  readonly timeline: number;
  readonly previousTimeline: number;
}

/** The rest of the segment is empty: `pg_switch_wal`, `archive_timeout`. */
interface WalSwitch extends WalRecordPosition {
  readonly kind: 'switch';
}

/** The end of a base backup taken from a primary. */
interface WalBackupEnd extends WalRecordPosition {
  readonly kind: 'backup-end';
  /** Start LSN of the backup that ended. */
  readonly start: bigint;
}

/** `CREATE TABLESPACE`: its replay writes to `location` itself, wherever the other tablespaces were mapped to. */
export interface WalTablespace extends WalRecordPosition {
  readonly kind: 'tablespace';
  readonly oid: number;
  /** Empty for one inside the data directory. */
  readonly location: string;
}

/** The records that matter to an archive; the reader passes over all others. */
export type WalRecord =
  WalTransaction | WalRestorePoint | WalCheckpoint | WalEndOfRecovery | WalSwitch | WalBackupEnd | WalTablespace;

/** Size of the header of a record in bytes. */
export const WAL_RECORD_HEADER = 24;

const RM_XLOG = 0;
const RM_XACT = 1;
const RM_TABLESPACE = 5;
const XLOG_CHECKPOINT_SHUTDOWN = 0x00;
const XLOG_CHECKPOINT_ONLINE = 0x10;
const XLOG_SWITCH = 0x40;
const XLOG_BACKUP_END = 0x50;
const XLOG_RESTORE_POINT = 0x70;
const XLOG_END_OF_RECOVERY = 0x90;
const TABLESPACE_CREATE = 0x00;
const XACT_COMMIT = 0x00;
const XACT_PREPARE = 0x10;
const XACT_ABORT = 0x20;
const XACT_COMMIT_PREPARED = 0x30;
const XACT_ABORT_PREPARED = 0x40;

/** Whether a record of this resource manager and info byte is one that {@link decodeWalRecord} reads. */
export function isRelevant(rmid: number, info: number): boolean {
  if (rmid === RM_XACT) return (info & 0x70) <= XACT_ABORT_PREPARED;
  if (rmid === RM_TABLESPACE) return (info & 0xf0) === TABLESPACE_CREATE;
  if (rmid !== RM_XLOG) return false;
  switch (info & 0xf0) {
    case XLOG_CHECKPOINT_SHUTDOWN:
    case XLOG_CHECKPOINT_ONLINE:
    case XLOG_SWITCH:
    case XLOG_BACKUP_END:
    case XLOG_RESTORE_POINT:
    case XLOG_END_OF_RECOVERY:
      return true;
    default:
      return false;
  }
}

/** Whether the rest of the segment after this record is empty. */
export function isSwitch(rmid: number, info: number): boolean {
  return rmid === RM_XLOG && (info & 0xf0) === XLOG_SWITCH;
}

/**
 * Reads a whole, valid record for which {@link isRelevant} holds; `pageMagic` names the format of the major version.
 * Gives undefined when its inside is not what PostgreSQL writes.
 */
export function decodeWalRecord(
  record: Uint8Array,
  position: WalRecordPosition,
  pageMagic: number,
): WalRecord | undefined {
  const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
  try {
    const data = mainData(view);
    if (data === undefined) return undefined;
    const info = view.getUint8(16);
    if (view.getUint8(17) === RM_TABLESPACE)
      return {
        kind: 'tablespace',
        ...position,
        oid: data.getUint32(0, true),
        location: text(data, 4, data.byteLength),
      };
    return view.getUint8(17) === RM_XACT
      ? decodeTransaction(data, info, view.getUint32(4, true), position, pageMagic)
      : decodeXlog(data, info & 0xf0, position);
  } catch (error) {
    // A DataView refuses to read past its end.
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** Walks the headers of blocks and data to the main data, which is the last part of a record. */
function mainData(view: DataView): DataView | undefined {
  let at = WAL_RECORD_HEADER;
  let dataBytes = 0;
  while (view.byteLength - at > dataBytes) {
    const id = view.getUint8(at++);
    if (id === 255 || id === 254) {
      const length = id === 255 ? view.getUint8(at) : view.getUint32(at, true);
      at += id === 255 ? 1 : 4;
      if (view.byteLength - at !== dataBytes + length) return undefined;
      return new DataView(view.buffer, view.byteOffset + view.byteLength - length, length);
    } else if (id === 253) {
      at += 2; // replication origin
    } else if (id === 252) {
      at += 4; // top-level transaction
    } else if (id <= 32) {
      const forkFlags = view.getUint8(at);
      dataBytes += view.getUint16(at + 1, true);
      at += 3;
      if ((forkFlags & HAS_IMAGE) !== 0) {
        const imageInfo = view.getUint8(at + 4);
        dataBytes += view.getUint16(at, true);
        at += 5;
        if ((imageInfo & IMAGE_COMPRESSED) !== 0 && (imageInfo & IMAGE_HAS_HOLE) !== 0) at += 2;
      }
      if ((forkFlags & SAME_RELATION) === 0) at += 12;
      at += 4;
    } else {
      return undefined;
    }
  }
  // A record without main data, such as a switch.
  return view.byteLength - at === dataBytes ? new DataView(view.buffer, view.byteOffset, 0) : undefined;
}

const HAS_IMAGE = 0x10;
const SAME_RELATION = 0x80;
const IMAGE_HAS_HOLE = 0x01;
const IMAGE_COMPRESSED = 0x04 | 0x08 | 0x10;

function decodeXlog(data: DataView, info: number, position: WalRecordPosition): WalRecord | undefined {
  switch (info) {
    case XLOG_CHECKPOINT_SHUTDOWN:
    case XLOG_CHECKPOINT_ONLINE:
      return {
        kind: 'checkpoint',
        ...position,
        shutdown: info === XLOG_CHECKPOINT_SHUTDOWN,
        redo: data.getBigUint64(0, true),
        timeline: data.getUint32(8, true),
        previousTimeline: data.getUint32(12, true),
        nextXid: data.getBigUint64(24, true),
        time: Number(data.getBigInt64(64, true)) * 1000,
      };
    case XLOG_SWITCH:
      return { kind: 'switch', ...position };
    case XLOG_BACKUP_END:
      return { kind: 'backup-end', ...position, start: data.getBigUint64(0, true) };
    case XLOG_RESTORE_POINT:
      return { kind: 'restore-point', ...position, ...walTime(data, 0), name: text(data, 8, 64) };
    case XLOG_END_OF_RECOVERY:
      return {
        kind: 'end-of-recovery',
        ...position,
        ...walTime(data, 0),
        timeline: data.getUint32(8, true),
        previousTimeline: data.getUint32(12, true),
      };
    default:
      return undefined;
  }
}

function decodeTransaction(
  data: DataView,
  info: number,
  xid: number,
  position: WalRecordPosition,
  pageMagic: number,
): WalTransaction | undefined {
  switch (info & 0x70) {
    case XACT_COMMIT:
      return { kind: 'commit', ...position, xid, prepared: false, ...walTime(data, 0) };
    case XACT_ABORT:
      return { kind: 'abort', ...position, xid, prepared: false, ...walTime(data, 0) };
    case XACT_PREPARE:
      return { kind: 'prepare', ...position, xid: data.getUint32(8, true), prepared: false, ...walTime(data, 16) };
    case XACT_COMMIT_PREPARED:
    case XACT_ABORT_PREPARED: {
      const own = preparedXid(data, info, pageMagic);
      if (own === undefined) return undefined;
      const kind = (info & 0x70) === XACT_COMMIT_PREPARED ? 'commit' : 'abort';
      return { kind, ...position, xid: own, prepared: true, ...walTime(data, 0) };
    }
    default:
      return undefined;
  }
}

const XACT_HAS_INFO = 0x80;
const HAS_DATABASE = 1 << 0;
const HAS_TWOPHASE = 1 << 4;
/** The lists before the transaction id, in the order in which they are written; each begins with its length. */
const LISTS: readonly { readonly flag: number; readonly itemSize: (pageMagic: number) => number }[] = [
  { flag: 1 << 1, itemSize: () => 4 }, // subtransactions
  { flag: 1 << 2, itemSize: () => 12 }, // relation files to delete
  { flag: 1 << 8, itemSize: (pageMagic) => (pageMagic >= 0xd118 ? 16 : 12) }, // statistics to drop; wider since 18
  { flag: 1 << 3, itemSize: () => 16 }, // invalidation messages
];

function preparedXid(data: DataView, info: number, pageMagic: number): number | undefined {
  if ((info & XACT_HAS_INFO) === 0) return undefined;
  const flags = data.getUint32(8, true);
  if ((flags & HAS_TWOPHASE) === 0) return undefined;
  let at = 12;
  if ((flags & HAS_DATABASE) !== 0) at += 8;
  for (const { flag, itemSize } of LISTS) {
    if ((flags & flag) !== 0) at += 4 + data.getUint32(at, true) * itemSize(pageMagic);
  }
  return data.getUint32(at, true);
}

/** Microseconds between the epochs 1970-01-01 and 2000-01-01, from which PostgreSQL counts. */
const EPOCH_2000 = 946_684_800_000_000n;

function walTime(data: DataView, offset: number): WalTime {
  const micros = data.getBigInt64(offset, true) + EPOCH_2000;
  return { time: Math.floor(Number(micros) / 1000), micros };
}

function text(data: DataView, offset: number, length: number): string {
  const bytes = Buffer.from(data.buffer, data.byteOffset + offset, Math.min(length, data.byteLength - offset));
  const end = bytes.indexOf(0);
  return bytes.toString('utf8', 0, end === -1 ? bytes.byteLength : end);
}
