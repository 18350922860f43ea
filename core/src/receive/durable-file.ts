/**
 * File operations that survive a crash of the machine. Synchronous, because the receiver calls them in a thread of its
 * own between two reads of a socket; whatever calls them elsewhere calls them rarely.
 */
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

/** What new segments are filled with, at a time: larger writes cost more CPU for the same bytes (`core/src/restore/file-writer.ts`). */
export const ZEROES: Buffer = Buffer.alloc(512 * 1024);

/** Makes the names in a folder durable. */
export function syncFolder(folder: string): void {
  const fd = openSync(folder, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Renames a file whose content is durable already, within its folder. */
export function renameDurably(from: string, to: string): void {
  renameSync(from, to);
  syncFolder(dirname(to));
}

/** Puts a small file in place, whole or not at all. */
export function writeDurably(path: string, content: Uint8Array): void {
  const temporary = `${path}.tmp`;
  const fd = openSync(temporary, 'w', 0o600);
  try {
    try {
      writeFully(fd, content, 0);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameDurably(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

/** Writes all bytes at a position: a full disk may take a part of them only. */
export function writeFully(fd: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.byteLength;) {
    done += writeSync(fd, bytes, done, bytes.byteLength - done, position + done);
  }
}
