import { ArchiveError } from '../contracts/errors.ts';
import type { ManifestFile } from '../postgres/manifest.ts';
import { FileTable } from './file-table.ts';
import type { PassedFile } from './part-splitter.ts';

/** How many files a message names. */
const NAMED = 5;

/** Holds the files that passed against those of the manifest: each must be there once, with its size and SHA-256. */
export class ManifestCheck {
  readonly #files = new FileTable();
  /** Paths that the manifest has not listed yet, with their numbers. */
  readonly #unmatched = new Map<string, number>();
  /** Files of which the digest is known. */
  #hashed = 0;
  readonly #faults: string[] = [];
  #faultCount = 0;

  /** The files that passed, in the order of the server. */
  get files(): FileTable {
    return this.#files;
  }

  /** A file has passed. */
  passed(file: PassedFile): void {
    if (this.#unmatched.has(file.path)) this.#fault(`${file.path} was sent twice`);
    this.#unmatched.set(file.path, this.#files.add(file));
  }

  /** The digest of the next file that passed. */
  digest(sha256: string): void {
    this.#files.digest(this.#hashed++, sha256);
  }

  /** The manifest lists a file. All that passed must have their digests. */
  listed(file: ManifestFile): void {
    const number = this.#unmatched.get(file.path);
    if (number === undefined) return this.#fault(`${file.path} is missing`);
    this.#unmatched.delete(file.path);
    const passed = this.#files.at(number);
    if (passed.size !== file.size) this.#fault(`${file.path} has ${passed.size} bytes, not ${file.size}`);
    else if (file.algorithm !== 'SHA256') this.#fault(`${file.path} has no SHA-256 in the manifest`);
    else if (passed.sha256 !== file.checksum) this.#fault(`${file.path} has another SHA-256`);
  }

  /** Everything was listed. Throws `BACKUP_CORRUPT` when the two differ. */
  end(): void {
    for (const path of this.#unmatched.keys()) this.#fault(`${path} is not in the manifest`);
    if (this.#faultCount === 0) return;
    const more = this.#faultCount > this.#faults.length ? `, and ${this.#faultCount - this.#faults.length} more` : '';
    throw new ArchiveError(
      'BACKUP_CORRUPT',
      `what the server sent does not match its manifest: ${this.#faults.join('; ')}${more}`,
      {
        hint: 'The bytes changed on their way, or the server is at fault: check network and memory, then run the backup again.',
        details: { faults: this.#faults, count: this.#faultCount },
      },
    );
  }

  #fault(text: string): void {
    this.#faultCount++;
    if (this.#faults.length < NAMED) this.#faults.push(text);
  }
}
