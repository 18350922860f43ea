import { ArchiveError } from '../contracts/errors.ts';
import { parseBackupLabel, type BackupLabel } from '../postgres/backup-label.ts';
import { CONTROL_FILE_PATH, parseControlFile, type ControlFile } from '../postgres/control-file.ts';
import { formatLsn } from '../postgres/lsn.ts';
import { blocksInThread } from '../pipeline/hash-thread.ts';
import type { BlockHasher, BlockSink } from '../pipeline/hasher.ts';
import { ManifestReader, type ManifestSummary } from '../postgres/manifest.ts';
import type { BackupStart, BaseBackupHandlers, BaseBackupResult } from '../postgres/replication/base-backup.ts';
import type { FileTable } from './file-table.ts';
import { ManifestCheck } from './manifest-check.ts';
import { PartSplitter, type PassedFile } from './part-splitter.ts';

const LABEL_PATH = 'backup_label';
const CAPTURED: ReadonlySet<string> = new Set([LABEL_PATH, CONTROL_FILE_PATH]);

export const MANIFEST_NAME = 'backup_manifest';

/** Where the objects of a backup go. */
export interface ObjectSink {
  /** Begins an object. Throws when it could go nowhere. */
  begin(name: string): BlockSink;
  /** What to wait for before more is written. */
  pressure(): Promise<void> | undefined;
}

/** A part as it was sent, before the storage has it. */
export interface SentPart {
  readonly archive: string;
  readonly number: number;
  readonly name: string;
  readonly entries: number;
}

/** What a transfer is held against. */
export interface ExpectedServer {
  readonly systemId: string;
  readonly segmentSize: number;
}

/** What is known once a backup has passed and agrees with its manifest. */
export interface Transferred {
  readonly start: BackupStart;
  readonly parts: readonly SentPart[];
  readonly files: FileTable;
  readonly manifest: ManifestSummary;
  readonly label: BackupLabel;
  readonly control: ControlFile;
}

/** Takes the stream of BASE_BACKUP: cuts it into parts, feeds these to a sink, and holds everything against the manifest. */
export class Transfer implements BaseBackupHandlers {
  /** Warnings of the server, such as those that name damaged files. */
  readonly warnings: string[] = [];
  readonly #sink: ObjectSink;
  readonly #partSize: number;
  readonly #onStart: (start: BackupStart) => void;
  readonly #parts: SentPart[] = [];
  readonly #captured = new Map<string, PassedFile & { readonly content: Uint8Array }>();
  readonly #check = new ManifestCheck();
  readonly #hasher: BlockHasher = blocksInThread((sha256) => this.#check.digest(sha256));
  readonly #manifestReader = new ManifestReader({ file: (file) => this.#check.listed(file) }, MANIFEST_NAME);
  /** Archives that were announced and have not begun. */
  #expected = new Set<string>();
  #start: BackupStart | undefined;
  #splitter: PartSplitter | undefined;
  #manifest: BlockSink | undefined;
  /** Bytes of the manifest that came before the last file was hashed: one read of the socket, as it is not read on. */
  #early: Buffer[] | undefined;
  /** Pending while there may be such bytes. */
  #hashed: Promise<void> | undefined;
  #bytes = 0;

  constructor(
    sink: ObjectSink,
    options: { readonly partSize: number; readonly onStart: (start: BackupStart) => void },
  ) {
    this.#sink = sink;
    this.#partSize = options.partSize;
    this.#onStart = options.onStart;
  }

  /** Bytes of archives and manifest that have passed. */
  get bytes(): number {
    return this.#bytes;
  }

  start(info: BackupStart): void {
    this.#start = info;
    this.#expected = new Set(info.tablespaces.map(({ oid }) => (oid === undefined ? 'base' : String(oid))));
    this.#onStart(info);
  }

