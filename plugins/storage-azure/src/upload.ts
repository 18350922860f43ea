import { createHash, getFips, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import type { BlockBlobClient, BlockBlobCommitBlockListOptions } from '@azure/storage-blob';
import {
  ArchiveError,
  checkedBody,
  isArchiveError,
  mapOrdered,
  putStep,
  throwIfAborted,
  type PutOptions,
} from '@pgark/sdk';
import { faultIn, isTaken } from './azure-error.ts';
import { Blocks } from './blocks.ts';
import { download } from './download.ts';
import { encodeMetadata } from './metadata.ts';
import { watched, type Watch, type WatchOptions } from './watch.ts';

/** Blocks on their way at once. One more is held while it is not known whether a body goes on. */
const AT_ONCE = 4;

/** The service's limit. */
const MOST_BLOCKS = 50_000;

/** Bytes that are handed to a connection at a time: what progress is measured by. */
const SLICE = 64 * 1024;

export interface UploadSettings {
  readonly blockSize: number;
  /** Milliseconds without progress. */
  readonly timeout: number;
  readonly accessTier?: string | undefined;
  readonly immutability?: 'Unlocked' | 'Locked' | undefined;
}

/**
 * Stores an object: by one Put Blob up to four blocks (H-56), otherwise by blocks that are staged, several at once, and committed.
 * Both take effect in one request or not at all. Staged blocks that are never committed are not to be seen; the service drops
 * them after a week.
 *
 * Every request can be sent again. Where the answer to the last one is lost, the object is looked up: one of a single request must have
 * its bytes, one of blocks just these blocks, whose ids no other writer uses.
 */
export async function upload(
  blob: BlockBlobClient,
  key: string,
  body: AsyncIterable<Uint8Array>,
  options: PutOptions,
  settings: UploadSettings,
): Promise<void> {
  const { size, signal } = options;
  const { blockSize, timeout } = settings;
  // Fires on the caller's abort and on a failure: a body that does not answer must not hold back the news of it.
  const cancel = new AbortController();
  const stop = (): void => cancel.abort(signal?.reason);
  const blocks = new Blocks(checkedBody(body, { key, size, signal: cancel.signal }), blockSize, size);
  const request = { what: `storing ${key}`, signal, timeout, options };
  const headers = headersOf(options, settings);
  if ((size ?? 0) > blockSize * MOST_BLOCKS) throw tooLarge(key, blockSize);
  throwIfAborted(signal, request.what);
  signal?.addEventListener('abort', stop);
  try {
    const first: Uint8Array[] = [];
    // One more than a single request may hold: that is how a body shows that it goes on.
    const most = (size ?? 0) > blockSize * AT_ONCE ? 0 : AT_ONCE + 1;
    let ended = false;
    while (!ended && first.length < most) {
      const block = await blocks.next();
      if (block === undefined) ended = true;
      else first.push(block);
    }
    if (ended && (await putWhole(blob, key, first, request, headers))) return;
    const ids = await stageAll(blob, first, blocks, { ...request, key, blockSize, cancel });
    await decide(
      key,
      request,
      () => compareBlocks(blob, ids, request),
      (attempt) =>
        watched({ ...request, ...attempt }, async (watch) => {
          watch.decide();
          await blob.commitBlockList(ids, { ...headers, abortSignal: watch.signal });
        }),
    );
  } catch (error) {
    // What the body threw may look like an error of this storage, if it reads from one.
    if (blocks.failure?.error === error || !options.ifAbsent) throw error;
    throw (await isExisting(blob, request, error)) ? existing(key) : error;
  } finally {
    signal?.removeEventListener('abort', stop);
    cancel.abort();
    // The error on its way out says more than one of the body's clean-up.
    await blocks.end().catch(() => undefined);
  }
}

interface Request {
  readonly what: string;
  readonly signal: AbortSignal | undefined;
  readonly timeout: number;
  /** Those of the put: how its steps are run. */
  readonly options: PutOptions;
}

/** Whose object is under the key of a put that may have succeeded. */
type Finding = 'ours' | 'theirs' | 'none';

/** The request that makes the object visible. When it was sent before, it may have succeeded: `find` tells. */
async function decide(
  key: string,
  { options }: Request,
  find: () => Promise<Finding>,
  send: (attempt: Required<Pick<WatchOptions, 'stop' | 'moved'>>) => Promise<void>,
): Promise<void> {
  let sent = false;
  const lost = await putStep(options, { name: 'completion' }, async (stop, moved) => {
    const again = sent;
    const settled = async (): Promise<boolean> => {
      const found = again ? await find() : 'none';
      if (found === 'theirs' && options.ifAbsent) throw existing(key);
      return found === 'ours';
    };
    if (await settled()) return undefined;
    sent = true;
    try {
      await send({ stop, moved });
    } catch (error) {
      // The request of an earlier attempt can take effect as late as this.
      const fault = faultIn(error);
      const isOver = isTaken(fault) || fault?.code === 'InvalidBlockList';
      if (isOver && (await settled())) return undefined;
      if (fault?.code === 'InvalidBlockList') return error;
      throw error;
    }
    return undefined;
  });
  // The blocks are gone: only another upload can help.
  if (lost !== undefined) throw lost;
}

/** Whether the object has just these bytes. */
async function compareBytes(
  blob: BlockBlobClient,
  key: string,
  blocks: readonly Uint8Array[],
  timeout: number,
): Promise<Finding> {
  const bytes = Buffer.concat(blocks);
  let position = 0;
  try {
    for await (const chunk of download(blob, key, {}, timeout)) {
      if (Buffer.compare(chunk, bytes.subarray(position, position + chunk.byteLength)) !== 0) return 'theirs';
      position += chunk.byteLength;
    }
  } catch (error) {
    if (isArchiveError(error, 'STORAGE_NOT_FOUND')) return 'none';
    throw error;
  }
  return position === bytes.byteLength ? 'ours' : 'theirs';
}

/** Whether the object was committed from just these blocks. */
async function compareBlocks(
  blob: BlockBlobClient,
  ids: readonly string[],
  { what, timeout }: Request,
): Promise<Finding> {
  try {
    const { committedBlocks = [] } = await watched({ what, timeout }, (watch) =>
      blob.getBlockList('committed', { abortSignal: watch.signal }),
    );
    if (committedBlocks.length === 0) return (await exists(blob, { what, timeout })) ? 'theirs' : 'none';
    const isOurs = committedBlocks.length === ids.length && committedBlocks.every(({ name }, at) => name === ids[at]);
    return isOurs ? 'ours' : 'theirs';
  } catch (error) {
    if (isArchiveError(error, 'STORAGE_NOT_FOUND')) return 'none';
    throw error;
  }
}

/** Stores an object by one request. False when only somebody's uncommitted blocks are in the way. */
async function putWhole(
  blob: BlockBlobClient,
  key: string,
  blocks: readonly Uint8Array[],
  request: Request,
  headers: Headers,
): Promise<boolean> {
  const length = blocks.reduce((sum, block) => sum + block.byteLength, 0);
  try {
    await decide(
      key,
      request,
      () => compareBytes(blob, key, blocks, request.timeout),
      (attempt) =>
        watched({ ...request, ...attempt }, async (watch) => {
          await blob.upload(streamOf(blocks, watch, { last: true }), length, {
            ...headers,
            ...checksumOf(blocks),
            abortSignal: watch.signal,
          });
        }),
    );
    return true;
  } catch (error) {
    // Azurite takes blocks of a put that was given up for an object when it tests the condition of this request, though not when
    // it tests that of a commit.
    if (headers.conditions === undefined || !isTaken(faultIn(error))) throw error;
    if (await exists(blob, request).catch(() => true)) throw error;
    return false;
  }
}

function exists(blob: BlockBlobClient, { what, timeout }: Pick<Request, 'what' | 'timeout'>): Promise<boolean> {
  return watched({ what, timeout }, (watch) => blob.exists({ abortSignal: watch.signal }));
}

interface StageOptions extends Pick<Request, 'what' | 'timeout' | 'options'> {
  readonly key: string;
  readonly blockSize: number;
  /** Fires on the caller's abort too. */
  readonly cancel: AbortController;
}

interface NumberedBlock {
  readonly number: number;
  readonly id: string;
  readonly block: Uint8Array;
}

/** Stages `first` and what follows; gives the ids in order. */
async function stageAll(
  blob: BlockBlobClient,
  first: Uint8Array[],
  blocks: Blocks,
  options: StageOptions,
): Promise<string[]> {
  const { cancel, timeout, what } = options;
  const { signal } = cancel;
  // Writers of one name share its uncommitted blocks: without ids of its own, one would overwrite those of another.
  const writer = randomBytes(12).toString('hex');
  let failure: { readonly error: unknown } | undefined;
  let count = 0;
  const numbered = async function* (): AsyncGenerator<NumberedBlock> {
    for (;;) {
      const block = first.shift() ?? (await blocks.next());
      if (block === undefined) return;
      if (count === MOST_BLOCKS) throw tooLarge(options.key, options.blockSize);
      const number = ++count;
      yield { number, id: Buffer.from(`${writer}-${String(number).padStart(6, '0')}`).toString('base64'), block };
    }
  };
  const stage = async ({ number, id, block }: NumberedBlock): Promise<string> => {
    try {
      await putStep(options.options, { name: `block ${number}`, signal }, (stop, moved) =>
        watched({ what, signal: stop, timeout, moved }, (watch) =>
          blob.stageBlock(id, streamOf([block], watch, { last: false }), block.byteLength, {
            ...checksumOf([block]),
            abortSignal: watch.signal,
          }),
        ),
      );
    } catch (error) {
      failure ??= { error };
      cancel.abort();
      throw error;
    }
    blocks.giveBack(block);
    return id;
  };
  const ids: string[] = [];
  try {
    for await (const id of mapOrdered(numbered(), stage, { concurrency: AT_ONCE, what, signal })) ids.push(id);
  } catch (error) {
    // What failed first has aborted the others.
    throw failure === undefined ? error : failure.error;
  }
  return ids;
}

/** What the service compares the bytes with that it got. Where FIPS 140 rules there is no MD5, and TLS has to do. */
function checksumOf(blocks: readonly Uint8Array[]): { readonly transactionalContentMD5?: Uint8Array } {
  if (getFips() === 1) return {};
  const hash = createHash('md5');
  for (const block of blocks) hash.update(block);
  return { transactionalContentMD5: hash.digest() };
}

/** The body of a request. With `last` its end is what stores the object: from there on an abort comes too late. */
function streamOf(blocks: readonly Uint8Array[], watch: Watch, options: { readonly last: boolean }): () => Readable {
  const length = blocks.reduce((sum, block) => sum + block.byteLength, 0);
  const slices = function* (): Generator<Uint8Array> {
    let given = 0;
    for (const block of blocks) {
      for (let offset = 0; offset < block.byteLength; offset += SLICE) {
        const slice = block.subarray(offset, offset + SLICE);
        given += slice.byteLength;
        if (options.last && given === length) watch.decide();
        watch.progress();
        yield slice;
      }
    }
  };
  if (options.last && length === 0) watch.decide();
  // A function: a request that is refused for want of a token is sent again, and reads its body anew.
  return () => {
    const stream = Readable.from(slices(), { objectMode: false, highWaterMark: SLICE });
    // After an abort, which ends the request by itself.
    stream.on('error', () => undefined);
    return stream;
  };
}

type Headers = Pick<BlockBlobCommitBlockListOptions, 'conditions' | 'metadata' | 'tier' | 'immutabilityPolicy'>;

function headersOf(options: PutOptions, settings: UploadSettings): Headers {
  const { ifAbsent, metadata, retainUntil } = options;
  const { accessTier, immutability } = settings;
  // The service refuses a policy that has ended, and it asks for nothing.
  const retained = retainUntil !== undefined && retainUntil.getTime() > Date.now();
  if (retained && immutability === undefined) {
    throw new ArchiveError('STORAGE_MISCONFIGURED', 'the storage is not set up to retain objects', {
      hint: 'Set its option immutability, and version-level immutability in Azure.',
    });
  }
  return {
    ...(ifAbsent ? { conditions: { ifNoneMatch: '*' } } : {}),
    ...(metadata === undefined ? {} : { metadata: encodeMetadata(metadata) }),
    ...(accessTier === undefined ? {} : { tier: accessTier }),
    ...(retained && immutability !== undefined
      ? { immutabilityPolicy: { expiriesOn: retainUntil, policyMode: immutability } }
      : {}),
  };
}

/** Whether a put failed because the object is there. */
async function isExisting(
  blob: BlockBlobClient,
  request: Pick<Request, 'what' | 'timeout'>,
  error: unknown,
): Promise<boolean> {
  const fault = faultIn(error);
  if (isTaken(fault)) return true;
  // A writer that may create but not overwrite is refused for want of permission. A commit drops the blocks of everyone else
  // who writes this name.
  if (fault?.status !== 403 && fault?.code !== 'InvalidBlockList') return false;
  return exists(blob, request).catch(() => false);
}

function existing(key: string): ArchiveError {
  return new ArchiveError('STORAGE_EXISTS', `the object ${key} exists`);
}

function tooLarge(key: string, blockSize: number): ArchiveError {
  const message = `${key} is larger than ${MOST_BLOCKS} blocks of ${blockSize} bytes, the most that the service takes`;
  return new ArchiveError('STORAGE_MISCONFIGURED', message, { hint: 'Raise the option blockSize of the storage.' });
}
