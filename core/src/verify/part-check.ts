/** Reads one part of a backup to its very end, and holds what is in it against what must be. */
import { isArchiveError } from '../contracts/errors.ts';
import { releaseChunk, takeMemory } from '../contracts/lease.ts';
import { CONTROL_FILE_PATH } from '../postgres/control-file.ts';
import { TAR_BLOCK, TarReader, tarPadding, type TarHeader } from '../postgres/tar.ts';
import type { BackupPart } from '../repository/backup-record.ts';
import { PartCheck } from '../restore/file-check.ts';
import { Faults, readWhole, type IndexedFile } from './file-index.ts';
import { listedName } from './record-check.ts';

export interface PartCheckOptions {
  /** By path, of the whole backup. */
  readonly files: ReadonlyMap<string, IndexedFile>;
  /** Where tablespaces were, by OID. */
  readonly locations: ReadonlyMap<string, string>;
  /** Told of plain bytes as they pass. */
  readonly onBytes: (bytes: number) => void;
}

/** What a part told. */
export interface ReadPart {
  /** What contradicts the manifest, the file list or the record. */
  readonly faults: readonly string[];
  /** Contents of the files by which the record can be held against the cluster, as far as they are in this part. */
  readonly contents: ReadonlyMap<string, Uint8Array>;
}

/** Files that say what the record says too. */
const TELLING: ReadonlySet<string> = new Set([CONTROL_FILE_PATH, 'backup_label', 'PG_VERSION']);
/** None of them is nearly as long. */
const MOST_TELLING = 1024 * 1024;

/**
 * Checks the structure of the tar archive up to the end of its bytes (H-39), each file against manifest and file list, and that no file of the
 * list is missing. Errors: `BACKUP_CORRUPT` for an archive that cannot be read on, those of the source.
 */
export async function checkPart(
  source: AsyncIterable<Uint8Array>,
  part: BackupPart,
  options: PartCheckOptions,
): Promise<ReadPart> {
  const reading = new PartReading(part, options);
  const tar = new TarReader(reading, part.name);
  try {
    await readWhole(source, async (chunk) => {
      options.onBytes(chunk.byteLength);
      tar.push(chunk);
      reading.letGo(chunk);
      await reading.turn();
    });
    tar.end();
    return await reading.end();
  } finally {
    reading.close();
  }
}

class PartReading {
  readonly #part: BackupPart;
  readonly #name: string;
  readonly #options: PartCheckOptions;
  readonly #prefix: string;
  readonly #check = new PartCheck(() => undefined);
  readonly #faults = new Faults();
  readonly #seen = new Set<string>();
  readonly #contents = new Map<string, Uint8Array>();
  #telling: { readonly path: string; readonly chunks: Uint8Array[] } | undefined;
  #entries = 0;
  /** Of the next header in the plain part. */
  #position = 0;
  #inFile = false;
  #failed = false;

  constructor(part: BackupPart, options: PartCheckOptions) {
    this.#part = part;
    this.#name = listedName(part);
    this.#options = options;
    this.#prefix = part.archive === 'base' ? '' : `pg_tblspc/${part.archive}/`;
  }

  entry(header: TarHeader): void {
    this.#entries++;
    const offset = this.#position + TAR_BLOCK;
    this.#position = offset + header.size + tarPadding(header.size);
    if (header.type === 'symlink') this.#link(header);
    if (header.type !== 'file') return;
    const path = this.#prefix + header.path;
    const known = this.#options.files.get(path);
    if (this.#seen.has(path)) this.#faults.add(`holds ${path} twice`);
    this.#seen.add(path);
    if (known === undefined) {
      this.#faults.add(`holds ${path}, which the manifest does not name`);
      return;
    }
    const { file, part, mode } = known;
    if (part !== this.#name) this.#faults.add(`holds ${path}, which is in ${part} by the file list`);
    else if (known.offset !== offset)
      this.#faults.add(`holds ${path} at ${offset}, the file list says ${known.offset}`);
    if (mode !== header.mode)
      this.#faults.add(`holds ${path} with mode ${header.mode.toString(8)}, the file list says ${mode.toString(8)}`);
    this.#inFile = true;
    if (!this.#failed) this.#check.begin(file);
    if (TELLING.has(path) && header.size <= MOST_TELLING) this.#telling = { path, chunks: [] };
  }

  data(chunk: Uint8Array): void {
    if (!this.#inFile) return;
    if (!this.#failed) this.#check.update(chunk);
    this.#telling?.chunks.push(Uint8Array.from(chunk));
  }

  entryEnd(): void {
    if (!this.#inFile) return;
    this.#inFile = false;
    if (!this.#failed) this.#check.end();
    if (this.#telling !== undefined) this.#contents.set(this.#telling.path, Buffer.concat(this.#telling.chunks));
    this.#telling = undefined;
  }

  /** Where the links of tablespaces lead was read from the same server as the record. */
  #link({ path, linkTarget }: TarHeader): void {
    const oid = /^pg_tblspc\/([1-9][0-9]*)$/.exec(path)?.[1];
    const location = oid === undefined ? undefined : this.#options.locations.get(oid);
    if (this.#part.archive !== 'base' || location === undefined)
      this.#faults.add(`holds a link that is of no tablespace: ${path}`);
    else if (location !== linkTarget) this.#faults.add(`links ${path} to ${linkTarget}, backup.json says ${location}`);
  }

  /** All of a chunk was read: it is hashed, and released. */
  letGo(chunk: Uint8Array): void {
    const taken = takeMemory(chunk);
    if (taken !== undefined) {
      this.#check.mover(taken)();
      return;
    }
    this.#check.hash();
    releaseChunk(chunk);
  }

  async turn(): Promise<void> {
    await this.#attempt(() => this.#check.turn());
  }

  async end(): Promise<ReadPart> {
    await this.#attempt(() => this.#check.finish());
    const { entries } = this.#part;
    if (this.#entries !== entries) this.#faults.add(`has ${this.#entries} entries, backup.json says ${entries}`);
    for (const [path, { part }] of this.#options.files)
      if (part === this.#name && !this.#seen.has(path))
        this.#faults.add(`does not hold ${path}, the file list says so`);
    return { faults: this.#faults.told, contents: this.#contents };
  }

  close(): void {
    this.#check.close();
  }

  /** A file that differs is a fault of the part; of the others in it names and places are still looked at, their content is not. */
  async #attempt(check: () => Promise<void>): Promise<void> {
    if (this.#failed) return;
    try {
      await check();
    } catch (error) {
      if (!isArchiveError(error, 'BACKUP_CORRUPT')) throw error;
      this.#failed = true;
      this.#faults.add(`does not match: ${error.message}`);
    }
  }
}
