/** Compares files with the manifest of PostgreSQL. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { ArchiveError, errnoOf } from '../contracts/errors.ts';
import type { TakenMemory } from '../contracts/lease.ts';
import { piecesInThread } from '../pipeline/hash-thread.ts';
import type { PieceHasher } from '../pipeline/hasher.ts';
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
    return sizeFault(this.#file, this.#size) ?? checksumFault(this.#file, this.#hash.hex());
  }
}

interface PassedBytes {
  readonly bytes: Uint8Array;
  /** Whether a file ends with them. */
  ends: boolean;
}

const NOTHING = new Uint8Array(0);

/**
 * The files of one part, one after the other, as {@link FileCheck}; those with SHA-256 are hashed in the hashing thread, so that what is
 * wrong with one comes out later, at {@link PartCheck.finish} at the latest.
 */
export class PartCheck {
  readonly #onFile: (path: string) => void;
  readonly #hasher: PieceHasher = piecesInThread((sha256) => this.#hashed(sha256));
  /** Those whose digest is not known yet. */
  readonly #awaited: ManifestFile[] = [];
  #present: { readonly file: ManifestFile; readonly other: FileCheck | undefined } | undefined;
  #size = 0;
  /** What came since the last {@link PartCheck.hash} or {@link PartCheck.mover}. */
  #passed: PassedBytes[] = [];
  #closed = false;
  #fault: ArchiveError | undefined;

  /** `onFile` is told the path of each file that agrees with the manifest. */
  constructor(onFile: (path: string) => void) {
    this.#onFile = onFile;
  }

  begin(file: ManifestFile): void {
    this.#present = { file, other: file.algorithm === 'SHA256' ? undefined : new FileCheck(file) };
    this.#size = 0;
  }

  /** Takes the next bytes of the file. They must stay as they are until they are hashed. */
  update(bytes: Uint8Array): void {
    this.#size += bytes.byteLength;
    const other = this.#present?.other;
    if (other === undefined) this.#passed.push({ bytes, ends: false });
    else other.update(bytes);
  }

  /** Hashes what came. It may change when this has returned. */
  hash(): void {
    for (const { bytes, ends } of this.#passed.splice(0)) {
      this.#hasher.write(bytes);
      if (ends) this.#hasher.cut();
    }
  }

  /**
   * For what came, all of it of one piece of memory: gives what has it hashed, without a copy, and releases the memory. To be called once,
   * in the order in which they were given, and before {@link PartCheck.hash} is.
   */
  mover(taken: TakenMemory): () => void {
    const ranges = this.#passed
      .splice(0)
      .map(({ bytes, ends }) => ({ from: bytes.byteOffset, to: bytes.byteOffset + bytes.byteLength, ends }));
    return () => {
      try {
        if (this.#closed || ranges.length === 0) taken.release(taken.memory);
        else this.#hasher.move(taken.memory, ranges, (memory) => taken.release(memory));
      } catch {
        // The hasher is gone or has not got it, which finish() tells.
      }
    };
  }

  /** The file is complete. */
  end(): void {
    if (this.#present === undefined) return;
    const { file, other } = this.#present;
    this.#present = undefined;
    const fault = sizeFault(file, this.#size);
    if (other !== undefined || fault !== undefined) {
      this.#settle(file, fault ?? other?.fault());
      return;
    }
    this.#awaited.push(file);
    const last = this.#passed.at(-1);
    if (last?.ends === false) last.ends = true;
    else this.#passed.push({ bytes: NOTHING, ends: true });
  }

  /** To be called between chunks: waits while much is to be hashed. Errors: `BACKUP_CORRUPT` for a file that differs from the manifest. */
  async turn(): Promise<void> {
    await this.#hasher.pressure();
    this.#throw();
  }

  /** Waits until all files were told. Errors as those of {@link turn}. */
  async finish(): Promise<void> {
    this.#throw();
    await this.#hasher.finish();
    this.#throw();
  }

  /** Frees what it holds. */
  close(): void {
    this.#closed = true;
    this.#hasher.discard();
  }

  #hashed(sha256: string): void {
    const file = this.#awaited.shift();
    if (file !== undefined) this.#settle(file, checksumFault(file, sha256));
  }

  #settle(file: ManifestFile, fault: string | undefined): void {
    if (fault === undefined) this.#onFile(file.path);
    else this.#fault ??= new ArchiveError('BACKUP_CORRUPT', `${file.path} in the backup ${fault}`);
  }

  #throw(): void {
    if (this.#fault !== undefined) throw this.#fault;
  }
}

function sizeFault({ size }: ManifestFile, found: number): string | undefined {
  return found === size ? undefined : `has ${found} bytes, the manifest says ${size}`;
}

function checksumFault({ checksum }: ManifestFile, found: string): string | undefined {
  return checksum === undefined || found === checksum
    ? undefined
    : `has checksum ${found}, the manifest says ${checksum}`;
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
