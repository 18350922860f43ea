import { renameSync, rmSync } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { ZEROES } from './durable-file.ts';

/**
 * A segment file of zeroes, made while the present one is written, so that a new segment does not hold commits up for as
 * long as it takes to fill and sync it. It lies outside the folder of the WAL.
 */
export class SpareSegment {
  readonly #path: string;
  readonly #size: number;
  /** The maker that is at work: never two at once, so that none writes zeroes into a file that is in use already. */
  #making: Promise<void> | undefined;
  #wanted = false;
  #ready = false;

  constructor(path: string, size: number) {
    this.#path = path;
    this.#size = size;
    rmSync(path, { force: true });
  }

  /** Begins to make one, unless there is one, or one is being made. */
  prepare(): void {
    if (this.#ready || this.#making !== undefined) return;
    this.#wanted = true;
    this.#making = this.#make().finally(() => {
      this.#making = undefined;
    });
  }

  /** Moves the spare to `path`, if there is one that is ready. The caller makes the name durable. */
  take(path: string): boolean {
    if (!this.#ready) return false;
    this.#ready = false;
    renameSync(this.#path, path);
    return true;
  }

  /** Gives its space back; resolves when it is gone. */
  async discard(): Promise<void> {
    this.#wanted = false;
    await this.#making;
    if (!this.#ready) return;
    this.#ready = false;
    rmSync(this.#path, { force: true });
  }

  async #make(): Promise<void> {
    try {
      const handle = await open(this.#path, 'w', 0o600);
      try {
        for (let at = 0; at < this.#size && this.#wanted; at += ZEROES.byteLength) {
          await handle.write(ZEROES, 0, Math.min(ZEROES.byteLength, this.#size - at), at);
        }
        await handle.sync();
      } finally {
        await handle.close();
      }
      this.#ready = this.#wanted;
    } catch {
      // Without a spare the segment is made when it is needed, and a failure then has somebody to tell.
      this.#ready = false;
    }
    // One that cannot be removed now goes when the next writer begins.
    if (!this.#ready) await rm(this.#path, { force: true }).catch(() => undefined);
  }
}
