import { TAR_BLOCK, TAR_END, TarReader, tarPadding, type TarHeader } from '../postgres/tar.ts';
import type { PieceHasher } from '../pipeline/hasher.ts';
import type { BackupFile } from '../repository/file-list.ts';

/** A file whose digest is not known yet. */
export type PassedFile = Omit<BackupFile, 'sha256'>;

/** Where the bytes of a part go. */
export interface PartSink {
  write(bytes: Uint8Array): void;
  end(): void;
}

export interface PartSplitterOptions {
  /** `base`, or the OID of a tablespace. */
  readonly archive: string;
  /** Bytes after which a part is closed. A larger entry makes a larger part, as entries are never cut. */
  readonly partSize: number;
  /** Begins the part with this number, whose name is `<archive>/<number>.tar`. */
  begin(number: number, name: string): PartSink;
  /** A part is complete and has this many entries. */
  partEnd(number: number, name: string, entries: number): void;
  /** A file has passed; its digest will be told by `hasher`. `content` is given for the paths of `captured`. */
  file(file: PassedFile, content: Uint8Array | undefined): void;
  /** Gets each file as a piece. */
  readonly hasher: Pick<PieceHasher, 'write' | 'cut'>;
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
 * an end mark of its own. Every file goes to a hasher on the way. An archive without entries is one empty part.
 */
export class PartSplitter {
  readonly #options: PartSplitterOptions;
  readonly #prefix: string;
  readonly #reader: TarReader;
  #number = 0;
  #name = '';
  #sink: PartSink | undefined;
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

  /** The present part, begun when there is none. */
  #part(): PartSink {
    if (this.#sink === undefined) {
      this.#name = partName(this.#options.archive, this.#number);
      this.#sink = this.#options.begin(this.#number, this.#name);
      this.#size = 0;
      this.#entries = 0;
    }
    return this.#sink;
  }

  #close(): void {
    this.#sink?.write(TAR_END);
    this.#sink?.end();
    this.#sink = undefined;
    this.#options.partEnd(this.#number, this.#name, this.#entries);
    this.#number++;
  }

  #begin(header: TarHeader, raw: Uint8Array): void {
    const length = TAR_BLOCK + header.size + tarPadding(header.size);
    const full = this.#size + length + TAR_END.byteLength > this.#options.partSize;
    if (this.#sink !== undefined && full && this.#entries > 0) this.#close();
    const sink = this.#part();
    sink.write(raw);
    this.#entries++;
    this.#offset = this.#size + TAR_BLOCK;
    this.#size += length;
    this.#entry = header;
    if (header.type !== 'file') return;
    this.#content = this.#options.captured.has(this.#prefix + header.path) ? [] : undefined;
  }

  #data(chunk: Uint8Array): void {
    this.#options.hasher.write(chunk);
    this.#content?.push(Buffer.from(chunk));
    this.#sink?.write(chunk);
  }

  #end(): void {
    const entry = this.#entry;
    if (entry?.type !== 'file') return;
    this.#sink?.write(PADDING.subarray(0, tarPadding(entry.size)));
    const file = {
      path: this.#prefix + entry.path,
      part: this.#name,
      offset: this.#offset,
      size: entry.size,
      mode: entry.mode,
    };
    this.#options.hasher.cut();
    this.#options.file(file, this.#content === undefined ? undefined : Buffer.concat(this.#content));
  }
}
