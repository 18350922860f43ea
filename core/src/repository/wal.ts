import { createHash } from 'node:crypto';
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import { leaseChunk, releaseChunk } from '../contracts/lease.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { fileChunks } from '../pipeline/file-chunks.ts';
import { load } from '../pipeline/load.ts';
import { storeNamed } from '../pipeline/store.ts';
import { historyName, parseWalFileName, segmentName, type WalFile } from '../postgres/wal-file.ts';
import {
  DIGEST_LENGTH,
  parseTailKey,
  parseTailName,
  parseWalKey,
  tailFolder,
  tailKey,
  walFolder,
  walKey,
  walPrefix,
  type TailKey,
} from './layout.ts';
import { bodyOf, childNames, collect, signalOf } from './objects.ts';
import type { RepositoryContext } from './repository.ts';
import { joinSlices, type TailSlice } from './tail.ts';
import { writeWhole } from './whole-file.ts';

/**
 * Where the bytes of a WAL file come from: a file, read twice; memory, whose digest (as in {@link WalObject}) may be known of these very bytes,
 * and which is released when it is stored; or a stream that can be read anew, whose digest is known and compared with what it gives.
 */
export type WalSource =
  | { readonly path: string }
  | { readonly bytes: Uint8Array; readonly digest?: string }
  | { readonly digest: string; readonly read: () => AsyncIterable<Uint8Array> };

/** A WAL file in the archive. */
export interface WalObject {
  readonly file: WalFile;
  readonly key: string;
  /** First 128 bits of the SHA-256 of the plain content, hexadecimal. */
  readonly digest: string;
  readonly codecs: readonly string[];
  /** Bytes as stored. */
  readonly size: number;
  /** Epoch milliseconds; for people. */
  readonly modified: number;
  /** Why it cannot be used: another repository holds other content under this name. Of listings of several repositories only. */
  readonly conflict?: ArchiveError;
}

/** A slice as {@link WalArchive.contents} finds it. */
export interface WalSlice extends TailSlice {
  readonly segment: WalFile;
  /** Bytes as stored. */
  readonly size: number;
  /** When the storage took it, epoch milliseconds. */
  readonly modified: number;
}

/** What reading the WAL of one system identifier takes: that of one repository, or of several as if they were one. */
export type WalReader = Pick<
  WalArchive,
  'systemId' | 'find' | 'read' | 'fetch' | 'timelines' | 'segments' | 'last' | 'behind' | 'history' | 'tail'
>;

/** The WAL of one system identifier: segments, histories, backup labels, partial segments and tails. */
export class WalArchive {
  readonly systemId: string;
  readonly #context: RepositoryContext;
  readonly #prefix: string;

  constructor(context: RepositoryContext, systemId: string) {
    this.#context = context;
    this.systemId = systemId;
    this.#prefix = walPrefix(context.cluster, systemId);
  }

  /**
   * Archives a WAL file. The name with the same content again is `present`, a success; with other content it is
   * `WAL_CONFLICT`, which names both digests and leaves the old object as it is.
   *
   * What the header of a segment says is the caller's to check.
   */
  async push(name: string, source: WalSource, options: CallOptions = {}): Promise<'stored' | 'present'> {
    const file = walFile(name);
    const digest = await digestOf(source, options);
    const release = (): void => ('bytes' in source ? releaseChunk(source.bytes) : undefined);
    if (await this.#holds(file, digest, options)) {
      release();
      return 'present';
    }
    const key = this.#prefix + walKey(file, digest, this.#suffixes());
    try {
      await this.#store(key, { digest, hash: !('bytes' in source) }, streamOf(source, options), options);
    } catch (error) {
      if (isArchiveError(error, 'STORAGE_EXISTS')) return 'present';
      throw error;
    }
    release();
    // A second server may have stored other content of this name between the look and the put: its digest makes
    // another key, so only a second look can tell.
    await this.#holds(file, digest, options);
    return 'stored';
  }

