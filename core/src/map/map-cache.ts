/**
 * What listings have said before, on this host: so that a look at a large archive lists only what is new. It can be deleted at any time, and
 * nothing that deletes or restores uses it.
 */
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, isArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import type { Logger } from '../contracts/plugin.ts';
import type { SegmentBlock, WalInventory } from '../repository/inventory.ts';
import type { Repository } from '../repository/repository.ts';
import { listRepository, refreshRepository, type RepositoryState } from './repository-state.ts';

/** Of the file; another one is not read. */
const FORMAT = 2;

export interface MapCacheOptions {
  /** Undefined: nothing is remembered. */
  readonly folder: string | undefined;
  /** Milliseconds after which everything is listed again. */
  readonly age: number;
  /** List everything now. */
  readonly fresh?: boolean;
  readonly logger: Logger;
  /** Epoch milliseconds; for tests. */
  readonly now?: () => number;
}

/** Lists repositories, with what it remembers of each. */
export class MapCache {
  readonly #options: MapCacheOptions;

  constructor(options: MapCacheOptions) {
    this.#options = options;
  }

  /** The state of a repository. Errors: those of the storage, `REPOSITORY_NOT_FOUND`, `REPOSITORY_FORMAT`. */
  async list(
    repository: Repository,
    options: CallOptions & { readonly onProgress?: (objects: number) => void } = {},
  ): Promise<RepositoryState> {
    const { folder, age, fresh = false, now = Date.now } = this.#options;
    const time = now();
    const { id } = await repository.open(options);
    const path = folder === undefined ? undefined : join(folder, `${id}.map`);
    const known = path === undefined || fresh ? undefined : await this.#read(path, id);
    const call = { ...options, now: time };
    const isYoung = known !== undefined && known.since <= time && time - known.since < age;
    const state = isYoung ? await refreshRepository(repository, known, call) : await listRepository(repository, call);
    if (path !== undefined) await this.#write(path, state);
    return state;
  }

  /** Forgets a repository from which objects were removed: a listing of what is new does not show that. Errors: those of the storage. */
  async forget(repository: Repository, options: CallOptions = {}): Promise<void> {
    const { folder } = this.#options;
    if (folder === undefined) return;
    const { id } = await repository.open(options);
    const path = join(folder, `${id}.map`);
    await rm(path, { force: true }).catch((error: unknown) => {
      this.#options.logger.debug({ path, error }, 'the cache of the map was not removed');
    });
  }

  /** What is no cache of this repository, or damaged, is as good as none. */
  async #read(path: string, id: string): Promise<RepositoryState | undefined> {
    let text: string;
    try {
      text = await readFile(path, 'utf8');
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') this.#options.logger.debug({ path, error }, 'the cache of the map was not read');
      return undefined;
    }
    const end = text.indexOf('\n');
    const body = text.slice(end + 1);
    if (text.slice(0, end) !== headOf(body)) {
      this.#options.logger.debug({ path }, 'the cache of the map is damaged, or of another version: it is not used');
      return undefined;
    }
    const state = stateOf(JSON.parse(body) as StoredState);
    return state.id === id ? state : undefined;
  }

  async #write(path: string, state: RepositoryState): Promise<void> {
    const body = JSON.stringify(state, (_, value: unknown) => (typeof value === 'bigint' ? Number(value) : value));
    const temporary = `${path}.${randomUUID()}.tmp`;
    try {
      await mkdir(this.#options.folder ?? '', { recursive: true, mode: 0o700 });
      await writeFile(temporary, `${headOf(body)}\n${body}`, { mode: 0o600 });
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => undefined); // said below
      const message = isArchiveError(error) || error instanceof Error ? error.message : String(error);
      this.#options.logger.debug({ path }, `the cache of the map was not written: ${message}`);
    }
  }
}

function headOf(body: string): string {
  return `pgark map ${FORMAT} ${createHash('sha256').update(body).digest('hex')}`;
}

/** Numbers of segments are below 2^44: they are plain numbers in the file. */
interface StoredRange {
  readonly first: number;
  readonly last: number;
}

type StoredTimeline = Omit<WalInventory['timelines'][number], 'runs' | 'conflicts' | 'open' | 'blocks'> & {
  readonly runs: readonly StoredRange[];
  readonly conflicts: readonly number[];
  readonly open: readonly {
    readonly number: number;
    readonly slices: readonly { readonly from: number; readonly to: number }[];
    readonly partial: boolean;
  }[];
  readonly blocks: readonly (Omit<SegmentBlock, 'block'> & { readonly block: number })[];
};

type StoredState = Omit<RepositoryState, 'systems'> & {
  readonly systems: readonly (Omit<RepositoryState['systems'][number], 'wal'> & {
    readonly wal: Omit<WalInventory, 'timelines'> & { readonly timelines: readonly StoredTimeline[] };
  })[];
};

function stateOf(stored: StoredState): RepositoryState {
  return {
    ...stored,
    systems: stored.systems.map((system) => ({
      ...system,
      wal: {
        ...system.wal,
        timelines: system.wal.timelines.map((one) => ({
          ...one,
          last: one.last,
          runs: one.runs.map(({ first, last }) => ({ first: BigInt(first), last: BigInt(last) })),
          conflicts: one.conflicts.map(BigInt),
          open: one.open.map((open) => ({ ...open, number: BigInt(open.number) })),
          blocks: one.blocks.map((block) => ({ ...block, block: BigInt(block.block) })),
        })),
      },
    })),
  };
}
