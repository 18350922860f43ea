import type { BackupFile } from '../repository/file-list.ts';
import type { PassedFile } from './part-splitter.ts';

const DIGEST = 32;
/** Numbers kept of a file: part, offset, size, mode. */
const COLUMNS = 4;

/** The files of a backup in little memory: about 70 bytes each beside the path. */
export class FileTable implements Iterable<BackupFile> {
  readonly #paths: string[] = [];
  readonly #parts: string[] = [];
  #numbers = new Float64Array(1024 * COLUMNS);
  #dataSize = 0;
  #digests = Buffer.alloc(1024 * DIGEST);

  get length(): number {
    return this.#paths.length;
  }

  /** Bytes of all files. */
  get dataSize(): number {
    return this.#dataSize;
  }

  /** Adds a file and gives its number, from 0. Files of one part come one after the other. */
  add({ path, part, offset, size, mode }: PassedFile): number {
    const at = this.#paths.push(path) - 1;
    if (this.#parts.at(-1) !== part) this.#parts.push(part);
    if ((at + 1) * COLUMNS > this.#numbers.length) this.#grow();
    this.#numbers.set([this.#parts.length - 1, offset, size, mode], at * COLUMNS);
    this.#dataSize += size;
    return at;
  }

  /** Tells the digest of a file that was added. */
  digest(index: number, sha256: string): void {
    this.#digests.write(sha256, index * DIGEST, DIGEST, 'hex');
  }

  at(index: number): BackupFile {
    const [part = 0, offset = 0, size = 0, mode = 0] = this.#numbers.subarray(index * COLUMNS, (index + 1) * COLUMNS);
    return {
      path: this.#paths[index] ?? '',
      part: this.#parts[part] ?? '',
      offset,
      size,
      mode,
      sha256: this.#digests.toString('hex', index * DIGEST, (index + 1) * DIGEST),
    };
  }

  *[Symbol.iterator](): Generator<BackupFile> {
    for (let index = 0; index < this.length; index++) yield this.at(index);
  }

  #grow(): void {
    const numbers = new Float64Array(this.#numbers.length * 2);
    numbers.set(this.#numbers);
    this.#numbers = numbers;
    this.#digests = Buffer.concat([this.#digests], this.#digests.length * 2);
  }
}
