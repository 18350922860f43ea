/**
 * The tar archives of BASE_BACKUP (PostgreSQL source: `port/tar.c`, `backup/basebackup.c`): POSIX ustar with names of at most
 * 99 bytes, no extended headers, numbers in octal or base-256, directories and symlinks named with a trailing slash.
 */
import { ArchiveError } from '../contracts/errors.ts';
import { pathFault } from './cluster-path.ts';
import { bytesToText, textToBytes } from './lossless-text.ts';

/** Size of a tar block in bytes: headers are one block, data is padded to whole blocks. */
export const TAR_BLOCK = 512;

/** The two zero blocks that end an archive. */
export const TAR_END: Uint8Array = new Uint8Array(2 * TAR_BLOCK);

/** One entry of an archive. */
export interface TarHeader {
  /** Relative, without a leading `./` or trailing slash, checked; bytes that are not UTF-8 as in `lossless-text.ts`. */
  readonly path: string;
  readonly type: 'file' | 'directory' | 'symlink';
  /** Bytes of data that follow; 0 for anything but a file. */
  readonly size: number;
  /** Permission bits. */
  readonly mode: number;
  /** Whole seconds since 1970; 0 for a time before. */
  readonly mtime: number;
  readonly uid: number;
  readonly gid: number;
  /** Where a symlink points to, as it is in the archive: not checked. */
  readonly linkTarget?: string;
}

/** What a {@link TarReader} calls while bytes are pushed. Views are valid only during the call. */
export interface TarHandlers {
  /** An entry begins; `raw` is its header block. */
  entry(header: TarHeader, raw: Uint8Array): void;
  /** Bytes of the present entry. */
  data(chunk: Uint8Array): void;
  /** The present entry is complete. Called for every entry, an empty one too. */
  entryEnd(): void;
}

/**
 * Reads an archive as its bytes arrive. Whatever is not a complete, regular archive of PostgreSQL throws `BACKUP_CORRUPT`:
 * a wrong header checksum, a name that leaves the folder, an entry type PostgreSQL does not write, data cut short, a missing
 * end mark, bytes after it. After an error, or an error thrown by a handler, the reader is of no further use.
 *
 * The archive is known to be whole only when {@link end} has returned.
 */
export class TarReader {
  readonly #handlers: TarHandlers;
  readonly #name: string;
  readonly #block = new Uint8Array(TAR_BLOCK);
  /** Bytes of a header block that have arrived; they are in `#block` when a chunk ended inside it. */
  #filled = 0;
  #dataLeft = 0;
  #paddingLeft = 0;
  #endBlocks = 0;
  #offset = 0;
  #path = '';

  /** `name` is the archive's, for messages. */
  constructor(handlers: TarHandlers, name: string) {
    this.#handlers = handlers;
    this.#name = name;
  }

