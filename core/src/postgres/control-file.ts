/**
 * `global/pg_control` of servers 15 to 18 (PostgreSQL source: `catalog/pg_control.h`). A manifest's CRC32C of this file is
 * a constant, because the file ends in its own: look at the values, not at that checksum.
 */
import { ArchiveError } from '../contracts/errors.ts';
import { crc32c } from './crc32c.ts';
import { isSegmentSize } from './wal-file.ts';

/** Where the file is in a data directory. */
export const CONTROL_FILE_PATH = 'global/pg_control';

/** What the server was doing when it last wrote the file, by the number in it. */
const STATES = [
  'starting up',
  'shut down',
  'shut down in recovery',
  'shutting down',
  'in crash recovery',
  'in archive recovery',
  'in production',
] as const;

/** State of a cluster, in the words of `pg_controldata`. */
type ClusterState = (typeof STATES)[number];

/** What `pg_control` says. */
export interface ControlFile {
  /** Decimal text: the number exceeds 2^53. */
  readonly systemId: string;
  /** 1300 for PostgreSQL 15 and 16, 1700 for 17, 1800 for 18. */
  readonly controlVersion: number;
  readonly catalogVersion: number;
  readonly state: ClusterState;
  /** When the file was written, epoch ms; whole seconds. */
  readonly modified: number;
  /** Start of the last checkpoint record. */
  readonly checkpointLsn: bigint;
  readonly checkpoint: {
    /** Where redo from this checkpoint begins. */
    readonly redoLsn: bigint;
    readonly timeline: number;
    readonly previousTimeline: number;
    /** Next transaction id, with the epoch in the upper half. */
    readonly nextXid: bigint;
    /** Epoch ms; whole seconds. */
    readonly time: number;
  };
  /** Recovery must reach this before the cluster is consistent; 0 when it is no matter. */
  readonly minRecoveryLsn: bigint;
  readonly minRecoveryTimeline: number;
  /** Bytes. */
  readonly blockSize: number;
  /** Blocks of a relation that one file holds. */
  readonly relationSegmentBlocks: number;
  /** Bytes. */
  readonly walBlockSize: number;
  /** Bytes. */
  readonly walSegmentSize: number;
  /** 0 when data pages have no checksums. */
  readonly dataChecksumVersion: number;
}

/** Where the file's own CRC-32C is, by control version. */
const CRC_OFFSET: Readonly<Record<number, number>> = { 1300: 288, 1700: 288, 1800: 292 };

/**
 * Reads `pg_control`; `name` is its file's, for messages. Throws `BACKUP_CORRUPT` when it is cut short, altered or none, and
 * `SERVER_UNSUPPORTED` when it is of a version other than 15 to 18 or of a machine with another byte order.
 */
export function parseControlFile(content: Uint8Array, name: string = CONTROL_FILE_PATH): ControlFile {
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  if (view.byteLength < 16) throw new ArchiveError('BACKUP_CORRUPT', `${name} is too short for a control file`);
  const controlVersion = view.getUint32(8, true);
  const crcOffset = CRC_OFFSET[controlVersion];
  if (crcOffset === undefined) throw unknownVersion(view, name);
  if (view.byteLength < crcOffset + 4) throw new ArchiveError('BACKUP_CORRUPT', `${name} is cut short`);
  if (view.getUint32(crcOffset, true) !== crc32c(content.subarray(0, crcOffset)))
    throw new ArchiveError('BACKUP_CORRUPT', `${name} does not match its own checksum`);
  const state = STATES[view.getUint32(16, true)];
  if (state === undefined) throw new ArchiveError('BACKUP_CORRUPT', `${name} holds an unknown cluster state`);
  const walSegmentSize = view.getUint32(228, true);
  if (!isSegmentSize(walSegmentSize))
    throw new ArchiveError('BACKUP_CORRUPT', `${name} holds an impossible WAL segment size: ${walSegmentSize}`);
  return {
    systemId: view.getBigUint64(0, true).toString(),
    controlVersion,
    catalogVersion: view.getUint32(12, true),
    state,
    modified: seconds(view, 24),
    checkpointLsn: view.getBigUint64(32, true),
    checkpoint: {
      redoLsn: view.getBigUint64(40, true),
      timeline: view.getUint32(48, true),
      previousTimeline: view.getUint32(52, true),
      nextXid: view.getBigUint64(64, true),
      time: seconds(view, 104),
    },
    minRecoveryLsn: view.getBigUint64(136, true),
    minRecoveryTimeline: view.getUint32(144, true),
    blockSize: view.getUint32(216, true),
    relationSegmentBlocks: view.getUint32(220, true),
    walBlockSize: view.getUint32(224, true),
    walSegmentSize,
    dataChecksumVersion: view.getUint32(252, true),
  };
}

function seconds(view: DataView, offset: number): number {
  return Number(view.getBigInt64(offset, true)) * 1000;
}

function unknownVersion(view: DataView, name: string): ArchiveError {
  const version = view.getUint32(8, true);
  if (CRC_OFFSET[view.getUint32(8, false)] !== undefined)
    return new ArchiveError('SERVER_UNSUPPORTED', `${name} is of a machine with another byte order`);
  // Every release has a version of this form; anything else is no control file.
  if (version % 100 !== 0 || version < 800 || version > 9900)
    return new ArchiveError('BACKUP_CORRUPT', `${name} is not a control file`);
  return new ArchiveError('SERVER_UNSUPPORTED', `${name} is of control file version ${version}, which is not known`);
}
