import { TAR_BLOCK, TAR_END, TarReader, tarPadding, type TarHeader } from '../postgres/tar.ts';
import type { BackupFile } from '../repository/file-list.ts';

/** A file whose digest is not known yet. */
export type PassedFile = Omit<BackupFile, 'sha256'>;

/** Where the parts go, one after the other. Bytes may change once a call has returned. */
export interface PartOutput {
  /** A part begins, whose name is `<archive>/<number>.tar`. */
  begin(name: string): void;
  /** Bytes of a file. */
  write(bytes: Uint8Array): void;
  /** The bytes of a file are complete. */
  cut(): void;
  /** Other bytes of the part. */
  pass(bytes: Uint8Array): void;
  /** The part is complete. */
  end(): void;
}

export interface PartSplitterOptions {
  /** `base`, or the OID of a tablespace. */
  readonly archive: string;
  /** Bytes after which a part is closed. A larger entry makes a larger part, as entries are never cut. */
  readonly partSize: number;
  readonly output: PartOutput;
  /** A part is complete and has this many entries. */
  partEnd(number: number, name: string, entries: number): void;
  /** A file has passed, which is cut off afterwards. `content` is given for the paths of `captured`. */
  file(file: PassedFile, content: Uint8Array | undefined): void;
  /** Files whose bytes are wanted; they are small. */
  readonly captured: ReadonlySet<string>;
}

const PADDING = new Uint8Array(TAR_BLOCK);

/** The name of a part without suffixes. */
export function partName(archive: string, number: number): string {
  return `${archive}/${String(number).padStart(4, '0')}.tar`;
}

/**
 * Cuts one archive of BASE_BACKUP into parts, each a valid tar of whole entries: headers and data as the server sent them, and
 * an end mark of its own. An archive without entries is one empty part.
 */
export class PartSplitter {
  readonly #options: PartSplitterOptions;
  readonly #prefix: string;
  readonly #reader: TarReader;
  #number = 0;
  #name = '';
  #open = false;
  #size = 0;
  #entries = 0;
  #entry: TarHeader | undefined;
  #offset = 0;
  #content: Buffer[] | undefined;

  constructor(options: PartSplitterOptions) {
    this.#options = options;
    this.#prefix = options.archive === 'base' ? '' : `pg_tblspc/${options.archive}/`;
    this.#reader = new TarReader(
      {
        entry: (header, raw) => this.#begin(header, raw),
        data: (chunk) => this.#data(chunk),
        entryEnd: () => this.#end(),
      },
      `${options.archive}.tar`,
    );
  }

  /** Takes the next bytes of the archive. Errors: `BACKUP_CORRUPT`. */
  push(chunk: Uint8Array): void {
    this.#reader.push(chunk);
  }

  /** Says that the archive is complete. Errors: `BACKUP_CORRUPT` when it is not. */
  end(): void {
    this.#reader.end();
    this.#part();
    this.#close();
  }

  /** Begins a part when none is open. */
  #part(): void {
    if (this.#open) return;
    this.#open = true;
    this.#name = partName(this.#options.archive, this.#number);
    this.#options.output.begin(this.#name);
    this.#size = 0;
    this.#entries = 0;
  }

  #close(): void {
    this.#options.output.pass(TAR_END);
    this.#options.output.end();
    this.#open = false;
    this.#options.partEnd(this.#number, this.#name, this.#entries);
    this.#number++;
  }

  #begin(header: TarHeader, raw: Uint8Array): void {
    const length = TAR_BLOCK + header.size + tarPadding(header.size);
    const full = this.#size + length + TAR_END.byteLength > this.#options.partSize;
    if (this.#open && full && this.#entries > 0) this.#close();
    this.#part();
    this.#options.output.pass(raw);
    this.#entries++;
    this.#offset = this.#size + TAR_BLOCK;
    this.#size += length;
    this.#entry = header;
    if (header.type !== 'file') return;
    this.#content = this.#options.captured.has(this.#prefix + header.path) ? [] : undefined;
  }

  #data(chunk: Uint8Array): void {
    this.#options.output.write(chunk);
    this.#content?.push(Buffer.from(chunk));
  }

  #end(): void {
    const entry = this.#entry;
    if (entry?.type !== 'file') return;
    const { output } = this.#options;
    const file = {
      path: this.#prefix + entry.path,
      part: this.#name,
      offset: this.#offset,
      size: entry.size,
      mode: entry.mode,
    };
    this.#options.file(file, this.#content === undefined ? undefined : Buffer.concat(this.#content));
    // Only now: where there is no hashing thread its digest is told at once.
    output.cut();
    output.pass(PADDING.subarray(0, tarPadding(entry.size)));
  }
}
