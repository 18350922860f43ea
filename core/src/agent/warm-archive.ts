/** An archive that stays open, and is opened anew when its config changes. */
import { statSync } from 'node:fs';
import type { Logger } from '../contracts/plugin.ts';

/** What is opened. */
export interface Openable {
  close(): Promise<void>;
}

export interface WarmArchiveOptions<Opened extends Openable> {
  /** The config file; undefined without one. */
  readonly config: string | undefined;
  readonly open: () => Promise<Opened>;
  readonly logger: Logger;
}

interface Generation<Opened> {
  readonly state: string;
  readonly opened: Promise<Opened>;
  users: number;
}

export class WarmArchive<Opened extends Openable> {
  readonly #options: WarmArchiveOptions<Opened>;
  #current: Generation<Opened> | undefined;

  constructor(options: WarmArchiveOptions<Opened>) {
    this.#options = options;
  }

  /**
   * Works with the archive that the config describes as it is now; an older one is closed when nobody uses it any more. Errors: those of
   * opening, which is tried again at the next use, and of the work.
   */
  async use<Result>(work: (opened: Opened) => Promise<Result>): Promise<Result> {
    const generation = this.#generation();
    generation.users++;
    try {
      return await work(await generation.opened);
    } finally {
      generation.users--;
      if (generation !== this.#current) this.#closeUnused(generation);
    }
  }

  /** Opens it anew at the next use, as secrets and files may have changed that the config only names. */
  renew(): void {
    const before = this.#current;
    this.#current = undefined;
    if (before !== undefined) this.#closeUnused(before);
  }

  #generation(): Generation<Opened> {
    const state = this.#state();
    const before = this.#current;
    if (before?.state === state) return before;
    if (before !== undefined) this.#options.logger.info({}, 'the config has changed, and is read again');
    const opened = this.#options.open();
    const generation: Generation<Opened> = { state, opened, users: 0 };
    this.#current = generation;
    opened.catch(() => {
      if (this.#current === generation) this.#current = undefined;
    });
    if (before !== undefined) this.#closeUnused(before);
    return generation;
  }

  #state(): string {
    const { config } = this.#options;
    if (config === undefined) return '';
    const info = statSync(config, { bigint: true, throwIfNoEntry: false });
    return info === undefined ? 'absent' : [info.dev, info.ino, info.size, info.mtimeNs, info.ctimeNs].join(':');
  }

  #closeUnused(generation: Generation<Opened>): void {
    if (generation.users === 0) void this.#close(generation);
  }

  async #close(generation: Generation<Opened>): Promise<void> {
    try {
      await (await generation.opened).close();
    } catch (error) {
      // What could not be opened has nothing to close; what it failed with was told to who wanted it.
      this.#options.logger.debug({ error }, 'an archive was not closed cleanly');
    }
  }

  async close(): Promise<void> {
    const generation = this.#current;
    this.#current = undefined;
    if (generation !== undefined) await this.#close(generation);
  }
}
