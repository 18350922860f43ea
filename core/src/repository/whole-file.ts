import { open, rename, rm } from 'node:fs/promises';

/**
 * Puts a stream at `path`: written beside it under one fixed name, then renamed, so that a stream that fails never leaves a wrong or
 * short file under the name. Errors: those of the stream and of the file system.
 */
export async function writeWhole(path: string, source: AsyncIterable<Uint8Array>): Promise<void> {
  const temporary = `${path}.pgark`;
  const handle = await open(temporary, 'w', 0o600);
  try {
    try {
      for await (const chunk of source) await handle.writeFile(chunk);
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
