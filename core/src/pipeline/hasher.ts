import { createHash } from 'node:crypto';

/** A SHA-256 in the making. */
export interface Hasher {
  /** Adds bytes, which may change once it has returned, or resolved. One call at a time. */
  update(chunk: Uint8Array): Promise<void> | undefined;
  /** Lower-case hex. Ends the hash. */
  digest(): Promise<string>;
  /** Gives the hash up. May be called after `digest`. */
  discard(): void;
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
