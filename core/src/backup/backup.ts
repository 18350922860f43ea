import { ArchiveError, isArchiveError, throwIfAborted } from '../contracts/errors.ts';
import type { EventSink } from '../contracts/hook.ts';
import type { Logger } from '../contracts/plugin.ts';
import { formatLsn } from '../postgres/lsn.ts';
import type { BaseBackupResult } from '../postgres/replication/base-backup.ts';
import { ReplicationConnection } from '../postgres/replication/connection.ts';
import type { ConnectionTarget } from '../postgres/target.ts';
import type { BackupObject, BackupRecord } from '../repository/backup-record.ts';
import { formatFileList } from '../repository/file-list.ts';
import { FORMAT, newBackupId } from '../repository/layout.ts';
import type { Repository } from '../repository/repository.ts';
import { VERSION } from '../version.ts';
import { damagedFiles } from './damaged-files.ts';
import { countSegments, requiredWal, type RequiredWal } from './required-wal.ts';
import { serverClockOffset } from './server-clock.ts';
import { MANIFEST_NAME, Transfer, type Transferred } from './transfer.ts';
import { Uploads } from './uploads.ts';
import { waitForWal } from './wal-wait.ts';

/** Default of {@link BackupOptions.partSize}. */
export const PART_SIZE: number = 256 * 1024 * 1024;
/** Default of {@link BackupOptions.walTimeout}. */
export const WAL_TIMEOUT = 300_000;
/** Milliseconds between two reports of progress. */
const REPORT_INTERVAL = 200;

/** How far a backup is. */
export interface BackupProgress {
  readonly id: string;
  /**
   * `connecting`; `checkpoint`: the server makes one, which takes minutes when it is spread; `copying`; `finishing`: the last objects are being stored;
   * `waiting`: for WAL to be archived.
   */
  readonly stage: 'connecting' | 'checkpoint' | 'copying' | 'finishing' | 'waiting';
  /** Bytes from the server. */
  readonly bytes: number;
  /** What the server expects to send: an estimate, known from `copying` on. */
  readonly totalBytes: number | undefined;
  readonly storedBytes: number;
  /** While waiting: the WAL file that is awaited, how many of those needed are there, and what an operator may have to do. */
  readonly wal?: {
    readonly awaited: string | undefined;
    readonly archived: number;
    readonly needed: number;
    readonly advice: string;
  };
}

export interface BackupOptions {
  readonly target: ConnectionTarget;
  readonly repository: Repository;
  /** For people, kept in `backup_label` and the record; default `pgark <id>`. */
  readonly label?: string;
  /** `fast` begins at once, `spread` (default) spares the server's disks. */
  readonly checkpoint?: 'fast' | 'spread';
  /** kB/s, 32 to 1048576; unlimited when left out. */
  readonly maxRate?: number;
  /** Bytes after which a part is closed, default 256 MiB. A larger file makes a larger part. */
  readonly partSize?: number;
  /** Milliseconds without a new WAL file after which the wait for the WAL is given up, default 5 minutes. */
  readonly walTimeout?: number;
  readonly signal?: AbortSignal;
  /** Called about five times a second, and when the stage changes. */
  readonly onProgress?: (progress: BackupProgress) => void;
  readonly onEvent?: EventSink;
  readonly logger: Logger;
}

/**
 * Takes a base backup straight from the server into the repository. The backup exists when this returns, and not before: all that it
 * names is stored, agrees with PostgreSQL's manifest, and the WAL that makes it consistent is archived. Whatever fails leaves objects
 * that no listing takes for a backup; nothing is removed, as the credentials may not allow that.
 *
 * A backup in which the server found damaged pages is kept, with `suspect` set: it may be the last that there is.
 *
 * Errors: `SERVER_*`, `STREAM_PROTOCOL`, `BACKUP_CORRUPT`, `BACKUP_WAL_TIMEOUT`, `USAGE`, `ABORTED`, those of the storage and its codecs.
 */
