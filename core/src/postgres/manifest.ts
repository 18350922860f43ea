/**
 * PostgreSQL's `backup_manifest` (PostgreSQL docs, "Backup Manifest Format"; source: `backup/backup_manifest.c`).
 *
 * It is read from its raw bytes and never printed again: its own checksum covers the bytes, the system identifier exceeds
 * 2^53, and names may be bytes that are no text. PostgreSQL writes one object a line, which lets a manifest of any size be
 * read line by line; a manifest printed any other way is refused, although it may be valid JSON.
 */
import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import { pathFault } from './cluster-path.ts';
import { bytesToText, hasRawBytes } from './lossless-text.ts';
import { parseLsn } from './lsn.ts';

/** Checksum algorithms of a manifest, and how many hex digits their checksums have. */
const DIGITS = { NONE: 0, CRC32C: 8, SHA224: 56, SHA256: 64, SHA384: 96, SHA512: 128 } as const;

/** How the files of a backup are checksummed. CRC32C is printed in little-endian byte order. */
export type ManifestAlgorithm = keyof typeof DIGITS;

/** One file of a backup. */
export interface ManifestFile {
  /** Relative to the data directory, checked; bytes that are not UTF-8 as in `lossless-text.ts`. */
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** As the manifest says it, such as `2026-11-21 05:33:13 GMT`. */
  readonly lastModified: string;
  readonly algorithm: ManifestAlgorithm;
  /** Lower case hex; undefined for `NONE`. */
  readonly checksum: string | undefined;
}

/** WAL that a backup needs: from `start` up to, not including, `end`. */
export interface ManifestWalRange {
  readonly timeline: number;
  readonly start: bigint;
  readonly end: bigint;
}

/** What a manifest says beside its files. */
export interface ManifestSummary {
  /** 1 for servers 13 to 16, 2 from 17 on. */
  readonly version: 1 | 2;
  /** Decimal text; undefined in version 1. */
  readonly systemId: string | undefined;
  /** Newest timeline first, as PostgreSQL writes them. */
  readonly walRanges: readonly ManifestWalRange[];
  /** SHA-256 over the manifest, lower case hex; it was compared. */
  readonly checksum: string;
  readonly fileCount: number;
}

/** What a {@link ManifestReader} calls while bytes are pushed. */
export interface ManifestHandlers {
  file(file: ManifestFile): void;
}

/** Longer than any line PostgreSQL can write: a path has at most 1024 bytes. */
const MAX_LINE = 64 * 1024;

const NEWLINE = 0x0a;
const LAST_LINE = /^"Manifest-Checksum"\s*:\s*"([0-9A-Fa-f]{64})"\s*\}\s*$/;
const LAST_LINE_START = Buffer.from('"Manifest-Checksum"');

/**
 * Reads a manifest as its bytes arrive. Throws `BACKUP_CORRUPT` with the line for anything that PostgreSQL does not write, for
 * a path named twice or leaving the data directory, and for a wrong checksum.
 *
 * Nothing that a handler was told counts before {@link end} has returned: only then the checksum has been compared.
 */
export class ManifestReader {
  readonly #handlers: ManifestHandlers;
  readonly #name: string;
  readonly #hash = createHash('sha256');
  readonly #paths = new Set<string>();
  readonly #walRanges: ManifestWalRange[] = [];
  #unfinished: Uint8Array = new Uint8Array();
  #line = 0;
  #expect: 'version' | 'system id' | 'files' | 'file' | 'ranges' | 'range' | 'checksum' | 'end' = 'version';
  /** Whether the line before ended in a comma, or opened a list, so that an object may follow. */
  #open: 'first' | 'comma' | 'none' = 'none';
  #version: 1 | 2 = 1;
  #systemId: string | undefined;
  #checksum = '';

  /** `name` is the manifest's, for messages. */
  constructor(handlers: ManifestHandlers, name = 'backup_manifest') {
    this.#handlers = handlers;
    this.#name = name;
  }

