/** A thread that seals and opens blocks. It is started by chunk-threads.ts and does nothing else. */
import { parentPort } from 'node:worker_threads';
import type { FromChunkWorker, ToChunkWorker } from './chunk-threads.ts';
import { openBlock, sealBlock } from './chunks.ts';

const port = parentPort!;

port.on('message', ({ job, direction, block, key }: ToChunkWorker) => {
  const result = direction === 'seal' ? sealBlock(block, key) : openBlock(block, key);
  const { memory } = block;
  port.postMessage({ job, memory, result } satisfies FromChunkWorker, [memory.buffer as ArrayBuffer]);
});