  /** Whether the archive holds the file with this digest; `WAL_CONFLICT` if it holds it with another. */
  async #holds(file: WalFile, digest: string, options: CallOptions): Promise<boolean> {
    const found = await this.#all(file, options);
    const other = found.find((object) => object.digest !== digest);
    if (other !== undefined) throw walConflict(file, other.digest, digest);
    return found.length > 0;
  }

  /**
   * Looks a WAL file up by its name. Undefined only when the storage answered that there is none; any failure to look
   * is an error. Two objects of the name with different content are `WAL_CONFLICT`.
   */
  async find(name: string, options: CallOptions = {}): Promise<WalObject | undefined> {
    const file = walFile(name);
    const found = await this.#all(file, options);
    const [first] = found;
    const other = found.find((object) => object.digest !== first?.digest);
    if (first !== undefined && other !== undefined) throw walConflict(file, first.digest, other.digest);
    return first;
  }

  async #all(file: WalFile, options: CallOptions): Promise<readonly WalObject[]> {
    const found: WalObject[] = [];
    for await (const object of this.#list(`${walFolder(file)}${file.name}-`, options)) found.push(object);
    return found;
  }

  async *#list(below: string, options: CallOptions, startAfter?: string): AsyncGenerator<WalObject> {
    const after = startAfter === undefined ? {} : { startAfter: this.#prefix + startAfter };
    for await (const info of this.#context.storage.list(this.#prefix + below, { ...signalOf(options), ...after })) {
      const parsed = parseWalKey(info.key.slice(this.#prefix.length));
      if (parsed !== undefined) yield { ...parsed, key: info.key, size: info.size, modified: info.modified };
    }
  }

  /** The plain bytes of a WAL file, compared with the digest in its name before the loop ends. */
  async *read(object: WalObject, options: CallOptions = {}): AsyncGenerator<Uint8Array> {
    const codecs = await this.#context.codecsFor(object.codecs);
    const { storage, concurrency } = this.#context;
    yield* load(storage, object.key, {
      ...signalOf(options),
      codecs,
      concurrency,
      expect: { plainDigest: object.digest },
    });
  }

  /**
   * Puts the plain bytes of a WAL file at `path`: written beside it under a name of its own, verified, then renamed, so
   * that a failure never leaves a wrong or short file under the name that PostgreSQL reads.
   */
  async fetch(object: WalObject, path: string, options: CallOptions = {}): Promise<void> {
    await writeWhole(path, this.read(object, options));
  }

  /** The timelines of which the archive holds anything, ascending. */
  async timelines(options: CallOptions = {}): Promise<readonly number[]> {
    const found: number[] = [];
    for await (const name of childNames(this.#context.storage, this.#prefix, options)) {
      if (/^[0-9A-F]{8}$/.test(name)) found.push(Number.parseInt(name, 16));
    }
    return found;
  }

  /** The whole segments of a timeline, ascending, beginning with number `from`. */
  async *segments(
    timeline: number,
    options: CallOptions & { readonly from?: bigint; readonly segmentSize: number },
  ): AsyncGenerator<WalObject> {
    const first = walFile(segmentName(timeline, options.from ?? 0n, options.segmentSize));
    const folder = historyName(timeline).slice(0, 8);
    for await (const object of this.#list(`${folder}/`, options, `${walFolder(first)}${first.name}`)) {
      if (object.file.kind === 'segment') yield object;
    }
  }

  /**
   * Everything of a timeline that belongs to segment number `from` or a later one, in the order of the keys: files of every kind but
   * the history, and slices.
   */
  async *contents(
    timeline: number,
    options: CallOptions & { readonly from: bigint; readonly segmentSize: number },
  ): AsyncGenerator<WalObject | WalSlice> {
    const first = walFile(segmentName(timeline, options.from, options.segmentSize));
    const startAfter = `${walFolder(first)}${first.name}`;
    for await (const entry of this.#entries(`${historyName(timeline).slice(0, 8)}/`, options, startAfter))
      if ('segment' in entry || entry.file.kind !== 'history') yield entry;
  }

  /** Everything of every timeline in the order of the keys, behind the key `after` if one is given: files of every kind, and slices. */
  everything(options: CallOptions & { readonly after?: string } = {}): AsyncGenerator<WalObject | WalSlice> {
    const { after } = options;
    return this.#entries('', options, after?.slice(this.#prefix.length));
  }

  async *#entries(below: string, options: CallOptions, startAfter?: string): AsyncGenerator<WalObject | WalSlice> {
    const after = startAfter === undefined ? {} : { startAfter: this.#prefix + startAfter };
    const call = { ...signalOf(options), ...after };
    for await (const { key, size, modified } of this.#context.storage.list(this.#prefix + below, call)) {
      const file = parseWalKey(key.slice(this.#prefix.length));
      if (file !== undefined) {
        yield { ...file, key, size, modified };
        continue;
      }
      const tail = parseTailKey(key.slice(this.#prefix.length));
      if (tail !== undefined) yield { ...tail.slice, segment: tail.segment, key, size, modified };
    }
  }

  /** The whole segment with the highest number on a timeline. */
  async last(timeline: number, options: CallOptions = {}): Promise<WalObject | undefined> {
    const folder = `${historyName(timeline).slice(0, 8)}/`;
    const logs: string[] = [];
    for await (const name of childNames(this.#context.storage, this.#prefix + folder, options)) {
      if (/^[0-9A-F]{8}$/.test(name)) logs.push(name);
    }
    for (const log of logs.toReversed()) {
      let last: WalObject | undefined;
      for await (const object of this.#list(`${folder}${log}/`, options))
        if (object.file.kind === 'segment') last = object;
      if (last !== undefined) return last;
    }
    return undefined;
  }

  /**
   * When the storage took the last of a timeline, epoch milliseconds: what is in its WAL is not younger, as long as the storage's clock is
   * right. Undefined when the archive holds nothing of it.
   */
  async lastStored(timeline: number, options: CallOptions = {}): Promise<number | undefined> {
    const last = await this.last(timeline, options);
    let newest = last?.modified;
    const after = last === undefined ? {} : { startAfter: last.key };
    const folder = `${this.#prefix}${historyName(timeline).slice(0, 8)}/`;
    for await (const { modified } of this.#context.storage.list(folder, { ...signalOf(options), ...after }))
      newest = Math.max(newest ?? modified, modified);
    return newest;
  }

  /**
   * The name of the first segment behind the one named of which the archive holds anything on the same timeline: all of it, slices,
   * or a partial one. Undefined when the timeline's WAL ends with the one named.
   */
  async behind(name: string, options: CallOptions = {}): Promise<string | undefined> {
    const file = walFile(name);
    const folder = `${this.#prefix}${historyName(file.timeline).slice(0, 8)}/`;
    const startAfter = `${this.#prefix}${walFolder(file)}${file.name.slice(0, 24)}\u{10ffff}`;
    for await (const { key } of this.#context.storage.list(folder, { ...signalOf(options), startAfter })) {
      const found = /^[0-9A-F]{8}\/([0-9A-F]{24})(?:-|\.partial-|\.tail\/)/.exec(key.slice(folder.length));
      if (found?.[1] !== undefined) return found[1];
    }
    return undefined;
  }

  /** The history file of a timeline; undefined when the archive has none. */
  async history(
    timeline: number,
    options: CallOptions = {},
  ): Promise<{ readonly object: WalObject; readonly content: Uint8Array } | undefined> {
    const object = await this.find(historyName(timeline), options);
    return object === undefined
      ? undefined
      : { object, content: await collect(this.read(object, options), object.key) };
  }

  /**
   * Archives bytes `from` up to, not including, `to` of a segment that is still being written. A slice that exists
   * already is a success.
   */
  async pushTail(name: string, from: number, to: number, bytes: Uint8Array, options: CallOptions = {}): Promise<void> {
    if (bytes.byteLength !== to - from) throw new ArchiveError('INTERNAL', `a slice of ${name} has the wrong length`);
    const digest = await digestOf({ bytes }, options);
    const slice: TailKey = { from, to, digest, codecs: this.#suffixes() };
    try {
      const key = this.#prefix + tailKey(walFile(name), slice);
      await this.#store(key, { digest, hash: true }, bodyOf(bytes), options);
    } catch (error) {
      if (!isArchiveError(error, 'STORAGE_EXISTS')) throw error;
    }
  }

  /** What the archived slices of a segment hold from its first byte on, as far as they touch; undefined without any. */
  async tail(name: string, options: CallOptions = {}): Promise<Uint8Array | undefined> {
    return joinSlices(await this.slices(name, options), (slice) => this.readSlice(slice, options));
  }

  /** The archived slices of a segment. */
  async slices(name: string, options: CallOptions = {}): Promise<readonly TailSlice[]> {
    const folder = this.#prefix + tailFolder(walFile(name));
    const slices: TailSlice[] = [];
    for await (const { key } of this.#context.storage.list(folder, signalOf(options))) {
      const slice = parseTailName(key.slice(folder.length));
      if (slice !== undefined) slices.push({ ...slice, key });
    }
    return slices;
  }

  /** The plain bytes of a slice, verified. */
  async readSlice(slice: TailSlice, options: CallOptions = {}): Promise<Uint8Array> {
    const codecs = await this.#context.codecsFor(slice.codecs);
    const expect = { plainDigest: slice.digest, plainSize: slice.to - slice.from };
    const { storage, concurrency } = this.#context;
    const stream = load(storage, slice.key, { ...signalOf(options), codecs, concurrency, expect });
    return collect(stream, slice.key, 1 << 30);
  }

  /** `hash`: whether the source is compared with the digest; memory of which it was just taken need not be. */
  async #store(
    key: string,
    { digest, hash }: { readonly digest: string; readonly hash: boolean },
    source: AsyncIterable<Uint8Array>,
    options: CallOptions,
  ): Promise<void> {
    const { storage, codecs, concurrency } = this.#context;
    const expected = hash ? { plainDigest: digest } : { plainHash: false };
    await storeNamed(storage, key, source, { ...signalOf(options), codecs, concurrency, ...expected });
  }

  #suffixes(): readonly string[] {
    return this.#context.codecs.map((codec) => codec.suffix);
  }
}

function walFile(name: string): WalFile {
  const file = parseWalFileName(name);
  if (file === undefined) throw new ArchiveError('WAL_INVALID', `not the name of a WAL file: "${name.slice(0, 100)}"`);
  return file;
}

/** Two contents of one name. */
export function walConflict(file: WalFile, held: string, given: string): ArchiveError {
  return new ArchiveError('WAL_CONFLICT', `the archive holds ${file.name} with digest ${held}, not ${given}`, {
    details: { file: file.name, held, given },
  });
}

const READ_SIZE = 1024 * 1024;

/** A source that begins anew each time it is read, so that a put can be tried again. */
function streamOf(source: WalSource, options: CallOptions): AsyncIterable<Uint8Array> {
  if ('bytes' in source) return piecesOf(source.bytes);
  if ('read' in source) return { [Symbol.asyncIterator]: () => source.read()[Symbol.asyncIterator]() };
  return { [Symbol.asyncIterator]: () => fileChunks(source.path, options.signal) };
}

async function digestOf(source: WalSource, options: CallOptions): Promise<string> {
  if ('digest' in source && source.digest !== undefined) return source.digest;
  const hash = createHash('sha256');
  for await (const chunk of streamOf(source, options)) {
    hash.update(chunk);
    releaseChunk(chunk);
  }
  return hash.digest('hex').slice(0, DIGEST_LENGTH);
}

/** Memory in pieces that a codec takes as they are. */
function piecesOf(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  return {
    async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
      for (let offset = 0; offset < bytes.byteLength; offset += READ_SIZE)
        yield leaseChunk(bytes.subarray(offset, offset + READ_SIZE), () => undefined);
    },
  };
}