export async function takeBackup(options: BackupOptions): Promise<BackupRecord> {
  return new Run(options).take();
}

class Run {
  readonly #options: BackupOptions;
  readonly #id = newBackupId(new Date());
  readonly #signal: { readonly signal?: AbortSignal };
  #progress: BackupProgress;

  constructor(options: BackupOptions) {
    this.#options = options;
    this.#signal = options.signal === undefined ? {} : { signal: options.signal };
    this.#progress = { id: this.#id, stage: 'connecting', bytes: 0, totalBytes: undefined, storedBytes: 0 };
  }

  async take(): Promise<BackupRecord> {
    const { signal, onEvent } = this.#options;
    try {
      throwIfAborted(signal, 'the backup');
      const record = await this.#take();
      onEvent?.('backup.finished', { id: this.#id, bytes: record.dataSize, suspect: record.suspect !== undefined });
      return record;
    } catch (error) {
      const { code, message } = isArchiveError(error) ? error : { code: 'INTERNAL', message: String(error) };
      onEvent?.('backup.failed', { id: this.#id, code, message });
      throw error;
    }
  }

  async #take(): Promise<BackupRecord> {
    const { repository, target, walTimeout = WAL_TIMEOUT } = this.#options;
    this.#report({});
    const connection = await ReplicationConnection.open(target, this.#signal);
    let record: BackupRecord;
    let required: RequiredWal;
    try {
      await repository.open({ ...this.#signal, create: true });
      ({ record, required } = await this.#copy(connection));
    } finally {
      await connection.close();
    }
    const advice = walAdvice(record);
    const needed = required.histories.length + countSegments(required.runs);
    await waitForWal(repository.wal(record.systemId), required, {
      ...this.#signal,
      segmentSize: record.segmentSize,
      timeout: walTimeout,
      hint: `${advice} Then run the backup again; this one stays incomplete.`,
      onProgress: (awaited, archived) => this.#report({ stage: 'waiting', wal: { awaited, archived, needed, advice } }),
    });
    await repository.backups(record.systemId).commit(record, this.#signal);
    return record;
  }

  async #copy(connection: ReplicationConnection): Promise<{ record: BackupRecord; required: RequiredWal }> {
    const { repository, checkpoint = 'spread', maxRate, partSize = PART_SIZE, onEvent, logger } = this.#options;
    const label = this.#options.label ?? `pgark ${this.#id}`;
    const { systemId } = await connection.identifySystem();
    const segmentSize = await connection.segmentSize();
    onEvent?.('backup.started', { id: this.#id });
    const catalog = repository.backups(systemId);
    const uploads = new Uploads({
      put: (name, source, onBytes) =>
        catalog.putObject(this.#id, name, source, { ...this.#signal, onBytes, plainHash: name === MANIFEST_NAME }),
      onFailure: () => connection.destroy(),
    });
    const times = { start: Date.now(), stop: 0 };
    const transfer = new Transfer(uploads, {
      partSize,
      onStart: ({ tablespaces }) => {
        times.start = Date.now();
        const totalBytes = tablespaces.reduce((sum, { sizeKb }) => sum + (sizeKb ?? 0) * 1024, 0);
        this.#report({ stage: 'copying', totalBytes });
      },
    });
    const timer = setInterval(
      () => this.#report({ bytes: transfer.bytes, storedBytes: uploads.storedBytes }),
      REPORT_INTERVAL,
    );
    try {
      this.#report({ stage: 'checkpoint' });
      const rate = maxRate === undefined ? {} : { maxRate };
      const result = await connection.baseBackup({ label, checkpoint, progress: true, ...rate }, transfer);
      times.stop = Date.now();
      const transferred = transfer.end(result, { systemId, segmentSize });
      this.#report({ stage: 'finishing', bytes: transfer.bytes });
      const offset = await clockOffset(connection, logger);
      const stored = await uploads.finish();
      const fileList = await catalog.putObject(this.#id, 'files.json', formatFileList(transferred.files), this.#signal);
      this.#report({ storedBytes: uploads.storedBytes + fileList.storedSize });
      for (const warning of transfer.warnings) logger.warn({ host: connection.host }, `the server says: ${warning}`);
      const record: BackupRecord = {
        format: FORMAT,
        id: this.#id,
        kind: 'full',
        cluster: repository.cluster,
        systemId,
        serverVersion: connection.serverVersion,
        host: connection.host,
        label,
        tool: VERSION,
        codecs: repository.codecs.map(({ id, suffix, keyIds = [] }) => ({ id, suffix, keyIds: [...keyIds] })),
        startTime: new Date(times.start + offset).toISOString(),
        stopTime: new Date(times.stop + offset).toISOString(),
        ...describe(transferred, result),
        parts: transferred.parts.map(({ archive, number, name, entries }) => ({
          ...storedAs(stored, name),
          archive,
          number,
          entries,
        })),
        manifest: storedAs(stored, MANIFEST_NAME),
        fileList,
        ...suspicion(result, transfer.warnings),
      };
      return { record, required: requiredWal(transferred.manifest.walRanges, segmentSize) };
    } catch (error) {
      throw await uploads.fail(error);
    } finally {
      clearInterval(timer);
    }
  }

  #report(change: Partial<BackupProgress>): void {
    this.#progress = { ...this.#progress, ...change };
    this.#options.onProgress?.(this.#progress);
  }
}

function describe(
  { start, files, label, control }: Transferred,
  result: BaseBackupResult,
): Pick<
  BackupRecord,
  | 'segmentSize'
  | 'timeline'
  | 'startLsn'
  | 'stopTimeline'
  | 'stopLsn'
  | 'nextXid'
  | 'dataChecksums'
  | 'fromStandby'
  | 'tablespaces'
  | 'files'
  | 'dataSize'
> {
  return {
    segmentSize: control.walSegmentSize,
    timeline: start.timeline,
    startLsn: formatLsn(start.lsn),
    stopTimeline: result.stopTimeline,
    stopLsn: formatLsn(result.stopLsn),
    nextXid: String(control.checkpoint.nextXid),
    dataChecksums: control.dataChecksumVersion !== 0,
    fromStandby: label.from === 'standby',
    tablespaces: start.tablespaces.flatMap(({ oid, location }) =>
      oid === undefined ? [] : [{ oid: String(oid), location: location ?? '' }],
    ),
    files: files.length,
    dataSize: files.dataSize,
  };
}

function storedAs(stored: ReadonlyMap<string, BackupObject>, name: string): BackupObject {
  const object = stored.get(name);
  if (object === undefined) throw new ArchiveError('INTERNAL', `${name} of the backup was not stored`);
  return object;
}

function suspicion(result: BaseBackupResult, warnings: readonly string[]): Pick<BackupRecord, 'suspect'> {
  if (result.checksumFailure === undefined) return {};
  return { suspect: { message: result.checksumFailure, files: [...damagedFiles(warnings)] } };
}

/** Milliseconds that the server's clock is ahead. Times are not worth a backup: without an answer this machine's clock counts. */
async function clockOffset(connection: ReplicationConnection, logger: Logger): Promise<number> {
  let cause = 'no answer';
  try {
    const offset = await serverClockOffset(connection);
    if (offset !== undefined) return offset;
  } catch (error) {
    if (isArchiveError(error, 'ABORTED')) throw error;
    cause = String(error);
  }
  logger.warn(
    { host: connection.host, cause },
    'the clock of the server is unknown: the times of the backup are those of this machine',
  );
  return 0;
}

/** What brings the WAL of a backup into the archive. */
function walAdvice({ fromStandby }: BackupRecord): string {
  const start = 'Check that "pgark receive" runs, or that archive_command succeeds.';
  return fromStandby ? `${start} A standby cannot end a segment: run "SELECT pg_switch_wal()" on its primary.` : start;
}
