/** The thread that hashes. It is started by hash-thread.ts and does nothing else. */
import { createHash, type Hash } from 'node:crypto';
import { parentPort, workerData } from 'node:worker_threads';
import { ArchiveError } from '../contracts/errors.ts';
import type { FromHashWorker, HashWorkerData, ToHashWorker } from './hash-thread.ts';

const port = parentPort;
if (port === null) throw new ArchiveError('INTERNAL', 'the hashing thread was started as a program');

const { slots } = workerData as HashWorkerData;
const hashes = new Map<number, Hash>();

port.on('message', (message: ToHashWorker) => {
  const hash = hashes.get(message.stream) ?? createHash('sha256');
  hashes.set(message.stream, hash);
  if (message.type === 'update') {
    hash.update(slots[message.slot]!.subarray(0, message.length));
    port.postMessage({ type: 'free', slot: message.slot } satisfies FromHashWorker);
    return;
  }
  hashes.delete(message.stream);
  if (message.type === 'digest') {
    port.postMessage({ type: 'digest', stream: message.stream, hex: hash.digest('hex') } satisfies FromHashWorker);
  }
});
