import { ArchiveError, isArchiveError, throwIfAborted } from '../contracts/errors.ts';
import type { EventGate, EventSink } from '../contracts/hook.ts';
import type { Logger } from '../contracts/plugin.ts';
import { formatLsn } from '../postgres/lsn.ts';
import { ReplicationConnection } from '../postgres/replication/connection.ts';
import type { ConnectionTarget } from '../postgres/target.ts';
import type { BackupRecord } from '../repository/backup-record.ts';
import { formatFileList } from '../repository/file-list.ts';
import { FORMAT, newBackupId } from '../repository/layout.ts';
import { SharedLease } from '../repository/shared-lease.ts';
import { repositoryFailure } from '../repository/repository-failure.ts';
import type { Repository } from '../repository/repository.ts';
import { VERSION } from '../version.ts';
import { Destinations, type Destination } from './destinations.ts';
import { sentFacts, storedFacts, type CommonFacts } from './record.ts';
import { countSegments, requiredWal, type RequiredWal } from './required-wal.ts';
import { archivesByItself } from './server-archiving.ts';
import { serverClockOffset } from './server-clock.ts';
import { MANIFEST_NAME, Transfer, type Transferred } from './transfer.ts';
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
   * `waiting`: for WAL to be archived. With several repositories this begins with the first of them.
   */
  readonly stage: 'connecting' | 'checkpoint' | 'copying' | 'finishing' | 'waiting';
  /** Bytes from the server. */
  readonly bytes: number;
  /** What the server expects to send: an estimate, known from `copying` on. */
  readonly totalBytes: number | undefined;
  /** To all repositories together. */
  readonly storedBytes: number;
  /**
   * While waiting: the WAL file that is awaited, how many of those needed are there, and what an operator may have to do; of several
   * repositories that which has the fewest, by its name.
   */
  readonly wal?: {
    readonly repository?: string;
    readonly awaited: string | undefined;
    readonly archived: number;
    readonly needed: number;
    readonly advice: string;
  };
}

export interface BackupOptions {
  readonly target: ConnectionTarget;
  /** Each gets the whole backup, from one reading of the server. */
  readonly repositories: readonly [Repository, ...Repository[]];
  /**
   * Makes an archive where there is none, although the server archives by itself. Default false: it may be the empty folder of a disk that
   * is not mounted, and with an archive there `archive_command` would succeed again, and the server drop the WAL that lies in none of the
   * right places. An archive that only a receiver fills is made in any case: the receiver knows its repositories by their ids.
   */
  readonly create?: boolean;
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
  /** Is told of `backup.started`, in place of `onEvent`, before anything is copied; what it rejects with is what the backup fails with. */
  readonly gate?: EventGate;
  readonly logger: Logger;
}

/** Whether a repository has the backup: its record there, or why not. */
export type BackupOutcome =
  { readonly name: string; readonly record: BackupRecord } | { readonly name: string; readonly error: ArchiveError };

export interface BackupResult {
  /** Of the first repository that has the backup. What is about objects differs between repositories, as their codecs may. */
  readonly record: BackupRecord;
  /** In the order of the options; at least one has it. */
  readonly repositories: readonly BackupOutcome[];
}

/**
 * Takes a base backup straight from the server into the repositories. The backup exists in a repository when its record is committed, and
 * not before: all that it names is stored, agrees with PostgreSQL's manifest, and the WAL that makes it consistent is archived there.
 * Whatever fails leaves objects that no listing takes for a backup; nothing is removed, as the credentials may not allow that.
 *
 * A repository that fails is given up and the others go on. The result says which have the backup; those record as a fact `behind` who has
 * not. When none is left the error is that of the first repository.
 *
 * A backup in which the server found damaged pages is kept, with `suspect` set: it may be the last that there is.
 *
 * Errors: `SERVER_*`, `STREAM_PROTOCOL`, `REPOSITORY_NOT_FOUND` without `create`, `BACKUP_CORRUPT`, `BACKUP_WAL_TIMEOUT`, `USAGE`, `ABORTED`, those of the storage and its codecs.
 */
export async function takeBackup(options: BackupOptions): Promise<BackupResult> {
  return new Run(options).take();
}

/** What is known once the server has sent everything. */
interface Sent {
  readonly facts: CommonFacts;
  readonly transferred: Transferred;
  readonly required: RequiredWal;
}

class Run {
  readonly #options: BackupOptions;
  readonly #id = newBackupId(new Date());
  readonly #signal: { readonly signal?: AbortSignal };
  readonly #destinations: Destinations;
  readonly #records = new Map<Repository, BackupRecord>();
  /** The last look for WAL of each repository. */
  readonly #looks = new Map<Repository, { readonly awaited: string | undefined; readonly archived: number }>();
  #systemId = '';
  readonly #lease: SharedLease;
  /** It is taken beside the backup, which it never holds up. */
  #leasing: Promise<unknown> = Promise.resolve();
  #connection: ReplicationConnection | undefined;
  #transfer: Transfer | undefined;
  /** Bytes of file lists that were stored. */
  #fileLists = 0;
  #progress: BackupProgress;

