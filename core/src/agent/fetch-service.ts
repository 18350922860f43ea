/** `wal-fetch` in the agent. */
import { mkdirSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { Config } from '../config/config.ts';
import { ArchiveError } from '../contracts/errors.ts';
import type { Logger } from '../contracts/plugin.ts';
import { parseWalFileName } from '../postgres/wal-file.ts';
import type { Repository } from '../repository/repository.ts';
import { fetchArchived, systemIdOf, walFetch, type FetchContext, type WalFetchResult } from '../wal-command/fetch.ts';
import { dataDirectories } from '../wal-command/recovery-mode.ts';
import { isSegmentFile } from '../wal-command/segment-check.ts';
import { Prefetch } from './prefetch.ts';
import type { FetchRequest } from './protocol.ts';

export interface FetchServiceOptions {
  readonly repositories: readonly [Repository, ...Repository[]];
  readonly config: Pick<Config, 'receive' | 'restore' | 'agent'>;
  /** For files that are not handed over yet; exists, and is this service's alone. */
  readonly folder: string;
  /** For what is fetched ahead, which no request waits for. */
  readonly logger: Logger;
}

export interface Fetched {
  readonly result: WalFetchResult;
  /** Where the file lies, for the client to take it; the caller deletes it if it does not. */
  readonly file: string | undefined;
}

/** Recoveries of the host that are served at once; of more, the one that asked longest ago loses what is held for it. */
const MOST = 4;
/** Milliseconds after the last request of a recovery. */
const IDLE = 300_000;

interface Stream {
  readonly prefetch: Prefetch;
  readonly idle: NodeJS.Timeout;
  readonly folder: string;
}

/** Fetches a file as the command does by itself, and what a recovery that goes forward will ask for next. */
export class FetchService {
  readonly #options: FetchServiceOptions;
  /** By data directory, cluster and what else changes the answer. */
  readonly #streams = new Map<string, Stream>();
  #files = 0;

  constructor(options: FetchServiceOptions) {
    this.#options = options;
  }

  /** Errors: those of `walFetch`. */
  async fetch(
    request: FetchRequest,
    options: { readonly signal: AbortSignal; readonly logger: Logger },
  ): Promise<Fetched> {
    const { config, folder } = this.#options;
    const { name, cwd, until, timeline, systemId, mode } = request;
    const path = join(folder, `${++this.#files}.wal`);
    const context: FetchContext = {
      name,
      path,
      repositories: this.#repositories(request.repositories),
      spool: config.receive.spool,
      dataDirectories: dataDirectories(request.path, cwd),
      mode,
      retry: config.restore.walRetry,
      ...options,
      ...(systemId !== undefined && { systemId }),
      ...(until !== undefined && { until }),
      ...(timeline !== undefined && { timeline }),
    };
    const file = parseWalFileName(name);
    const prefetch = file?.kind === 'segment' ? await this.#prefetchFor(request, context) : undefined;
    if (file === undefined || !isSegmentFile(file) || prefetch === undefined)
      return this.#given(await walFetch(context), path);
    const held = await prefetch.take(file, options.signal);
    if (held === undefined) {
      const fetched = this.#given(await walFetch(context), path);
      // What is unfinished or not shipped yet has nothing behind it that could be fetched.
      if (fetched.result.outcome === 'fetched' && fetched.result.source === 'archive')
        await prefetch.advance(file, path);
      return fetched;
    }
    await prefetch.advance(file, held);
    this.#options.logger.debug({ file: name }, 'was fetched ahead');
    return { result: { outcome: 'fetched', source: 'archive' }, file: held };
  }

  #given(result: WalFetchResult, path: string): Fetched {
    return { result, file: result.outcome === 'fetched' ? path : undefined };
  }

  #repositories(names: readonly string[]): readonly [Repository, ...Repository[]] {
    const { repositories } = this.#options;
    if (names.length === 0) return repositories;
    const [first, ...more] = repositories.filter(({ name }) => names.includes(name));
    const unknown = names.find((name) => repositories.every((repository) => repository.name !== name));
    if (unknown !== undefined || first === undefined)
      throw new ArchiveError('USAGE', `the config has no repository "${unknown}"`, {
        hint: `It has: ${repositories.map(({ name }) => name).join(', ')}.`,
      });
    return [first, ...more];
  }

  async #prefetchFor(request: FetchRequest, context: FetchContext): Promise<Prefetch | undefined> {
    const { config, logger } = this.#options;
    if (config.agent.prefetch === 0) return undefined;
    let systemId: string;
    try {
      systemId = await systemIdOf(context);
    } catch {
      return undefined; // walFetch meets the same, tries again, and has words for it
    }
    const key = JSON.stringify([
      dirname(resolve(request.cwd, request.path)),
      systemId,
      request.until,
      request.repositories,
    ]);
    const known = this.#streams.get(key);
    if (known !== undefined) {
      known.idle.refresh();
      // The last one in the map is the one that asked last.
      this.#streams.delete(key);
      this.#streams.set(key, known);
      return known.prefetch;
    }
    const [oldest] = this.#streams.keys();
    if (this.#streams.size >= MOST && oldest !== undefined) this.#end(oldest);
    const folder = join(this.#options.folder, `ahead.${++this.#files}`);
    mkdirSync(folder, { mode: 0o700 });
    const prefetch = new Prefetch({
      folder,
      concurrency: config.agent.concurrency,
      bytes: () => config.agent.prefetch / this.#streams.size,
      fetch: async (name, path, signal) => {
        const found = await fetchArchived({ ...context, systemId, name, path, signal, logger });
        if (found) await sync(path);
        return found;
      },
    });
    const idle = setTimeout(() => this.#end(key), IDLE).unref();
    this.#streams.set(key, { prefetch, idle, folder });
    return prefetch;
  }

  #end(key: string): void {
    const stream = this.#streams.get(key);
    if (stream === undefined) return;
    this.#streams.delete(key);
    clearTimeout(stream.idle);
    stream.prefetch.drop();
    rmSync(stream.folder, { recursive: true, force: true });
  }

  /** Deletes what is held. */
  close(): void {
    for (const key of this.#streams.keys()) this.#end(key);
  }
}

/**
 * PostgreSQL syncs each segment that it was given before it replays it (PostgreSQL source: `durable_rename` in `KeepFileRestoredFromArchive`).
 * Done ahead, that takes no time from the replay.
 */
async function sync(path: string): Promise<void> {
  const handle = await open(path, 'r+');
  try {
    await handle.datasync();
  } finally {
    await handle.close();
  }
}
