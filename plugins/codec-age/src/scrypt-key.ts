/** The key that scrypt makes of a passphrase, as the age format has it. */
import { scrypt } from 'node:crypto';
import { ArchiveError, throwIfAborted, type Secret } from '@pgark/sdk';

const LABEL = 'age-encryption.org/v1/scrypt';

export interface ScryptKey {
  readonly passphrase: Secret;
  /** 16 bytes. */
  readonly salt: Uint8Array;
  /** The binary logarithm of the cost. */
  readonly work: number;
}

/** The end of the last derivation that was asked for. */
let turn: Promise<unknown> = Promise.resolve();

/** MiB of memory that scrypt takes for a work factor: 128 bytes times block size (8) times cost. */
export function memoryOf(work: number): number {
  return Math.ceil(2 ** (work - 10));
}

/**
 * Derives a key when all derivations that were asked for before are done, of whatever codec: each takes the memory of its work factor,
 * and whoever writes to the storage chooses that. Skipped when the signal fires before; scrypt itself cannot be stopped.
 *
 * Errors: `CODEC_KEY` when scrypt cannot run here, for want of memory above all, which says nothing of the object; `ABORTED`.
 */
export function deriveKey(wanted: ScryptKey, signal: AbortSignal): Promise<Uint8Array> {
  const key = turn.then(() => {
    throwIfAborted(signal, 'scrypt of a passphrase');
    return derive(wanted);
  });
  // Whoever asked is told how it ended; the next one waits for the end alone.
  turn = Promise.allSettled([key]).then(() => undefined);
  return key;
}

async function derive({ passphrase, salt, work }: ScryptKey): Promise<Uint8Array> {
  const cost = 2 ** work;
  // Twice what the function needs by its definition: the library counts some more.
  const options = { N: cost, r: 8, p: 1, maxmem: 2 * 128 * 8 * cost + 1024 * 1024 };
  try {
    return await new Promise((resolve, reject) => {
      scrypt(passphrase.reveal(), Buffer.concat([Buffer.from(LABEL), salt]), 32, options, (error, key) => {
        if (error === null) resolve(key);
        else reject(error);
      });
    });
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const needs = `it needs ${memoryOf(work)} MiB of memory for the work factor ${work}`;
    throw new ArchiveError('CODEC_KEY', `scrypt of the passphrase failed: ${needs} (${reason})`, {
      hint: 'Give the process that much memory; this says nothing of the object or of the passphrase.',
      cause,
    });
  }
}
