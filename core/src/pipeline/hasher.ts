import { createHash, hash, type Hash } from 'node:crypto';

/** A SHA-256 in the making. */
export interface Hasher {
  /** Adds bytes, which may change once it has returned, or resolved. One call at a time. */
  update(chunk: Uint8Array): Promise<void> | undefined;
  /** Lower-case hex. Ends the hash. */
  digest(): Promise<string>;
  /** Gives the hash up. May be called after `digest`. */
  discard(): void;
}

/** Bytes of some memory that are of the present piece of a stream. */
export interface HashRange {
  readonly from: number;
  readonly to: number;
  /** Whether the piece ends with them. */
  readonly ends: boolean;
}

/** The SHA-256 of one piece of a stream after the other, such as the files of an archive. For producers that cannot wait. */
export interface PieceHasher {
  /** Adds bytes to the present piece. They may change once it has returned. */
  write(bytes: Uint8Array): void;
  /** Ends the present piece, which may be empty: its digest is told, in the order of the pieces, at some time. */
  cut(): void;
  /** Adds bytes without a copy: the memory goes away, and `release` gets it when they are hashed. It never does when this is discarded before. */
  move(memory: ArrayBuffer, ranges: readonly HashRange[], release: (memory: ArrayBuffer) => void): void;
  /** A promise to wait for before more is written, while much of it waits to be hashed; it never rejects. */
  pressure(): Promise<void> | undefined;
  /** Waits until the digests of all pieces that were cut off have been told. Throws what kept them from being taken. */
  finish(): Promise<void>;
  /** Gives everything up. May be called after `finish`. */
  discard(): void;
}

/** Where a stream goes on to. */
export interface BlockSink {
  /** Adds a copy of the bytes. */
  write(bytes: Uint8Array): void;
  /** Adds bytes without a copy: they stay as they are, if they are leased until they are released. */
  give(block: Uint8Array): void;
  /** Says that everything was added. */
  end(): void;
  /** Says that the rest will never come. */
  fail(error: unknown): void;
}

/** A {@link PieceHasher} on the way of a stream: what is written goes on to a sink, once it is hashed. */
export interface BlockHasher extends PieceHasher {
  /** What comes from now on goes to this sink. */
  begin(sink: BlockSink): void;
  /** Adds bytes that are of no piece. They may change once it has returned. */
  pass(bytes: Uint8Array): void;
  /** Nothing more goes to the sink, which is ended when it has all that came. */
  end(): void;
}

/** A SHA-256 that is computed where it is called. */
export function hashInPlace(): Hasher {
  const hash = createHash('sha256');
  return {
    update: (chunk) => {
      hash.update(chunk);
      return undefined;
    },
    digest: () => Promise.resolve(hash.digest('hex')),
    discard: () => undefined,
  };
}

/** A hash of nothing, for a length that is wanted alone. */
export function hashNothing(): Hasher {
  return { update: () => undefined, digest: () => Promise.resolve(''), discard: () => undefined };
}

/** Pieces that are hashed where they are written. `onDigest` gets lower-case hex. */
export function piecesInPlace(onDigest: (sha256: string) => void): PieceHasher {
  const pieces = new Pieces();
  return {
    write: (bytes) => pieces.add(bytes),
    cut: () => onDigest(pieces.end(new Uint8Array(0))),
    move: (memory, ranges, release) => {
      pieces.take(memory, ranges).forEach(onDigest);
      release(memory);
    },
    pressure: () => undefined,
    finish: () => Promise.resolve(),
    discard: () => undefined,
  };
}

/** The same with a sink. */
export function blocksInPlace(onDigest: (sha256: string) => void): BlockHasher {
  const pieces = piecesInPlace(onDigest);
  let sink: BlockSink | undefined;
  return {
    ...pieces,
    begin: (next) => void (sink = next),
    write: (bytes) => {
      pieces.write(bytes);
      sink?.write(bytes);
    },
    pass: (bytes) => sink?.write(bytes),
    end: () => {
      sink?.end();
      sink = undefined;
    },
  };
}

/** The present piece of a stream. */
export class Pieces {
  #hash: Hash | undefined;

  add(bytes: Uint8Array): void {
    (this.#hash ??= createHash('sha256')).update(bytes);
  }

  /** Adds bytes of some memory, and gives the digests of the pieces that end in them. */
  take(memory: ArrayBuffer, ranges: readonly HashRange[]): string[] {
    const digests: string[] = [];
    for (const { from, to, ends } of ranges) {
      const bytes = new Uint8Array(memory, from, to - from);
      if (ends) digests.push(this.end(bytes));
      else this.add(bytes);
    }
    return digests;
  }

  /** Adds the last bytes of the piece and gives its digest. */
  end(bytes: Uint8Array): string {
    const begun = this.#hash;
    this.#hash = undefined;
    // Most files are small and come at once: a hash object costs more than their hash.
    return begun === undefined ? hash('sha256', bytes) : begun.update(bytes).digest('hex');
  }
}
