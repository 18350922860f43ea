/** The thread that hashes. It is started by hash-thread.ts and does nothing else. */
import { parentPort } from 'node:worker_threads';
import { ArchiveError } from '../contracts/errors.ts';
import type { FromHashWorker, ToHashWorker } from './hash-thread.ts';
import { Pieces } from './hasher.ts';

const port = parentPort;
if (port === null) throw new ArchiveError('INTERNAL', 'the hashing thread was started as a program');

const streams = new Map<number, Pieces>();

port.on('message', (message: ToHashWorker) => {
  if (message.type === 'forget') streams.delete(message.stream);
  else port.postMessage(update(message), [message.memory.buffer]);
});

function update(message: Extract<ToHashWorker, { type: 'update' }>): FromHashWorker {
  const { stream, memory, length, cuts } = message;
  let pieces = streams.get(stream);
  if (pieces === undefined) streams.set(stream, (pieces = new Pieces()));
  const digests: string[] = [];
  let at = 0;
  for (const cut of cuts) {
    digests.push(pieces.end(memory.subarray(at, cut)));
    at = cut;
  }
  if (at < length) pieces.add(memory.subarray(at, length));
  return { stream, memory, digests };
}
