import { appendFileSync, closeSync, fsyncSync, openSync, readSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf } from '../contracts/errors.ts';
import type { Logger } from '../contracts/plugin.ts';
import { renameDurably, writeFully } from './durable-file.ts';
import { asArchiveError } from './messages.ts';
import { guard, spoolError } from './spool-error.ts';
import type { Spool } from './spool.ts';

/** A repository as it is known to this spool. */
export interface Confirmer {
  readonly name: string;
  /** As `known-repositories.ts` remembers it; undefined for one that was never used: it has confirmed nothing. */
  readonly id: string | undefined;
}

/** Lines that may be in the file beyond twice those that still say something, before it is written anew. */
const SPARE_LINES = 1000;
/** Bytes that are read or written at once: the file of a long outage does not fit into one string. */
const BLOCK = 1024 * 1024;
/** Repositories that a mask has room for; what others confirm is compared once more. */
const MOST_REPOSITORIES = 31;

/**
 * Which repositories have confirmed files that stay in the spool because another one lacks them, in a file beside the spool. Without
 * it the next run would have to compare all of them with a repository that has them, before it could ship anything new.
 *
 * A confirmation is that of a repository with its name and its id: another repository under the same name has confirmed nothing
 * (H-23), nor has the one of another name that carries the same id, as a copy made by other means than `pgark copy` does.
 * Losing one only costs a comparison. So they need not survive a crash of the machine, and nothing that is wrong with the file
 * stops the start.
 */
export class ConfirmedFiles {
  readonly #path: string;
  readonly #logger: Logger;
  /** Repositories, `<id> <name>`, by their place in the masks. */
  readonly #confirmers: string[] = [];
  /** By file of the spool, `<system identifier> <name>`: who has confirmed it. Nothing of files that are gone. */
  readonly #masks = new Map<string, number>();
  /** Confirmations in {@link #masks}. */
  #kept = 0;
  /** Lines in the file. */
  #lines = 0;

  /** At the start of a run. Forgets what is no longer in the spool: what comes under its name later was confirmed by nobody. */
  constructor(spool: Spool, logger: Logger) {
    this.#path = join(spool.folder, 'confirmed');
    this.#logger = logger;
    try {
      this.#read(spool);
    } catch (error) {
      this.#masks.clear();
      this.#kept = 0;
      const message = `what is in the spool is compared with every repository, for ${this.#path} cannot be read`;
      logger.warn({ path: this.#path }, `${message}: ${asArchiveError(spoolError(this.#path, error)).message}`);
      return;
    }
    if (this.#lines > this.#kept) this.#tidy();
  }

  /** Whether a repository is on record as having a file of the spool. */
  has(systemId: string, name: string, { name: repository, id }: Confirmer): boolean {
    const place = this.#confirmers.indexOf(`${String(id)} ${repository}`);
    return place >= 0 && ((this.#masks.get(`${systemId} ${name}`) ?? 0) & (1 << place)) !== 0;
  }

  /** The repository has the file, and another one does not yet. Throws `SPOOL_FULL`, `SPOOL_UNAVAILABLE`. */
  add(systemId: string, name: string, { name: repository, id }: Confirmer): void {
    if (id === undefined) return;
    const file = `${systemId} ${name}`;
    const confirmer = `${id} ${repository}`;
    if (!this.#note(file, confirmer)) return;
    guard(this.#path, () => {
      appendFileSync(this.#path, `${file} ${confirmer}\n`, { mode: 0o600 });
    });
    this.#lines += 1;
  }

  /** The file has left the spool: who had confirmed it is forgotten. */
  drop(systemId: string, name: string): void {
    const file = `${systemId} ${name}`;
    const mask = this.#masks.get(file);
    if (mask === undefined) return;
    this.#masks.delete(file);
    this.#kept -= bits(mask);
    if (this.#lines > 2 * this.#kept + SPARE_LINES) this.#tidy();
  }

  /** Gives whether it is new. */
  #note(file: string, confirmer: string): boolean {
    let place = this.#confirmers.indexOf(confirmer);
    if (place < 0) {
      if (this.#confirmers.length >= MOST_REPOSITORIES) return false;
      place = this.#confirmers.push(confirmer) - 1;
    }
    const mask = this.#masks.get(file) ?? 0;
    if ((mask & (1 << place)) !== 0) return false;
    this.#masks.set(file, mask | (1 << place));
    this.#kept += 1;
    return true;
  }

  #read(spool: Spool): void {
    let present: ReadonlySet<string> | undefined;
    for (const line of linesOf(this.#path)) {
      this.#lines += 1;
      const [, file, confirmer] = /^(\d+ [0-9A-Z.a-z]+) (\S+ .+)$/.exec(line) ?? [];
      if (file === undefined || confirmer === undefined) continue;
      present ??= new Set(spool.systemIds().flatMap((id) => spool.files(id).map(({ file }) => `${id} ${file.name}`)));
      if (present.has(file)) this.#note(file, confirmer);
    }
  }

  /** Writes the file anew, with what still says something. That it cannot be is no trouble: it only stays long. */
  #tidy(): void {
    try {
      if (this.#kept === 0) rmSync(this.#path, { force: true });
      else this.#write();
      this.#lines = this.#kept;
    } catch (error) {
      const message = `${this.#path} could not be shortened: ${asArchiveError(spoolError(this.#path, error)).message}`;
      this.#logger.debug({ path: this.#path }, message);
      // Not again with each file.
      this.#lines = 0;
    }
  }

  #write(): void {
    const temporary = `${this.#path}.tmp`;
    const fd = openSync(temporary, 'w', 0o600);
    try {
      let position = 0;
      let text = '';
      const flush = (): void => {
        const bytes = Buffer.from(text);
        writeFully(fd, bytes, position);
        position += bytes.byteLength;
        text = '';
      };
      for (const [file, mask] of this.#masks) {
        for (const [place, confirmer] of this.#confirmers.entries()) {
          if ((mask & (1 << place)) !== 0) text += `${file} ${confirmer}\n`;
        }
        if (text.length >= BLOCK) flush();
      }
      flush();
      fsyncSync(fd);
      renameDurably(temporary, this.#path);
    } catch (error) {
      rmSync(temporary, { force: true });
      throw error;
    } finally {
      closeSync(fd);
    }
  }
}

function bits(mask: number): number {
  let count = 0;
  for (let rest = mask; rest !== 0; rest &= rest - 1) count += 1;
  return count;
}

/** The lines of a file that may not be there. A crash may have cut the last one: without its end it counts for nothing. */
function* linesOf(path: string): Generator<string> {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return;
    throw error;
  }
  try {
    const block = Buffer.alloc(BLOCK);
    let rest = Buffer.alloc(0);
    for (;;) {
      const length = readSync(fd, block, 0, block.length, null);
      if (length === 0) return;
      const bytes = Buffer.concat([rest, block.subarray(0, length)]);
      const end = bytes.lastIndexOf(0x0a) + 1;
      for (let from = 0; from < end;) {
        const to = bytes.indexOf(0x0a, from);
        yield bytes.toString('utf8', from, to);
        from = to + 1;
      }
      rest = bytes.subarray(end);
      if (rest.length > BLOCK) throw new Error('it has a line without an end');
    }
  } finally {
    closeSync(fd);
  }
}