  constructor(options: BackupOptions) {
    this.#options = options;
    this.#signal = options.signal === undefined ? {} : { signal: options.signal };
    this.#progress = { id: this.#id, stage: 'connecting', bytes: 0, totalBytes: undefined, storedBytes: 0 };
    this.#lease = new SharedLease({
      ...this.#signal,
      command: 'backup',
      onWarning: (warning) => options.logger.warn({ id: this.#id }, warning),
    });
    this.#destinations = new Destinations(options.repositories, {
      ...this.#signal,
      logger: options.logger,
      put: (repository, name, source, onBytes) =>
        repository
          .backups(this.#systemId)
          .putObject(this.#id, name, source, { ...this.#signal, onBytes, plainHash: name === MANIFEST_NAME }),
      onNoneLeft: () => this.#connection?.destroy(),
    });
  }

  async take(): Promise<BackupResult> {
    const { signal, onEvent } = this.#options;
    const timer = setInterval(() => {
      if (this.#progress.stage !== 'waiting' && this.#transfer !== undefined)
        this.#report({ bytes: this.#transfer.bytes });
    }, REPORT_INTERVAL);
    try {
      throwIfAborted(signal, 'the backup');
      const result = await this.#take();
      const { dataSize: bytes, suspect } = result.record;
      const behind = result.repositories.flatMap((outcome) => ('error' in outcome ? [outcome.name] : []));
      onEvent?.('backup.finished', { id: this.#id, bytes, suspect: suspect !== undefined, behind });
      return result;
    } catch (error) {
      const { code, message } = isArchiveError(error) ? error : { code: 'INTERNAL', message: String(error) };
      onEvent?.('backup.failed', { id: this.#id, code, message });
      throw error;
    } finally {
      clearInterval(timer);
      await this.#leasing;
      await this.#lease.release();
    }
  }

  async #take(): Promise<BackupResult> {
    const sent = await this.#read();
    await this.#destinations.each((destination) => this.#complete(destination, sent));
    await this.#destinations.settled();
    const repositories = this.#destinations.all.map(({ repository, failure }): BackupOutcome => {
      const record = this.#records.get(repository);
      const { name } = repository;
      return record === undefined ? { name, error: repositoryFailure(name, failure?.error).error } : { name, record };
    });
    const record = repositories.flatMap((outcome) => ('record' in outcome ? [outcome.record] : []))[0];
    if (record === undefined) throw new ArchiveError('INTERNAL', `no repository has the backup ${this.#id}`);
    await this.#noteFailures(repositories);
    return { record, repositories };
  }

  /** Reads the backup from the server, once, into all repositories. */
  async #read(): Promise<Sent> {
    this.#report({});
    const connection = await ReplicationConnection.open(this.#options.target, this.#signal);
    this.#connection = connection;
    try {
      const archiving = await archivesByItself(connection);
      const create = this.#options.create === true || !archiving;
      await this.#destinations.each(async ({ repository }) => {
        await repository.open({ ...this.#signal, create }).catch((error: unknown) => {
          if (!isArchiveError(error, 'REPOSITORY_NOT_FOUND')) throw error;
          throw noArchive(repository, connection.host);
        });
      });
      return await this.#copy(connection);
    } catch (error) {
      throw await this.#destinations.fail(error);
    } finally {
      this.#transfer?.close();
      await connection.close();
    }
  }

