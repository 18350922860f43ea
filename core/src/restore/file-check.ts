/** Compares files with the manifest of PostgreSQL. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { ArchiveError, errnoOf } from '../contracts/errors.ts';
import { CRC32C_START, finishCrc32c, updateCrc32c } from '../postgres/crc32c.ts';
import type { ManifestFile } from '../postgres/manifest.ts';

/** Takes the checksum and length of a file as its bytes pass. */
export class FileCheck {
  readonly #file: ManifestFile;
  readonly #hash: { update(bytes: Uint8Array): void; hex(): string };
  #size = 0;

  constructor(file: ManifestFile) {
    this.#file = file;
    this.#hash = hasher(file);
  }

  update(bytes: Uint8Array): void {
    this.#size += bytes.byteLength;
    this.#hash.update(bytes);
  }

  /** What differs from the manifest; undefined when nothing does. To be called once. */
  fault(): string | undefined {
    const { size, checksum } = this.#file;
    if (this.#size !== size) return `has ${this.#size} bytes, the manifest says ${size}`;
    const found = this.#hash.hex();
    return checksum === undefined || found === checksum
      ? undefined
      : `has checksum ${found}, the manifest says ${checksum}`;
  }

  /** Errors: `BACKUP_CORRUPT`. */
  end(): void {
    const fault = this.fault();
    if (fault !== undefined) throw new ArchiveError('BACKUP_CORRUPT', `${this.#file.path} in the backup ${fault}`);
  }
}

function hasher({ algorithm }: ManifestFile): { update(bytes: Uint8Array): void; hex(): string } {
  if (algorithm === 'NONE') return { update: () => undefined, hex: () => '' };
  if (algorithm !== 'CRC32C') {
    const hash = createHash(algorithm.toLowerCase());
    return { update: (bytes) => void hash.update(bytes), hex: () => hash.digest('hex') };
  }
  let register = CRC32C_START;
  return {
    update: (bytes) => {
      register = updateCrc32c(register, bytes);
    },
    // The manifest prints the number in the byte order of memory.
    hex: () => {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32LE(finishCrc32c(register));
      return bytes.toString('hex');
    },
  };
}

/** Whether a file on disk is the one of the manifest already. */
export async function isRestored(place: Buffer, file: ManifestFile, signal: AbortSignal | undefined): Promise<boolean> {
  const check = new FileCheck(file);
  try {
    const stream = createReadStream(place, { highWaterMark: 1024 * 1024, ...(signal === undefined ? {} : { signal }) });
    for await (const chunk of stream) check.update(chunk as Uint8Array);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
  return check.fault() === undefined;
}
