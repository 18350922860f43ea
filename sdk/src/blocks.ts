import { isLeased, leaseChunk, releaseChunk } from 'pgark/contracts';
import { abortable } from './abortable.ts';
import { mapOrdered, type OrderedOptions } from './ordered.ts';

export interface BlockOptions extends OrderedOptions {
  /** Bytes of every block but the last. */
  readonly blockSize: number;
}

/**
 * Cuts a stream into blocks of `blockSize` bytes, runs `work` on several blocks at once and gives the results in order: the frame
 * of every codec whose format allows independent blocks. An empty stream is one empty block. Errors, end and abort as
 * in {@link mapOrdered}.
 *
 * A block is a copy (the source may change its chunk once it is asked for the next one), or a leased chunk of just the right
 * size, and is used again once `work` has settled: the result must not be a view of it.
 */
export function mapBlocks<Result>(
  source: AsyncIterable<Uint8Array>,
  work: (block: Uint8Array) => Promise<Result>,
  options: BlockOptions,
): AsyncGenerator<Result> {
  const workAndRelease = async (block: Uint8Array): Promise<Result> => {
    try {
      return await work(block);
    } finally {
      releaseChunk(block);
    }
  };
  // Aborted at the source itself, or a half-filled block would go on being filled.
  const input = abortable(source, options.signal, options.what);
  return mapOrdered(blocks(input, options.blockSize), workAndRelease, options);
}

async function* blocks(source: AsyncIterable<Uint8Array>, blockSize: number): AsyncGenerator<Uint8Array> {
  const free: Uint8Array[] = [];
  const leased = (memory: Uint8Array, length: number): Uint8Array =>
    leaseChunk(memory.subarray(0, length), () => free.push(memory));
  let block: Uint8Array | undefined;
  let filled = 0;
  let any = false;
  for await (const chunk of source) {
    if (filled === 0 && chunk.byteLength === blockSize && isLeased(chunk)) {
      any = true;
      yield chunk;
      continue;
    }
    for (let offset = 0; offset < chunk.byteLength;) {
      block ??= free.pop() ?? Buffer.allocUnsafeSlow(blockSize);
      const part = chunk.subarray(offset, offset + blockSize - filled);
      block.set(part, filled);
      filled += part.byteLength;
      offset += part.byteLength;
      if (filled < blockSize) continue;
      any = true;
      yield leased(block, filled);
      block = undefined;
      filled = 0;
    }
    releaseChunk(chunk);
  }
  if (block !== undefined && filled > 0) yield leased(block, filled);
  else if (!any) yield new Uint8Array(0);
}