  async #copy(connection: ReplicationConnection): Promise<Sent> {
    const { repositories, checkpoint = 'spread', maxRate, partSize = PART_SIZE, gate, onEvent, logger } = this.#options;
    const label = this.#options.label ?? `pgark ${this.#id}`;
    const { systemId } = await connection.identifySystem();
    this.#systemId = systemId;
    const segmentSize = await connection.segmentSize();
    this.#leasing = Promise.all(
      this.#destinations.live.map(({ repository }) =>
        this.#lease.takeOne(repository, systemId, { backups: [this.#id], wal: 'all' }),
      ),
    ).catch(() => undefined); // an abort, which the backup tells
    const id = this.#id;
    if (gate === undefined) onEvent?.('backup.started', { id });
    else await gate('backup.started', { id });
    const times = { start: Date.now(), stop: 0 };
    const transfer = new Transfer(this.#destinations, {
      partSize,
      onStart: ({ lsn, timeline, tablespaces }) => {
        times.start = Date.now();
        // No backup that is there need lead to the timeline: its WAL is this one's.
        const scope = { backups: [this.#id], wal: [{ timeline, from: formatLsn(lsn) }] };
        this.#leasing = this.#leasing.then(() => this.#lease.narrow(systemId, scope)).catch(() => undefined);
        const totalBytes = tablespaces.reduce((sum, { sizeKb }) => sum + (sizeKb ?? 0) * 1024, 0);
        this.#report({ stage: 'copying', totalBytes });
      },
    });
    this.#transfer = transfer;
    this.#report({ stage: 'checkpoint' });
    const rate = maxRate === undefined ? {} : { maxRate };
    const result = await connection.baseBackup({ label, checkpoint, progress: true, ...rate }, transfer);
    times.stop = Date.now();
    const transferred = await transfer.end(result, { systemId, segmentSize });
    this.#report({ stage: 'finishing', bytes: transfer.bytes });
    const offset = await clockOffset(connection, logger);
    for (const warning of transfer.warnings) logger.warn({ host: connection.host }, `the server says: ${warning}`);
    const facts: CommonFacts = {
      format: FORMAT,
      id: this.#id,
      kind: 'full',
      cluster: repositories[0].cluster,
      systemId,
      serverVersion: connection.serverVersion,
      host: connection.host,
      label,
      tool: VERSION,
      startTime: new Date(times.start + offset).toISOString(),
      stopTime: new Date(times.stop + offset).toISOString(),
      ...sentFacts(transferred, result, transfer.warnings),
    };
    return { facts, transferred, required: requiredWal(transferred.manifest.walRanges, segmentSize) };
  }

  /** Brings the backup into existence in one repository. */
  async #complete({ repository, uploads }: Destination, { facts, transferred, required }: Sent): Promise<void> {
    const { walTimeout = WAL_TIMEOUT } = this.#options;
    const catalog = repository.backups(this.#systemId);
    const stored = await uploads.finish();
    const list = formatFileList(transferred.files);
    const fileList = await catalog.putObject(this.#id, 'files.json', list, this.#signal);
    this.#fileLists += fileList.storedSize;
    this.#report({});
    const record = { ...facts, ...storedFacts(repository.codecs, transferred, stored, fileList) };
    const advice = walAdvice(facts);
    const needed = required.histories.length + countSegments(required.runs);
    await waitForWal(repository.wal(this.#systemId), required, {
      ...this.#signal,
      segmentSize: facts.segmentSize,
      timeout: walTimeout,
      hint: `${advice} Then run the backup again; this one stays incomplete.`,
      onProgress: (awaited, archived) => {
        this.#looks.set(repository, { awaited, archived });
        this.#report({ stage: 'waiting', wal: { ...this.#slowest(), needed, advice } });
      },
    });
    await catalog.commit(record, this.#signal);
    this.#records.set(repository, record);
  }

  /** The repository that has the least of the WAL. */
  #slowest(): { readonly repository?: string; readonly awaited: string | undefined; readonly archived: number } {
    const looks = this.#destinations.live.flatMap(({ repository }) => {
      const look = this.#looks.get(repository);
      return look === undefined ? [] : [{ repository: repository.name, ...look }];
    });
    const slowest = looks.toSorted((one, other) => one.archived - other.archived)[0];
    if (slowest === undefined) return { awaited: undefined, archived: 0 };
    const { repository, ...look } = slowest;
    return this.#destinations.all.length === 1 ? look : { repository, ...look };
  }

  /** Leaves word of those that failed with those that have the backup. A fact is worth no backup: what cannot be written is a warning. */
  async #noteFailures(outcomes: readonly BackupOutcome[]): Promise<void> {
    const failed = outcomes.flatMap((outcome) => ('error' in outcome ? [outcome] : []));
    const time = Date.now();
    await Promise.all(
      [...this.#records.keys()].map(async (repository) => {
        try {
          for (const [at, { name, error }] of failed.entries()) {
            const data = { repository: name, code: error.code, message: error.message };
            // Facts of one kind and one millisecond would be one fact.
            const fact = { kind: 'behind', time: time + at, data };
            await repository.facts(this.#systemId).add(this.#id, fact, this.#signal);
          }
        } catch (error) {
          this.#options.logger.warn(
            { repository: repository.name, error },
            `repository ${repository.name} could not note that others do not have the backup`,
          );
        }
      }),
    );
  }

  #report(change: Partial<BackupProgress>): void {
    const storedBytes = this.#destinations.storedBytes + this.#fileLists;
    this.#progress = { ...this.#progress, storedBytes, ...change };
    this.#options.onProgress?.(this.#progress);
  }
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

function noArchive({ name, cluster }: Repository, host: string): ArchiveError {
  return new ArchiveError(
    'REPOSITORY_NOT_FOUND',
    `repository ${name} has no cluster "${cluster}", and ${host} archives its WAL by archive_command`,
    {
      hint: 'Check that the disk of the storage is mounted, and bucket, prefix and "cluster" in the config. If this is the first backup into it, make the archive with "pgark backup --create".',
    },
  );
}

/** What brings the WAL of a backup into the archive. */
function walAdvice({ fromStandby }: CommonFacts): string {
  const start = 'Check that "pgark receive" runs, or that archive_command succeeds.';
  return fromStandby ? `${start} A standby cannot end a segment: run "SELECT pg_switch_wal()" on its primary.` : start;
}
