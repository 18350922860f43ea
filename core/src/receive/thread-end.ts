import type { Worker } from 'node:worker_threads';
import { ArchiveError } from '../contracts/errors.ts';
import { asArchiveError, errorOf, type FromThread } from './messages.ts';

/** What the thread says while it runs. */
export type WhileRunning = Exclude<FromThread, { readonly type: 'end' | 'failed' }>;

/** How the receiving thread ends; what it says until then goes to `take`. Rejects with what it, or `take`, fails with. */
export function threadEnd(
  worker: Worker,
  take: (message: WhileRunning) => void,
): Promise<Extract<FromThread, { readonly type: 'end' }>> {
  return new Promise((resolve, reject) => {
    worker.on('message', (message: FromThread) => {
      if (message.type === 'end') resolve(message);
      else if (message.type === 'failed') reject(errorOf(message.error));
      else {
        try {
          take(message);
        } catch (error) {
          reject(asArchiveError(error));
        }
      }
    });
    worker.once('error', (error) => {
      reject(asArchiveError(error));
    });
    worker.once('exit', (code) => {
      reject(new ArchiveError('INTERNAL', `the receiving thread ended with code ${code}`));
    });
  });
}
