import { open, rename, rm } from 'node:fs/promises';
import { releaseChunk } from '../contracts/lease.ts';

/**
 * Puts a stream at `path`: written beside it under a name of its own, then renamed, so that a stream that fails never leaves a wrong or
 * short file under the name, and two at the same time do not mix. Errors: those of the stream and of the file system.
 */
export async function writeWhole(path: string, source: AsyncIterable<Uint8Array>): Promise<void> {
  const temporary = `${path}.pgark-${process.pid}-${Math.random().toString(36).slice(2)}`;
  const handle = await open(temporary, 'wx', 0o600);
  try {
    try {
      for await (const chunk of source) {
        await handle.writeFile(chunk);
        releaseChunk(chunk);
      }
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
