/** What the thread that hashes is told, and what it answers. Memory goes along and comes back. */
import type { HashRange } from './hasher.ts';

export type ToHashWorker =
  | {
      readonly type: 'update';
      readonly stream: number;
      readonly memory: ArrayBuffer;
      /** In the order of the stream. */
      readonly ranges: readonly HashRange[];
    }
  | { readonly type: 'forget'; readonly stream: number }
  | { readonly type: 'read'; readonly job: number; readonly path: string; readonly memory: Uint8Array<ArrayBuffer> };

export type FromHashWorker = HashedSlot | ReadFile;

export interface HashedSlot {
  readonly type: 'hashed';
  readonly stream: number;
  /** Comes back. */
  readonly memory: ArrayBuffer;
  /** Of the pieces that ended in it, in order: 64 lower-case hex digits each. */
  readonly digests: readonly string[];
}

/** What came of a file that was to be read. */
export type ReadFile = {
  readonly type: 'read';
  readonly job: number;
} & (
  | {
      /** Comes back, with as much of the file as there was room for. */
      readonly memory: Uint8Array<ArrayBuffer>;
      /** Bytes that were read. */
      readonly size: number;
      readonly sha256: string;
    }
  | { readonly code: string; readonly message: string }
);
