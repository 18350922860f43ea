/**
 * Memory that is used again, as an agreement that both sides may leave out. A producer of a byte stream may lease its chunks; a
 * consumer that knows when it is done with a chunk releases it, and the producer then fills the same memory anew. Who does
 * not know leases, or keeps a chunk, never releases it: the chunk is then like any other.
 *
 * Without it a fast stream makes and throws away its own length in buffers, and the collector takes a fifth of the time.
 *
 * A chunk that was released is gone: its memory may be filled anew, or freed, and then it and all views of it have no length any more. So whoever
 * counts its bytes does so before.
 *
 * A chunk that goes to more than one consumer must go as views of its own (`chunk.subarray()`): views are not leased.
 */
const RELEASE = Symbol.for('pgark.release');
const MOVE = Symbol.for('pgark.move');

interface Leased extends Uint8Array {
  [RELEASE]?: (() => void) | undefined;
  [MOVE]?: ((memory: ArrayBuffer) => void) | undefined;
}

/** Makes `chunk` a leased one. `release` is called at most once, by the only consumer, when it no longer needs the bytes. */
export function leaseChunk(chunk: Uint8Array, release: () => void): Uint8Array {
  (chunk as Leased)[RELEASE] = release;
  return chunk;
}

/**
 * Leases a chunk that is all there is in its memory, so that the memory may also go to another thread, and come back: see {@link takeMemory}.
 * `release` gets it, in either case.
 */
export function leaseMemory(chunk: Uint8Array<ArrayBuffer>, release: (memory: ArrayBuffer) => void): Uint8Array {
  (chunk as Leased)[MOVE] = release;
  return leaseChunk(chunk, () => release(chunk.buffer));
}

/** The memory of a chunk, in the hands of its consumer. */
export interface TakenMemory {
  readonly memory: ArrayBuffer;
  /** Releases the chunk. Takes the memory as it came back from where it went to. */
  release(memory: ArrayBuffer): void;
}

/** Takes the memory of a chunk over from its lease; undefined where it cannot go to another thread. */
export function takeMemory(chunk: Uint8Array): TakenMemory | undefined {
  const { [MOVE]: release, buffer } = chunk as Leased;
  if (release === undefined || !(buffer instanceof ArrayBuffer) || !isLeased(chunk)) return undefined;
  (chunk as Leased)[RELEASE] = undefined;
  return { memory: buffer, release };
}

/**
 * Leases a chunk that is all there is in its memory: when it is released the memory is freed at once. The collector would come late,
 * because large memory lies outside of what it counts closely, and would go over everything else each time it comes.
 *
 * `chunk` must not be a view of memory that is used by others, such as Node's pool of small buffers: a chunk that is shorter than half of
 * its memory is taken for one, and left as it is.
 */
export function leaseOwned(chunk: Uint8Array): Uint8Array {
  const memory = chunk.buffer;
  if (!(memory instanceof ArrayBuffer) || chunk.byteLength < memory.byteLength / 2) return chunk;
  return leaseChunk(chunk, () => freeMemory(memory));
}

/**
 * Frees memory that nobody looks at any more; views of it are empty afterwards. Not at once, but when the code that runs now has come to its
 * next `await`: a consumer that asks for the length of a chunk in the statement behind its release still gets it.
 */
export function freeMemory(memory: ArrayBuffer): void {
  // In every supported version of Node, but not in the library of types that the project is held to.
  queueMicrotask(() => void (memory as ArrayBuffer & { transfer(length: number): ArrayBuffer }).transfer(0));
}

/** Whether the bytes of the chunk stay as they are until it is released, or for ever. */
export function isLeased(chunk: Uint8Array): boolean {
  return (chunk as Leased)[RELEASE] !== undefined;
}

/** Says that the caller, its only consumer, is done with the chunk. Does nothing for a chunk that is not leased. */
export function releaseChunk(chunk: Uint8Array): void {
  const release = (chunk as Leased)[RELEASE];
  (chunk as Leased)[RELEASE] = undefined;
  release?.();
}
