/** The thread that hashes. It is started by hash-thread.ts and does nothing else. */
import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';
import { ArchiveError, errnoOf } from '../contracts/errors.ts';
import type { HashedSlot, ReadFile, ToHashWorker } from './hash-messages.ts';
import { Pieces } from './hasher.ts';

const port = parentPort;
if (port === null) throw new ArchiveError('INTERNAL', 'the hashing thread was started as a program');

/** Bytes that are read and hashed while the cache of the core has them. */
const READ_SIZE = 256 * 1024;

const streams = new Map<number, Pieces>();

port.on('message', (message: ToHashWorker) => {
  if (message.type === 'forget') streams.delete(message.stream);
  else if (message.type === 'update') port.postMessage(update(message), [message.memory]);
  else {
    const answer = read(message);
    port.postMessage(answer, 'memory' in answer ? [answer.memory.buffer] : []);
  }
});

function read({ job, path, memory }: Extract<ToHashWorker, { type: 'read' }>): ReadFile {
  try {
    const file = openSync(path, 'r');
    try {
      const hash = createHash('sha256');
      let size = 0;
      while (size < memory.byteLength) {
        const length = readSync(file, memory, size, Math.min(READ_SIZE, memory.byteLength - size), null);
        if (length === 0) break;
        hash.update(memory.subarray(size, size + length));
        size += length;
      }
      return { type: 'read', job, memory, size, sha256: hash.digest('hex') };
    } finally {
      closeSync(file);
    }
  } catch (error) {
    return { type: 'read', job, code: errnoOf(error) ?? '', message: String(error) };
  }
}

function update(message: Extract<ToHashWorker, { type: 'update' }>): HashedSlot {
  const { stream, memory, ranges } = message;
  let pieces = streams.get(stream);
  if (pieces === undefined) streams.set(stream, (pieces = new Pieces()));
  return { type: 'hashed', stream, memory, digests: pieces.take(memory, ranges) };
}
