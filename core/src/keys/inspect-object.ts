/** For which keys one stored object was written, and whether they are at hand, from the headers of its codecs. */
import type { Codec, CodecContext, KeyUse } from '../contracts/codec.ts';
import { ArchiveError, isArchiveError, throwIfAborted } from '../contracts/errors.ts';
import type { CallOptions, Storage } from '../contracts/storage.ts';
import type { Repository } from '../repository/repository.ts';

/** An object as a listing or a record shows it. */
export interface InspectedObject {
  readonly key: string;
  /** Bytes as stored; the storage is asked when it is absent. */
  readonly size?: number;
  /** Of its codecs, in order of application. */
  readonly suffixes: readonly string[];
}

/** For which keys one codec of an object wrote it. */
export interface KeyLayer extends KeyUse {
  /** The suffix of the codec. */
  readonly suffix: string;
}

/** What the headers of an object tell. Its content was not read. */
export interface ObjectKeys {
  /** Of the codecs with keys, in order of application; without those below one that does not open. */
  readonly layers: readonly KeyLayer[];
  /** Whether all of them open with the keys at hand; undefined when it could not be found out. */
  readonly readable: boolean | undefined;
  /** Why it is not readable, or not known to be, where that is not for want of a key alone. */
  readonly problem?: ArchiveError;
  /** Where it is for want of a key: what the codec says of that, see {@link withReason}. */
  readonly closed?: ArchiveError;
}

/** Whether a codec writes for keys. */
export function hasKeys(codec: Codec): boolean {
  return codec.keyIds !== undefined || codec.inspect !== undefined;
}

/**
 * Reads the headers of an object's codecs with keys, the outermost first; codecs around them are decoded away. Where no codec has keys,
 * nothing is read, and the storage is asked whether the object is there in its length. An object that needs a codec which cannot be had is
 * not readable, and says why.
 *
 * Errors: those of the storage, `STORAGE_NOT_FOUND` for an object that is gone, `ABORTED`.
 */
export async function inspectObject(
  repository: Repository,
  object: InspectedObject,
  options: CallOptions = {},
): Promise<ObjectKeys> {
  const { signal } = options;
  const call: CallOptions = signal === undefined ? {} : { signal };
  const codecs = await Promise.allSettled(object.suffixes.map((suffix) => repository.codecFor(suffix)));
  throwIfAborted(signal, `reading ${object.key}`);
  const wanted = codecs.findIndex((made) => made.status === 'rejected' || hasKeys(made.value));
  const layers: KeyLayer[] = [];
  if (wanted < 0) {
    const problem = await cutOff(repository.storage, object, call);
    return problem === undefined ? { layers, readable: true } : { layers, readable: false, problem };
  }
  let stream = (): AsyncIterable<Uint8Array> => storedBytes(repository.storage, object, call);
  for (let at = codecs.length - 1; at >= wanted; at--) {
    const made = codecs[at];
    const suffix = object.suffixes[at] ?? '';
    if (made?.status !== 'fulfilled') return { layers, readable: false, problem: asError(made?.reason, suffix) };
    const codec = made.value;
    if (hasKeys(codec)) {
      if (codec.inspect === undefined) return { layers, readable: undefined, problem: silent(codec) };
      try {
        const use = await codec.inspect(stream(), call);
        layers.unshift({ suffix, ...use });
        if (!use.readable) return { layers, readable: false };
      } catch (error) {
        return { layers, readable: false, problem: ofObject(error, object.key, suffix) };
      }
    }
    const outer = stream;
    const context: CodecContext = { concurrency: 1, ...call };
    stream = () => codec.decode(outer(), context);
  }
  return { layers, readable: true };
}

/**
 * Adds what the codec says when it is to decode an object that it has no key for: which keys it has, and what is wrong with those that
 * were given. Errors: `ABORTED`.
 */
export async function withReason(
  repository: Repository,
  object: InspectedObject,
  keys: ObjectKeys,
  options: CallOptions = {},
): Promise<ObjectKeys> {
  if (keys.readable !== false || keys.problem !== undefined) return keys;
  const call: CallOptions = options.signal === undefined ? {} : { signal: options.signal };
  try {
    let stream: AsyncIterable<Uint8Array> = storedBytes(repository.storage, object, call);
    for (const suffix of object.suffixes.toReversed())
      stream = (await repository.codecFor(suffix)).decode(stream, { concurrency: 1, ...call });
    for await (const _ of stream) break;
  } catch (error) {
    if (isArchiveError(error, 'ABORTED')) throw error;
    if (isArchiveError(error, 'CODEC_KEY')) return { ...keys, closed: error };
  }
  return keys; // that it does not open is known without it
}

/** What it comes to that the storage does not have an object which the record of a backup names. Other errors are thrown. */
export function goneFrom(error: unknown): ObjectKeys {
  if (!isArchiveError(error, 'STORAGE_NOT_FOUND')) throw error;
  const problem = new ArchiveError('STORAGE_NOT_FOUND', error.message, {
    cause: error,
    hint: 'The record of the backup names it: the backup cannot be restored from here. Take a new one, and check who removes objects.',
  });
  return { layers: [], readable: false, problem };
}

/** What is wrong with an object that is shorter than it was said to be. Errors: those of the storage. */
async function cutOff(
  storage: Storage,
  { key, size = 0 }: InspectedObject,
  call: CallOptions,
): Promise<ArchiveError | undefined> {
  const stored = await storage.stat(key, call);
  if (stored.size >= size) return undefined;
  return new ArchiveError('STORAGE_CORRUPT', `${key} should be ${size} bytes, the storage has ${stored.size}`);
}

/** An error that is about the object or the keys; that of the storage is thrown. */
function ofObject(error: unknown, key: string, suffix: string): ArchiveError {
  const known = asError(error, suffix);
  if (known.code === 'ABORTED' || (known.code.startsWith('STORAGE_') && known.code !== 'STORAGE_CORRUPT')) throw known;
  if (known.message.includes(key) || known.code === 'SECRET_UNAVAILABLE') return known;
  const { hint, details } = known;
  return new ArchiveError(known.code, `${key}: ${known.message}`, { cause: known, hint, details });
}

function asError(error: unknown, suffix: string): ArchiveError {
  if (isArchiveError(error)) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new ArchiveError('INTERNAL', `unexpected failure of the codec of ".${suffix}": ${message}`, { cause: error });
}

function silent({ id }: Codec): ArchiveError {
  return new ArchiveError('PLUGIN_INVALID', `codec ${id} has keys and does not say for which of them it wrote`);
}

/** Where the stored bytes are cut, so that a look at a header does not fetch an object of gigabytes. */
const CUTS: readonly number[] = [64 * 1024, 1024 * 1024, 16 * 1024 * 1024];

/**
 * The stored bytes, fetched piece by piece as they are asked for. Of an object that is shorter than it was said to be it gives what
 * there is: its codec says that it is cut off.
 */
async function* storedBytes(storage: Storage, object: InspectedObject, call: CallOptions): AsyncGenerator<Uint8Array> {
  const size = object.size ?? (await storage.stat(object.key, call)).size;
  if (size === 0) return;
  let at = 0;
  for (const end of [...CUTS.filter((cut) => cut < size), size]) {
    try {
      for await (const chunk of storage.get(object.key, { ...call, range: { start: at, end } })) {
        at += chunk.byteLength;
        yield chunk;
      }
    } catch (error) {
      if (at > 0 && isArchiveError(error, 'STORAGE_INVALID_KEY')) return; // it ends just where the piece would begin
      throw error;
    }
    if (at < end) return;
  }
}
