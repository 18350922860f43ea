/** BASE_BACKUP in the dialect of servers 15 and later (PostgreSQL docs, "Streaming Replication Protocol"). */
import type { DatabaseError } from 'pg-protocol';
import type { BackendMessage, DataRowMessage, NoticeMessage } from 'pg-protocol/dist/messages.js';
import { ArchiveError } from '../../contracts/errors.ts';
import { parseLsn } from '../lsn.ts';
import { serverError } from '../server-error.ts';
import type { Exchange, Wire } from './wire.ts';

/** Always with a manifest of SHA256 checksums, with symlinks for tablespaces, without WAL, not waiting for the archiving of WAL. */
export interface BaseBackupOptions {
  /** Goes into `backup_label`; no control characters. */
  readonly label: string;
  readonly checkpoint: 'fast' | 'spread';
  /** kB/s, 32 to 1048576; unlimited when left out. */
  readonly maxRate?: number;
  /** Asks the server for sizes first (a pass over all files) and for progress reports. */
  readonly progress: boolean;
  /** Whether the server checks the checksums of pages, default true. */
  readonly verifyChecksums?: boolean;
}

/** A tablespace of the backup; the main data directory comes last, without oid and location. */
interface BackupTablespace {
  readonly oid: number | undefined;
  readonly location: string | undefined;
  /** Kilobytes, an estimate; only with `progress`. */
  readonly sizeKb: number | undefined;
}

export interface BackupStart {
  readonly lsn: bigint;
  readonly timeline: number;
  readonly tablespaces: readonly BackupTablespace[];
}

/** Receives the backup. Called synchronously; an exception ends the connection, and the backup rejects with it. */
export interface BaseBackupHandlers {
  start(info: BackupStart): void;
  /** The archive `base.tar` or `<oid>.tar` begins; the name is checked. Location is that of the tablespace, empty for the base. */
  archive(name: string, location: string): void;
  /** Bytes of the present archive or of the manifest: a view, valid only during the call. */
  data(chunk: Uint8Array): void;
  /** All archives are through; what follows is the manifest. */
  manifest(): void;
  /** Bytes done so far over all archives; with `progress`, about once a second. */
  progress(bytes: number): void;
  /** Notices and warnings of the server, such as pages with a wrong checksum. */
  notice(message: string, code: string): void;
  /** While a promise is pending the socket is not read; up to one read (512 KiB) may still be handed over. */
  pressure(): Promise<void> | undefined;
}

export interface BaseBackupResult {
  readonly stopLsn: bigint;
  readonly stopTimeline: number;
  /** The server found damaged pages (SQLSTATE XX001). All data was delivered, the backup is suspect. */
  readonly checksumFailure?: string;
}

const ARCHIVE = 0x6e; // 'n'
const DATA = 0x64; // 'd'
const PROGRESS = 0x70; // 'p'
const MANIFEST = 0x6d; // 'm'
/** More than a name and a path can take. */
const LONGEST_CONTROL = 64 * 1024;
/** Once data flows, silence for this long while this side reads means that the server is stuck; milliseconds. */
const NO_PROGRESS_TIMEOUT = 300_000;

type Row = readonly (string | null)[];
type Phase = 'start' | 'tablespaces' | 'copy' | 'stop' | 'complete';

class Backup implements Exchange {
  readonly result: Promise<BaseBackupResult>;
  readonly #wire: Wire;
  readonly #handlers: BaseBackupHandlers;
  #resolve: (result: BaseBackupResult) => void = () => undefined;
  #reject: (error: unknown) => void = () => undefined;
  #phase: Phase = 'start';
  #rows: Row[] = [];
  #started: { readonly lsn: bigint; readonly timeline: number } | undefined;
  #stopped: { readonly stopLsn: bigint; readonly stopTimeline: number } | undefined;
  #manifestSeen = false;
  #inArchive = false;
  #paused = false;
  /** A message other than data of which more is to come. */
  #gathered: Buffer | undefined;
  #failure: ArchiveError | undefined;
  #checksumFailure: string | undefined;
  #watchdog: NodeJS.Timeout | undefined;

