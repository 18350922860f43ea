import { open } from 'node:fs/promises';
import { throwIfAborted } from '../contracts/errors.ts';
import { freeMemory, leaseChunk } from '../contracts/lease.ts';

const READ_SIZE = 1024 * 1024;

/**
 * The bytes of a file in leased chunks of up to 1 MiB: fresh memory for each costs more than reading what was written a moment ago, and is
 * given back late. What was released is given back at the end. Errors: those of the file system, with their `code`; `ABORTED`.
 */
export async function* fileChunks(path: string, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  const handle = await open(path);
  const free: Uint8Array<ArrayBuffer>[] = [];
  let isOver = false;
  const release = (memory: Uint8Array<ArrayBuffer>): void => {
    if (isOver) freeMemory(memory.buffer);
    else free.push(memory);
  };
  try {
    for (;;) {
      throwIfAborted(signal, `reading ${path}`);
      const memory = free.pop() ?? Buffer.allocUnsafeSlow(READ_SIZE);
      const { bytesRead } = await handle.read(memory, 0, READ_SIZE);
      if (bytesRead === 0) {
        free.push(memory);
        return;
      }
      yield leaseChunk(memory.subarray(0, bytesRead), () => release(memory));
    }
  } finally {
    isOver = true;
    for (const { buffer } of free.splice(0)) freeMemory(buffer);
    await handle.close();
  }
}