  /** Takes the next bytes; the handler is called before it returns. */
  push(chunk: Uint8Array): void {
    let bytes = chunk;
    if (this.#unfinished.byteLength > 0) bytes = Buffer.concat([this.#unfinished, chunk]);
    let at = 0;
    for (let end = bytes.indexOf(NEWLINE); end !== -1; end = bytes.indexOf(NEWLINE, at)) {
      this.#read(bytes.subarray(at, end + 1));
      at = end + 1;
    }
    // A copy, because the chunk belongs to the caller.
    this.#unfinished = Uint8Array.from(bytes.subarray(at)); // `slice` of a Buffer would be a view
    if (this.#unfinished.byteLength > MAX_LINE) throw this.#error('has a line that is too long', this.#line + 1);
  }

  /** Says that no more bytes come, and gives what the manifest says beside its files. */
  end(): ManifestSummary {
    if (this.#expect !== 'end' || this.#unfinished.byteLength > 0)
      throw this.#error('does not end with the line of its checksum');
    return {
      version: this.#version,
      systemId: this.#systemId,
      walRanges: this.#walRanges,
      checksum: this.#checksum,
      fileCount: this.#paths.size,
    };
  }

  #read(bytes: Uint8Array): void {
    this.#line++;
    const line = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (line.byteLength > MAX_LINE) throw this.#unexpected('is too long');
    if (!isUtf8(line)) throw this.#unexpected('is not UTF-8');
    if (this.#expect === 'end') throw this.#unexpected('follows the checksum, which is the last line');
    const last = this.#expect === 'checksum' && line.subarray(0, LAST_LINE_START.byteLength).equals(LAST_LINE_START);
    if (last) return this.#readChecksum(line.toString('utf8'));
    this.#hash.update(line);
    this.#readLine(line.toString('utf8', 0, line.byteLength - 1));
  }

  #readLine(text: string): void {
    switch (this.#expect) {
      case 'version':
        return this.#readVersion(text);
      case 'system id': {
        const match = /^"System-Identifier"\s*:\s*([1-9]\d{0,19})\s*,\s*$/.exec(text);
        if (match === null) throw this.#unexpected('is not the system identifier');
        this.#systemId = match[1];
        this.#expect = 'files';
        return;
      }
      case 'files':
        return this.#openList(text, 'Files', 'file');
      case 'file':
        if (this.#closesList(text)) this.#expect = 'ranges';
        else this.#readFile(this.#object(text));
        return;
      case 'ranges':
        return this.#openList(text, 'WAL-Ranges', 'range');
      case 'range':
        if (this.#closesList(text)) this.#expect = 'checksum';
        else this.#readRange(this.#object(text));
        return;
      default:
        throw this.#unexpected('is not the checksum of the manifest');
    }
  }

  #readVersion(text: string): void {
    const match = /^\{\s*"PostgreSQL-Backup-Manifest-Version"\s*:\s*(\d+)\s*,\s*$/.exec(text);
    if (match === null) throw this.#unexpected('does not begin a PostgreSQL backup manifest');
    const version = Number(match[1]);
    if (version !== 1 && version !== 2)
      throw this.#error(`is of version ${match[1]}, which is not known`, this.#line, {
        hint: 'Use a pgark that supports the PostgreSQL version of the backup.',
      });
    this.#version = version;
    this.#expect = version === 1 ? 'files' : 'system id';
  }

  #openList(text: string, key: string, next: 'file' | 'range'): void {
    if (!new RegExp(`^"${key}"\\s*:\\s*\\[\\s*$`).test(text)) throw this.#unexpected(`does not open the list "${key}"`);
    this.#expect = next;
    this.#open = 'first';
  }

  #closesList(text: string): boolean {
    if (!/^\s*\]\s*,\s*$/.test(text)) return false;
    if (this.#open === 'comma') throw this.#unexpected('follows a comma, but closes the list');
    return true;
  }