  constructor(wire: Wire, command: string, handlers: BaseBackupHandlers) {
    this.#wire = wire;
    this.#handlers = handlers;
    this.result = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    try {
      wire.begin(command, this);
    } catch (error) {
      this.lost(error);
    }
  }

  message(message: BackendMessage): void {
    switch (message.name) {
      case 'rowDescription':
        this.#rows = [];
        return;
      case 'dataRow':
        this.#rows.push((message as DataRowMessage).fields as (string | null)[]);
        return;
      case 'commandComplete':
        this.#resultSet();
        return;
      case 'copyOutResponse':
        if (this.#phase !== 'copy') throw this.#unexpected(message.name);
        this.#watch();
        return;
      case 'copyDone':
        if (this.#phase !== 'copy' || !this.#manifestSeen) throw this.#unexpected(message.name);
        clearInterval(this.#watchdog);
        this.#phase = 'stop';
        return;
      case 'error': {
        const error = message as BackendMessage & DatabaseError;
        // After the stop position everything has been delivered; the server then fails the command to tell of damaged pages.
        if (error.code === 'XX001' && this.#stopped !== undefined) this.#checksumFailure = error.message;
        else this.#failure = serverError(error, { host: this.#wire.host });
        return;
      }
      case 'readyForQuery':
        this.#finish();
        return;
      default:
        throw this.#unexpected(message.name);
    }
  }

  notice(notice: NoticeMessage): void {
    this.#handlers.notice(notice.message ?? '', notice.code ?? '');
  }

  lost(error: unknown): void {
    clearInterval(this.#watchdog);
    this.#reject(this.#failure ?? error);
  }

  /** Three result sets and the end of the command: start position, tablespaces, stop position, BASE_BACKUP. */
  #resultSet(): void {
    switch (this.#phase) {
      case 'start': {
        const { lsn, timeline } = this.#position();
        this.#started = { lsn, timeline };
        this.#phase = 'tablespaces';
        break;
      }
      case 'tablespaces':
        if (this.#started === undefined) throw this.#unexpected('list of tablespaces');
        this.#handlers.start({ ...this.#started, tablespaces: this.#rows.map(tablespace) });
        this.#phase = 'copy';
        break;
      case 'stop': {
        const { lsn, timeline } = this.#position();
        this.#stopped = { stopLsn: lsn, stopTimeline: timeline };
        this.#phase = 'complete';
        break;
      }
      case 'complete':
        break;
      default:
        throw this.#unexpected('commandComplete');
    }
    this.#rows = [];
  }

  #position(): { readonly lsn: bigint; readonly timeline: number } {
    const [lsn, timeline] = this.#rows[0] ?? [];
    if (lsn == null || timeline == null) throw this.#unexpected('empty position');
    return { lsn: parseLsn(lsn), timeline: Number(timeline) };
  }

  copyData(fragment: Buffer, offset: number, length: number): void {
    if (this.#phase !== 'copy') throw this.#unexpected('copyData');
    if (offset > 0 && this.#gathered === undefined) this.#handlers.data(fragment);
    else if (offset === 0 && fragment[0] === DATA) this.#data(fragment.subarray(1));
    else this.#gather(fragment, length);
    if (!this.#paused) this.#yield();
  }

  #data(bytes: Buffer): void {
    if (!this.#inArchive && !this.#manifestSeen) throw this.#unexpected('data before an archive');
    if (bytes.length > 0) this.#handlers.data(bytes);
  }

  /** Messages that are not data are short, but the path of a tablespace may come in two reads. */
  #gather(fragment: Buffer, length: number): void {
    if (length > LONGEST_CONTROL) throw this.#unexpected(`message of ${length} bytes`);
    this.#gathered = Buffer.concat([this.#gathered ?? Buffer.alloc(0), fragment]);
    if (this.#gathered.length < length) return;
    const payload = this.#gathered;
    this.#gathered = undefined;
    this.#control(payload);
  }

  #control(payload: Buffer): void {
    switch (payload[0]) {
      case PROGRESS:
        this.#handlers.progress(Number(payload.readBigUInt64BE(1)));
        return;
      case ARCHIVE: {
        const [name = '', location = ''] = payload.subarray(1).toString('utf8').split('\0');
        if (this.#manifestSeen || !/^(base|[0-9]{1,10})\.tar$/.test(name)) {
          throw this.#unexpected(`archive ${JSON.stringify(name)}`);
        }
        this.#inArchive = true;
        this.#handlers.archive(name, location);
        return;
      }
      case MANIFEST:
        if (this.#manifestSeen) throw this.#unexpected('second manifest');
        this.#manifestSeen = true;
        this.#handlers.manifest();
        return;
      default:
        throw this.#unexpected(`message of kind ${String(payload[0])}`);
    }
  }

  #yield(): void {
    const pressure = this.#handlers.pressure();
    if (pressure === undefined) return;
    this.#paused = true;
    this.#wire.pause();
    void this.#resumeAfter(pressure);
  }

  async #resumeAfter(pressure: Promise<void>): Promise<void> {
    try {
      await pressure;
    } catch (error) {
      this.#wire.fail(error);
      return;
    }
    this.#paused = false;
    this.#wire.takeActivity(); // the silence was ours
    this.#wire.resume();
  }

  #watch(): void {
    let silent = false;
    this.#watchdog = setInterval(() => {
      const quiet = !this.#wire.takeActivity() && !this.#paused;
      if (quiet && silent) {
        this.#wire.fail(
          new ArchiveError(
            'SERVER_UNREACHABLE',
            `${this.#wire.host} sent nothing of the base backup for ${NO_PROGRESS_TIMEOUT / 1000} s`,
          ),
        );
      }
      silent = quiet;
    }, NO_PROGRESS_TIMEOUT / 2);
  }

  #finish(): void {
    clearInterval(this.#watchdog);
    this.#wire.end();
    if (this.#failure !== undefined) this.#reject(this.#failure);
    else if (this.#stopped === undefined)
      this.#reject(this.#wire.protocolError('the end of the base backup too early'));
    else {
      this.#resolve({
        ...this.#stopped,
        ...(this.#checksumFailure !== undefined && { checksumFailure: this.#checksumFailure }),
      });
    }
  }

  #unexpected(what: string): ArchiveError {
    return this.#wire.protocolError(`an unexpected "${what}" in a base backup (${this.#phase})`);
  }
}

/** Sends BASE_BACKUP and reads it to its end. Throws `SERVER_*`, `STREAM_PROTOCOL`, `ABORTED`, `USAGE`, or what a handler threw. */
export async function runBaseBackup(
  wire: Wire,
  options: BaseBackupOptions,
  handlers: BaseBackupHandlers,
): Promise<BaseBackupResult> {
  return new Backup(wire, command(options), handlers).result;
}

function command(options: BaseBackupOptions): string {
  // oxlint-disable-next-line no-control-regex
  if (/[\u0000-\u001f\u007f]/.test(options.label)) {
    throw new ArchiveError('USAGE', 'the label of a backup has control characters', {
      hint: 'Use printable characters.',
    });
  }
  const rate = options.maxRate;
  if (rate !== undefined && !(Number.isInteger(rate) && rate >= 32 && rate <= 1_048_576)) {
    throw new ArchiveError('USAGE', `a maximum rate of ${rate} kB/s is not possible`, {
      hint: 'Use 32 to 1048576 kB/s, or leave it out for no limit.',
    });
  }
  const parts = [
    `LABEL '${options.label.replaceAll("'", "''")}'`,
    `PROGRESS ${options.progress ? 1 : 0}`,
    `CHECKPOINT '${options.checkpoint}'`,
    'WAIT 0',
    "MANIFEST 'yes'",
    "MANIFEST_CHECKSUMS 'SHA256'",
    ...(rate === undefined ? [] : [`MAX_RATE ${rate}`]),
    ...(options.verifyChecksums === false ? ['VERIFY_CHECKSUMS 0'] : []),
  ];
  return `BASE_BACKUP (${parts.join(', ')})`;
}

function tablespace([oid, location, size]: Row): BackupTablespace {
  return {
    oid: oid == null ? undefined : Number(oid),
    location: location ?? undefined,
    sizeKb: size == null ? undefined : Number(size),
  };
}