  /** Takes the next bytes; handlers are called before it returns. */
  push(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.byteLength;) {
      const left = chunk.byteLength - at;
      let taken: number;
      if (this.#dataLeft > 0) {
        taken = Math.min(left, this.#dataLeft);
        this.#handlers.data(chunk.subarray(at, at + taken));
        this.#dataLeft -= taken;
        if (this.#dataLeft === 0) this.#handlers.entryEnd();
      } else if (this.#paddingLeft > 0) {
        taken = Math.min(left, this.#paddingLeft);
        this.#paddingLeft -= taken;
      } else if (this.#endBlocks === 2) {
        taken = left;
        if (!isZero(chunk.subarray(at))) throw this.#error('has bytes after its end mark');
      } else if (this.#filled === 0 && left >= TAR_BLOCK) {
        taken = TAR_BLOCK;
        this.#header(chunk.subarray(at, at + TAR_BLOCK));
      } else {
        taken = Math.min(left, TAR_BLOCK - this.#filled);
        this.#block.set(chunk.subarray(at, at + taken), this.#filled);
        this.#filled += taken;
        if (this.#filled === TAR_BLOCK) {
          this.#filled = 0;
          this.#header(this.#block);
        }
      }
      at += taken;
      this.#offset += taken;
    }
  }

  /** Says that no more bytes come. */
  end(): void {
    if (this.#dataLeft > 0) throw this.#error(`ends inside ${this.#path}, ${this.#dataLeft} bytes before its end`);
    if (this.#endBlocks < 2 || this.#paddingLeft > 0) throw this.#error('ends without an end mark');
  }

  #header(raw: Uint8Array): void {
    if (raw[0] === 0 && isZero(raw)) {
      this.#endBlocks++;
      return;
    }
    if (this.#endBlocks > 0) throw this.#error('has an entry after a zero block');
    const header = this.#parse(raw);
    this.#path = header.path;
    this.#dataLeft = header.size;
    this.#paddingLeft = tarPadding(header.size);
    this.#handlers.entry(header, raw);
    if (header.size === 0) this.#handlers.entryEnd();
  }

  #parse(raw: Uint8Array): TarHeader {
    const checksum = readNumber(raw, 148, 8);
    if (checksum === undefined || checksum !== headerChecksum(raw))
      throw this.#error(`has no valid header at offset ${this.#blockOffset(raw)}`);
    const name = bytesToText(field(raw, 0, 100));
    const type = TYPES[String.fromCharCode(raw[156] ?? 0)];
    if (type === undefined) throw this.#foreign(raw, name);
    if (bytesToText(raw.subarray(257, 263)) !== 'ustar\0' || raw[345] !== 0) throw this.#foreign(raw, name);
    const path = plainPath(name, type);
    const fault = pathFault(path);
    if (fault !== undefined) throw this.#error(`holds an entry whose name ${fault}: ${JSON.stringify(name)}`);
    const header = {
      path,
      type,
      size: this.#number(raw, 124, 12, 'size', path),
      mode: this.#number(raw, 100, 8, 'mode', path) & 0o7777,
      // A server writes a time before 1970 as 2^64 less something: no reason to refuse a backup.
      mtime: readNumber(raw, 136, 12) ?? 0,
      uid: this.#number(raw, 108, 8, 'owner', path),
      gid: this.#number(raw, 116, 8, 'group', path),
    };
    if (type !== 'file' && header.size !== 0) throw this.#error(`gives ${path} a size although it is a ${type}`);
    if (type !== 'symlink') return header;
    const linkTarget = bytesToText(field(raw, 157, 100));
    if (linkTarget === '') throw this.#error(`holds a symlink without a target: ${path}`);
    return { ...header, linkTarget };
  }

  #number(raw: Uint8Array, offset: number, length: number, what: string, path: string): number {
    const value = readNumber(raw, offset, length);
    if (value === undefined) throw this.#error(`gives ${path} no valid ${what}`);
    return value;
  }

  /** Where in the archive a header block began: the reader counts a block from a single chunk only afterwards. */
  #blockOffset(raw: Uint8Array): number {
    return raw === this.#block ? this.#offset - (this.#offset % TAR_BLOCK) : this.#offset;
  }

  #foreign(raw: Uint8Array, name: string): ArchiveError {
    const flag = JSON.stringify(String.fromCharCode(raw[156] ?? 0));
    const what = FOREIGN[String.fromCharCode(raw[156] ?? 0)] ?? `an entry of type ${flag} in a format`;
    return this.#error(`was not written by PostgreSQL: it holds ${what} that PostgreSQL does not use`, {
      hint: `Only plain ustar archives are read; the entry is ${JSON.stringify(name)}.`,
    });
  }

  #error(message: string, options: { readonly hint?: string } = {}): ArchiveError {
    return new ArchiveError('BACKUP_CORRUPT', `${this.#name} ${message}`, options);
  }
}

const TYPES: Readonly<Record<string, TarHeader['type']>> = {
  '0': 'file',
  '\0': 'file',
  '2': 'symlink',
  '5': 'directory',
};

const FOREIGN: Readonly<Record<string, string>> = {
  x: 'PAX headers',
  g: 'PAX headers',
  L: 'GNU long names',
  K: 'GNU long names',
  S: 'GNU sparse files',
  '1': 'hard links',
};

/** What a header is written from; owner and group are 0 unless given. */
export type TarEntry = Omit<TarHeader, 'uid' | 'gid'> & { readonly uid?: number; readonly gid?: number };

/**
 * The header block of an entry, byte for byte as PostgreSQL writes it for the same values. Throws `BACKUP_CORRUPT` for a
 * name or target above 99 bytes, which a server cannot send either, and for an unsafe name.
 */