  #object(text: string): Record<string, unknown> {
    if (this.#open === 'none') throw this.#unexpected('follows a line without a comma');
    const trimmed = text.trimEnd();
    const comma = trimmed.endsWith(',');
    let value: unknown;
    try {
      value = JSON.parse(comma ? trimmed.slice(0, -1) : trimmed);
    } catch (error) {
      throw this.#unexpected('is not a JSON object', error);
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw this.#unexpected('is not a JSON object');
    this.#open = comma ? 'comma' : 'none';
    return value as Record<string, unknown>;
  }

  #readFile(object: Record<string, unknown>): void {
    this.#onlyKeys(object, FILE_KEYS);
    const path = this.#path(object);
    const fault = pathFault(path);
    if (fault !== undefined) throw this.#unexpected(`names a file whose path ${fault}: ${JSON.stringify(path)}`);
    if (this.#paths.has(path)) throw this.#unexpected(`names a file twice: ${JSON.stringify(path)}`);
    this.#paths.add(path);
    const size = object['Size'];
    if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0)
      throw this.#unexpected(`has no valid size of ${path}`);
    const algorithm = this.#algorithm(object['Checksum-Algorithm'], path);
    const checksum = object['Checksum'];
    if (algorithm === 'NONE' ? checksum !== undefined : !isHex(checksum, DIGITS[algorithm]))
      throw this.#unexpected(`has no valid checksum of ${path}`);
    const lastModified = object['Last-Modified'];
    if (lastModified !== undefined && typeof lastModified !== 'string')
      throw this.#unexpected(`has no valid time of ${path}`);
    this.#handlers.file({
      path,
      size,
      lastModified: lastModified ?? '',
      algorithm,
      checksum: checksum === undefined ? undefined : (checksum as string).toLowerCase(),
    });
  }

  #path(object: Record<string, unknown>): string {
    const { Path: path, 'Encoded-Path': encoded } = object;
    if (typeof path === 'string' && encoded === undefined) {
      // A lone surrogate stands for a raw byte here, and PostgreSQL never writes one as text.
      if (hasRawBytes(path)) throw this.#unexpected('names a file in something that is not text');
      return path;
    }
    if (path === undefined && typeof encoded === 'string' && isHex(encoded, encoded.length))
      return bytesToText(Buffer.from(encoded, 'hex'));
    throw this.#unexpected('has no valid path');
  }

  #algorithm(value: unknown, path: string): ManifestAlgorithm {
    if (value === undefined) return 'NONE';
    const algorithm = typeof value === 'string' ? value.toUpperCase() : '';
    if (!Object.hasOwn(DIGITS, algorithm))
      throw this.#unexpected(`has an unknown checksum algorithm for ${path}: ${JSON.stringify(value)}`);
    return algorithm as ManifestAlgorithm;
  }

  #readRange(object: Record<string, unknown>): void {
    this.#onlyKeys(object, RANGE_KEYS);
    const timeline = object['Timeline'];
    if (typeof timeline !== 'number' || !Number.isInteger(timeline) || timeline < 1 || timeline > 0xffffffff)
      throw this.#unexpected('has no valid timeline');
    const range = { timeline, start: this.#lsn(object['Start-LSN']), end: this.#lsn(object['End-LSN']) };
    if (range.end < range.start) throw this.#unexpected('ends before it starts');
    this.#walRanges.push(range);
  }

  #lsn(value: unknown): bigint {
    try {
      return parseLsn(typeof value === 'string' ? value : '');
    } catch (error) {
      if (!isArchiveError(error, 'USAGE')) throw error;
      throw this.#unexpected('has no valid LSN', error);
    }
  }

  #readChecksum(text: string): void {
    const match = LAST_LINE.exec(text);
    if (match === null) throw this.#unexpected('has no valid checksum of the manifest');
    const found = this.#hash.digest('hex');
    const stated = (match[1] ?? '').toLowerCase();
    if (found !== stated)
      throw this.#error('does not match its own checksum', this.#line, { details: { stated, found } });
    this.#checksum = stated;
    this.#expect = 'end';
  }

  #onlyKeys(object: Record<string, unknown>, known: ReadonlySet<string>): void {
    for (const key in object) if (!known.has(key)) throw this.#unexpected(`has an unknown field "${key}"`);
  }

  #unexpected(what: string, cause?: unknown): ArchiveError {
    return this.#error(`is damaged: the line ${what}`, this.#line, cause === undefined ? {} : { cause });
  }

  #error(
    message: string,
    line?: number,
    options: { readonly hint?: string; readonly cause?: unknown; readonly details?: Record<string, unknown> } = {},
  ): ArchiveError {
    return new ArchiveError(
      'BACKUP_CORRUPT',
      `${this.#name} ${message}${line === undefined ? '' : ` (line ${line})`}`,
      options,
    );
  }
}

const FILE_KEYS: ReadonlySet<string> = new Set([
  'Path',
  'Encoded-Path',
  'Size',
  'Last-Modified',
  'Checksum-Algorithm',
  'Checksum',
]);
const RANGE_KEYS: ReadonlySet<string> = new Set(['Timeline', 'Start-LSN', 'End-LSN']);

function isHex(value: unknown, digits: number): boolean {
  return typeof value === 'string' && value.length === digits && digits % 2 === 0 && /^[0-9A-Fa-f]*$/.test(value);
}

/** A whole manifest. */
export interface Manifest extends ManifestSummary {
  /** By path, in the order of the manifest. */
  readonly files: ReadonlyMap<string, ManifestFile>;
}

/**
 * Reads a manifest to its end: about 300 bytes of memory a file. Throws what {@link ManifestReader} throws, and what the
 * source throws.
 */
export async function readManifest(
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  name = 'backup_manifest',
): Promise<Manifest> {
  const files = new Map<string, ManifestFile>();
  const reader = new ManifestReader({ file: (file) => void files.set(file.path, file) }, name);
  for await (const chunk of source) reader.push(chunk);
  return { ...reader.end(), files };
}
