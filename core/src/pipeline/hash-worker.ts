/** The thread that hashes. It is started by hash-thread.ts and does nothing else. */
import { parentPort } from 'node:worker_threads';
import { ArchiveError } from '../contracts/errors.ts';
import type { FromHashWorker, ToHashWorker } from './hash-thread.ts';
import { Pieces } from './hasher.ts';

const port = parentPort;
if (port === null) throw new ArchiveError('INTERNAL', 'the hashing thread was started as a program');

const slots = new Map<number, Uint8Array>();
const streams = new Map<number, Pieces>();

port.on('message', (message: ToHashWorker) => {
  switch (message.type) {
    case 'slot':
      slots.set(message.slot, message.memory);
      return;
    case 'drop':
      slots.delete(message.slot);
      return;
    case 'forget':
      streams.delete(message.stream);
      return;
    case 'update':
      port.postMessage(update(message) satisfies FromHashWorker);
  }
});

function update({ stream, slot, length, cuts }: Extract<ToHashWorker, { type: 'update' }>): FromHashWorker {
  let pieces = streams.get(stream);
  if (pieces === undefined) streams.set(stream, (pieces = new Pieces()));
  const memory = slots.get(slot)!;
  const digests: string[] = [];
  let at = 0;
  for (const cut of cuts) {
    digests.push(pieces.end(memory.subarray(at, cut)));
    at = cut;
  }
  if (at < length) pieces.add(memory.subarray(at, length));
  return { stream, slot, digests };
}
