/**
 * `files.json` of a backup: where each file is. A JSON object with the key `files`, an array with one entry a line, so that a list
 * of any length can be written and read line by line.
 */
import { ArchiveError } from '../contracts/errors.ts';
import { pathFault } from '../postgres/cluster-path.ts';

/** Where one file of a backup is, and what it must turn out to be. */
export interface BackupFile {
  /** Below the data directory, those of a tablespace as `pg_tblspc/<oid>/...`; bytes that are not UTF-8 as in `lossless-text.ts`. */
  readonly path: string;
  /** Name of the part without suffixes of codecs: `base/0000.tar`. */
  readonly part: string;
  /** Of its first byte in the plain part. */
  readonly offset: number;
  /** Bytes. */
  readonly size: number;
  /** Permission bits. */
  readonly mode: number;
  /** 64 lower case hex digits. */
  readonly sha256: string;
}

const HEAD = '{"files":[';
const TAIL = ']}';
const NEWLINE = 0x0a;
/** Lines are gathered to chunks of about this many characters. */
const CHUNK = 256 * 1024;
/** Longer than the line of any path that fits a tar header. */
const MAX_LINE = 64 * 1024;

/** The bytes of a list. Can be read more than once. */
export function formatFileList(files: Iterable<BackupFile>): AsyncIterable<Uint8Array> {
  return {
    async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
      let text = HEAD;
      let separator = '\n';
      for (const { path, part, offset, size, mode, sha256 } of files) {
        text += separator + JSON.stringify({ path, part, offset, size, mode, sha256 });
        separator = ',\n';
        if (text.length < CHUNK) continue;
        yield Buffer.from(text);
        text = '';
      }
      yield Buffer.from(`${text}\n${TAIL}\n`);
    },
  };
}

/**
 * Reads a list as its bytes arrive; `name` is the object's, for messages. Nothing counts before the loop has ended: a list that
 * is cut short, or holds something else, ends it with `REPOSITORY_FORMAT`.
 */
export async function* readFileList(source: AsyncIterable<Uint8Array>, name: string): AsyncGenerator<BackupFile> {
  let state: 'head' | 'first' | 'next' | 'last' | 'end' = 'head';
  const fault = (text: string): ArchiveError =>
    new ArchiveError('REPOSITORY_FORMAT', `${name} is not a list of files: "${text.slice(0, 100)}"`);
  for await (const line of lines(source, name)) {
    if (state === 'head') {
      if (line !== HEAD) throw fault(line);
      state = 'first';
    } else if (state === 'end') {
      throw fault(line);
    } else if (line === TAIL) {
      if (state === 'next') throw fault(line); // the line before ended in a comma
      state = 'end';
    } else {
      if (state === 'last') throw fault(line); // the line before ended without a comma
      const more = line.endsWith(',');
      const file = parseEntry(more ? line.slice(0, -1) : line);
      if (file === undefined) throw fault(line);
      yield file;
      state = more ? 'next' : 'last';
    }
  }
  if (state !== 'end') throw new ArchiveError('REPOSITORY_FORMAT', `${name} is cut short`);
}

async function* lines(source: AsyncIterable<Uint8Array>, name: string): AsyncGenerator<string> {
  let rest = Buffer.alloc(0);
  for await (const chunk of source) {
    const bytes = Buffer.concat([rest, chunk]);
    let at = 0;
    for (let end = bytes.indexOf(NEWLINE); end !== -1; end = bytes.indexOf(NEWLINE, at)) {
      yield bytes.toString('utf8', at, end);
      at = end + 1;
    }
    rest = bytes.subarray(at);
    if (rest.byteLength > MAX_LINE) throw new ArchiveError('REPOSITORY_FORMAT', `${name} has a line that is too long`);
  }
  if (rest.byteLength > 0) yield rest.toString('utf8');
}

function parseEntry(text: string): BackupFile | undefined {
  let value: Partial<Record<keyof BackupFile, unknown>>;
  try {
    value = JSON.parse(text) as typeof value;
  } catch {
    return undefined; // the caller says which line
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { path, part, offset, size, mode, sha256 } = value;
  if (typeof path !== 'string' || pathFault(path) !== undefined) return undefined;
  if (typeof part !== 'string' || !/^(?:base|[1-9][0-9]*)\/[0-9]{4,}\.tar$/.test(part)) return undefined;
  if (typeof sha256 !== 'string' || !/^[0-9a-f]{64}$/.test(sha256)) return undefined;
  if (!isCount(offset) || !isCount(size) || !isCount(mode) || mode > 0o7777) return undefined;
  return { path, part, offset, size, mode, sha256 };
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