export function tarHeader(entry: TarEntry): Uint8Array {
  const fault = pathFault(entry.path);
  if (fault !== undefined)
    throw new ArchiveError('BACKUP_CORRUPT', `the name of a tar entry ${fault}: ${JSON.stringify(entry.path)}`);
  const raw = new Uint8Array(TAR_BLOCK);
  writeText(raw, 0, entry.type === 'file' ? entry.path : `${entry.path}/`);
  writeNumber(raw, 100, 8, entry.mode & 0o7777);
  writeNumber(raw, 108, 8, entry.uid ?? 0);
  writeNumber(raw, 116, 8, entry.gid ?? 0);
  writeNumber(raw, 124, 12, entry.type === 'file' ? entry.size : 0);
  writeNumber(raw, 136, 12, entry.mtime);
  raw.set(FLAGS[entry.type], 156);
  if (entry.linkTarget !== undefined) writeText(raw, 157, entry.linkTarget);
  raw.set(Buffer.from('ustar\x0000', 'latin1'), 257);
  raw.set(Buffer.from('postgres', 'latin1'), 265);
  raw.set(Buffer.from('postgres', 'latin1'), 297);
  writeNumber(raw, 329, 8, 0);
  writeNumber(raw, 337, 8, 0);
  writeNumber(raw, 148, 8, headerChecksum(raw));
  return raw;
}

/** Zero bytes that follow data of this size. */
export function tarPadding(size: number): number {
  return (TAR_BLOCK - (size % TAR_BLOCK)) % TAR_BLOCK;
}

const FLAGS: Readonly<Record<TarHeader['type'], Uint8Array>> = {
  file: Buffer.from('0'),
  symlink: Buffer.from('2'),
  directory: Buffer.from('5'),
};

/** Servers name `pg_wal/archive_status` with a leading `./`, and everything but files with a trailing slash. */
function plainPath(name: string, type: TarHeader['type']): string {
  const relative = name.startsWith('./') ? name.slice(2) : name;
  return type !== 'file' && relative.endsWith('/') ? relative.slice(0, -1) : relative;
}

function field(raw: Uint8Array, offset: number, length: number): Uint8Array {
  const bytes = raw.subarray(offset, offset + length);
  const end = bytes.indexOf(0);
  return end === -1 ? bytes : bytes.subarray(0, end);
}

/** Octal text, or base-256 with the top bit of the first byte set; undefined for anything else, or above 2^53. */
function readNumber(raw: Uint8Array, offset: number, length: number): number | undefined {
  let value = 0;
  if (raw[offset] === 0x80) {
    for (const byte of raw.subarray(offset + 1, offset + length)) value = value * 256 + byte;
    return Number.isSafeInteger(value) ? value : undefined;
  }
  const text = /^ *([0-7]+)[ \0]*$/.exec(Buffer.from(raw.subarray(offset, offset + length)).toString('latin1'));
  return text === null ? undefined : Number.parseInt(text[1] ?? '', 8);
}

function writeNumber(raw: Uint8Array, offset: number, length: number, value: number): void {
  const digits = value.toString(8).padStart(length - 1, '0');
  if (digits.length === length - 1) {
    raw.set(Buffer.from(`${digits} `, 'latin1'), offset);
    return;
  }
  let rest = value;
  for (let at = length - 1; at > 0; at--) {
    raw[offset + at] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  raw[offset] = 0x80;
}

function writeText(raw: Uint8Array, offset: number, text: string): void {
  const bytes = textToBytes(text);
  if (bytes.byteLength > 99 || bytes.includes(0))
    throw new ArchiveError('BACKUP_CORRUPT', `a tar header cannot hold the name ${JSON.stringify(text)}`);
  raw.set(bytes, offset);
}

/** Sum of all bytes, those of the checksum counted as spaces. */
function headerChecksum(raw: Uint8Array): number {
  let sum = 8 * 0x20;
  for (let at = 0; at < 148; at++) sum += raw[at] as number;
  for (let at = 156; at < TAR_BLOCK; at++) sum += raw[at] as number;
  return sum;
}

function isZero(bytes: Uint8Array): boolean {
  for (const byte of bytes) if (byte !== 0) return false;
  return true;
}
