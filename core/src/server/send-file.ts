/** Sends a file to a client at the client's own pace. */
import type { ServerResponse } from 'node:http';
import { ArchiveError } from '../contracts/errors.ts';
import type { VerifiedFile } from './verified-file.ts';

/** Bytes in memory for each download. */
const CHUNK = 128 * 1024;

/**
 * Sends the content, whose length the head of the answer has announced: whatever fails destroys the connection before that many bytes
 * have gone out, so that nothing short looks whole.
 *
 * A client may be as slow as it likes, as long as the system takes something for it within `stallTimeout` milliseconds.
 * Errors: `ABORTED` when the client left or took nothing; those of reading.
 */
export async function sendFile(
  response: ServerResponse,
  { handle, size }: VerifiedFile,
  stallTimeout: number,
): Promise<void> {
  try {
    const buffer = Buffer.allocUnsafe(Math.min(CHUNK, Math.max(size, 1)));
    for (let position = 0; position < size;) {
      const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.byteLength, size - position), position);
      if (bytesRead === 0) throw new ArchiveError('INTERNAL', 'a file became shorter while it was sent');
      // The buffer is filled again only after the system has taken it.
      await taken(response, stallTimeout, (done) => response.write(buffer.subarray(0, bytesRead), done));
      position += bytesRead;
    }
    await taken(response, stallTimeout, (done) => response.end(done));
  } catch (error) {
    response.destroy();
    throw error;
  }
}

type Done = (error?: Error | null) => void;

/** Waits until `send` is done, the connection is gone, or the time is over. */
function taken(response: ServerResponse, milliseconds: number, send: (done: Done) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const { socket } = response;
    const finish = (error?: ArchiveError): void => {
      clearTimeout(timer);
      socket?.off('close', gone);
      if (error === undefined) resolve();
      else reject(error);
    };
    const left = (cause?: unknown): ArchiveError => new ArchiveError('ABORTED', 'the client left', { cause });
    const gone = (): void => finish(left());
    const timer = setTimeout(
      () => finish(new ArchiveError('ABORTED', `the client took nothing for ${milliseconds / 1000} s`)),
      milliseconds,
    );
    socket?.once('close', gone);
    if (socket === null || socket.destroyed) return gone();
    send((error) => finish(error === undefined || error === null ? undefined : left(error)));
  });
}