  archive(name: string): void {
    this.#endArchive();
    const archive = name.slice(0, -'.tar'.length);
    // The whole name decides: 1638 is another tablespace than 16384.
    if (!this.#expected.delete(archive)) throw corrupt(`the server sent an archive that it had not announced: ${name}`);
    this.#splitter = new PartSplitter({
      archive,
      partSize: this.#partSize,
      captured: CAPTURED,
      output: {
        begin: (part) => this.#hasher.begin(this.#sink.begin(part)),
        write: (bytes) => this.#hasher.write(bytes),
        cut: () => this.#hasher.cut(),
        pass: (bytes) => this.#hasher.pass(bytes),
        end: () => this.#hasher.end(),
      },
      partEnd: (number, part, entries) => this.#parts.push({ archive, number, name: part, entries }),
      file: (file, content) => {
        this.#check.passed(file);
        if (content !== undefined) this.#captured.set(file.path, { ...file, content });
      },
    });
  }

  data(chunk: Uint8Array): void {
    this.#bytes += chunk.byteLength;
    if (this.#manifest === undefined) {
      this.#splitter?.push(chunk);
      return;
    }
    if (this.#early === undefined) this.#manifestData(chunk);
    else this.#early.push(Buffer.from(chunk));
  }

  #manifestData(chunk: Uint8Array): void {
    this.#manifestReader.push(chunk);
    this.#manifest?.write(chunk);
  }

  manifest(): void {
    this.#endArchive();
    if (this.#expected.size > 0)
      throw corrupt(`the server did not send the archives ${[...this.#expected].join(', ')}`);
    this.#manifest = this.#sink.begin(MANIFEST_NAME);
    this.#early = [];
    this.#hashed = this.#finishHashing();
    this.#hashed.catch(() => undefined); // told by pressure() or end()
  }

  async #finishHashing(): Promise<void> {
    await this.#hasher.finish();
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const chunk of early) this.#manifestData(chunk);
    this.#hashed = undefined;
  }

  progress(): void {
    // Bytes are counted as they pass.
  }

  notice(message: string): void {
    this.warnings.push(message);
  }

  pressure(): Promise<void> | undefined {
    return this.#hashed ?? this.#sink.pressure() ?? this.#hasher.pressure();
  }

  /** Frees what it holds. To be called in any case, after which it takes nothing more. */
  close(): void {
    this.#hasher.discard();
  }

  #endArchive(): void {
    this.#splitter?.end();
    this.#splitter = undefined;
  }

  /**
   * The stream is complete. Errors: `BACKUP_CORRUPT` when what passed is not what the manifest lists, or contradicts itself or the server.
   * Only after this the manifest may become visible.
   */
  async end(result: BaseBackupResult, server: ExpectedServer): Promise<Transferred> {
    await this.#hashed;
    const manifest = this.#manifestReader.end();
    this.#check.end();
    const start = this.#start;
    const labelFile = this.#captured.get(LABEL_PATH);
    const controlFile = this.#captured.get(CONTROL_FILE_PATH);
    if (start === undefined || labelFile === undefined || controlFile === undefined)
      throw corrupt(`the server sent no ${labelFile === undefined ? LABEL_PATH : CONTROL_FILE_PATH}`);
    // A restore that stops half-way must not leave a directory that starts.
    if (controlFile.part !== this.#parts.findLast(({ archive }) => archive === 'base')?.name)
      throw corrupt(`the server did not send ${CONTROL_FILE_PATH} last`);
    const label = parseBackupLabel(labelFile.content);
    const control = parseControlFile(controlFile.content);
    const transferred = { start, parts: this.#parts, files: this.#check.files, manifest, label, control };
    checkAgreement(transferred, result, server);
    this.#manifest?.end();
    return transferred;
  }
}

function checkAgreement(backup: Transferred, result: BaseBackupResult, server: ExpectedServer): void {
  const { start, manifest, label, control } = backup;
  const [newest] = manifest.walRanges;
  const oldest = manifest.walRanges.at(-1);
  const at = (timeline: number | undefined, lsn: bigint | undefined): string =>
    timeline === undefined || lsn === undefined ? 'none' : `${formatLsn(lsn)} on timeline ${timeline}`;
  const facts: readonly (readonly [what: string, found: string, wanted: string])[] = [
    ['system identifier of pg_control', control.systemId, server.systemId],
    ['system identifier of the manifest', manifest.systemId ?? server.systemId, server.systemId],
    ['WAL segment size of pg_control', String(control.walSegmentSize), String(server.segmentSize)],
    ['start of backup_label', at(label.timeline, label.startLsn), at(start.timeline, start.lsn)],
    ['start in the manifest', at(oldest?.timeline, oldest?.start), at(start.timeline, start.lsn)],
    ['stop in the manifest', at(newest?.timeline, newest?.end), at(result.stopTimeline, result.stopLsn)],
  ];
  for (const [what, found, wanted] of facts) {
    if (found !== wanted) throw corrupt(`the ${what} is ${found}, but the server said ${wanted}`);
  }
}

function corrupt(message: string): ArchiveError {
  return new ArchiveError('BACKUP_CORRUPT', message, {
    hint: "Nothing was committed; run the backup again, and look at the server's log.",
  });
}
