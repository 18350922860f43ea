/** WAL files that were read for their digest and have not changed since. */
import { stat } from 'node:fs/promises';
import type { WalFile } from '../postgres/wal-file.ts';
import { SegmentMemory } from './segment-memory.ts';
import { checkFile, type CheckedFile, type CheckOptions } from '../wal-command/local-file.ts';

/** Files that are remembered: more than PostgreSQL looks at in one go. */
const MOST = 256;
/** Milliseconds: a file that was written so shortly ago may be written again without a change of its times, as the kernel's clock has steps. */
const FRESH = 100;

interface Known {
  readonly state: string;
  readonly checked: Promise<CheckedFile>;
}

/**
 * Remembers the digest of a segment as long as device, inode, size and times of its file stay as they are. Nothing here says that it is
 * archived: that the repository is asked each time, with the digest.
 */
export class KnownFiles {
  readonly #known = new Map<string, Known>();
  readonly #memory = new SegmentMemory();

  /** Errors: those of `checkFile`. */
  async get(file: WalFile, path: string, options: CheckOptions): Promise<CheckedFile> {
    // Labels and histories are small, and what they belong to is read from other files.
    if (file.kind !== 'segment') return checkFile(file, path, options);
    // What was found holds for this name only, since the content was compared with it.
    const key = JSON.stringify([file.name, path, options.systemId]);
    const state = await stateOf(path);
    const known = this.#known.get(key);
    if (known !== undefined && known.state === state) return known.checked;
    this.#known.delete(key);
    const checked = checkFile(file, path, { ...options, hold: (size) => this.#memory.hold(size) });
    if (state === undefined) return checked;
    this.#known.set(key, { state, checked });
    const [first] = this.#known.keys();
    if (this.#known.size > MOST && first !== undefined) this.#known.delete(first);
    const forget = (): void => {
      if (this.#known.get(key)?.checked === checked) this.#known.delete(key);
    };
    try {
      const result = await checked;
      if ((await stateOf(path)) !== state) forget();
      return result;
    } catch (error) {
      forget();
      throw error;
    }
  }
}

/** Undefined when nothing can be said of the file, or not yet. */
async function stateOf(path: string): Promise<string | undefined> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs, mtimeMs } = await stat(path, { bigint: true });
    if (Date.now() - Number(mtimeMs) < FRESH) return undefined;
    return [dev, ino, size, mtimeNs, ctimeNs].join(':');
  } catch {
    return undefined; // the check reads the file itself, and says what is wrong
  }
}
