import { open } from 'node:fs/promises';
import { throwIfAborted } from '../contracts/errors.ts';
import { leaseChunk } from '../contracts/lease.ts';

const READ_SIZE = 1024 * 1024;

/**
 * The bytes of a file in leased chunks of up to 1 MiB: fresh memory for each costs more than reading what was written a moment ago, and is
 * given back late. Errors: those of the file system, with their `code`; `ABORTED`.
 */
export async function* fileChunks(path: string, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  const handle = await open(path);
  try {
    const free: Uint8Array[] = [];
    for (;;) {
      throwIfAborted(signal, `reading ${path}`);
      const memory = free.pop() ?? Buffer.allocUnsafeSlow(READ_SIZE);
      const { bytesRead } = await handle.read(memory, 0, READ_SIZE);
      if (bytesRead === 0) return;
      yield leaseChunk(memory.subarray(0, bytesRead), () => free.push(memory));
    }
  } finally {
    await handle.close();
  }
}
