import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, stat, unlink, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, type Logger } from '@pgark/sdk';
import { fsError, isAbsent, mapped } from './fs-error.ts';
import type { Root } from './root.ts';

/** The folder of the temporary files, directly in the root. No key begins with it, so no object can be in it. */
export const TEMPORARY_FOLDER = '.pgark-tmp';

const NAME = /^put-[0-9a-f]{24}$/;

/** A temporary file that nobody has written to for so long belongs to a process that died. */
const STALE_MS = 7 * 24 * 3600 * 1000;

export interface TemporaryFile {
  readonly path: string;
  readonly handle: FileHandle;
}

/** Files that become objects by a link: in the root, because a link does not cross file systems. */
export class TemporaryFiles {
  readonly #root: Root;
  readonly #folder: string;
  readonly #fileMode: number;
  readonly #directoryMode: number;
  readonly #logger: Logger;
  #swept = false;

  constructor(root: Root, modes: { readonly file: number; readonly directory: number }, logger: Logger) {
    this.#root = root;
    this.#folder = join(root.path, TEMPORARY_FOLDER);
    this.#fileMode = modes.file;
    this.#directoryMode = modes.directory;
    this.#logger = logger;
  }

  async create(): Promise<TemporaryFile> {
    const path = join(this.#folder, `put-${randomBytes(12).toString('hex')}`);
    const handle = await this.#open(path);
    if (!this.#swept) {
      this.#swept = true;
      await this.#sweep(path);
    }
    return { path, handle };
  }

  async #open(path: string): Promise<FileHandle> {
    const what = `creating a temporary file in ${this.#folder}`;
    try {
      return await open(path, 'wx', this.#fileMode);
    } catch (error) {
      if (!isAbsent(error)) throw fsError(error, what);
    }
    await this.#root.check();
    await mkdir(this.#folder, { mode: this.#directoryMode }).catch((error: unknown) => {
      if (errnoOf(error) !== 'EEXIST') throw fsError(error, what);
    });
    return mapped(open(path, 'wx', this.#fileMode), what);
  }

  /** Closes and deletes a temporary file, whatever state it is in; a failure leaves it to a later sweep. */
  async discard(file: TemporaryFile): Promise<void> {
    for (const step of [() => file.handle.close(), () => unlink(file.path)]) {
      await step().catch((error: unknown) => {
        if (!isAbsent(error)) this.#logger.warn({ path: file.path, error }, 'a temporary file could not be removed');
      });
    }
  }

  /** Deletes what processes that died have left. Age is measured by the clock of the file system, not by ours. */
  async #sweep(fresh: string): Promise<void> {
    try {
      const now = (await stat(fresh)).mtimeMs;
      for (const name of await readdir(this.#folder)) {
        const path = join(this.#folder, name);
        if (!NAME.test(name) || now - (await stat(path)).mtimeMs < STALE_MS) continue;
        await unlink(path);
        this.#logger.info({ path }, 'removed a temporary file of a process that died');
      }
    } catch (error) {
      // Another process may sweep too. Nothing depends on the sweep, so the object is stored all the same.
      if (!isAbsent(error)) this.#logger.warn({ folder: this.#folder, error }, 'temporary files could not be swept');
    }
  }
}
