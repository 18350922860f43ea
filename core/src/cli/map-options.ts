/** How commands draw the map: with the cache of the config, telling how far the listing is. */
import { homedir } from 'node:os';
import { join } from 'node:path';
import { drawMap, type RecoveryMap } from '../map/recovery-map.ts';
import { MapCache } from '../map/map-cache.ts';
import type { Repository } from '../repository/repository.ts';
import type { CommandContext } from './run.ts';

export interface DrawOptions {
  /** Of the repositories that are wanted; without any, all. */
  readonly repositories: readonly string[];
  readonly fresh: boolean;
  readonly systemId?: string | undefined;
}

/** The folder in which listings are remembered; undefined when nothing is. */
export function cacheFolder({ config, env }: Pick<CommandContext, 'config' | 'env'>): string | undefined {
  const { cache, cacheAge } = config.status;
  if (cacheAge === undefined) return undefined;
  return cache ?? join(env['XDG_CACHE_HOME'] || join(env['HOME'] || homedir(), '.cache'), 'pgark');
}

/** Forgets what was listed of a repository: objects were removed from it. Errors: those of the storage. */
export async function forgetListing(
  context: Pick<CommandContext, 'config' | 'env' | 'logger' | 'signal'>,
  repository: Repository,
): Promise<void> {
  const { logger, signal } = context;
  await new MapCache({ folder: cacheFolder(context), age: 0, logger }).forget(repository, { signal });
}

/** Opens the archive and draws its map. Errors: `ABORTED`, those of opening the archive. */
export async function drawFor(
  context: CommandContext,
  { repositories: names, fresh, systemId }: DrawOptions,
): Promise<RecoveryMap> {
  const { config, output, logger, signal } = context;
  const { showingOptions } = await import('./backups.ts');
  const archive = await context.archive({ ...showingOptions(config), repositories: names });
  const cache = new MapCache({ folder: cacheFolder(context), age: config.status.cacheAge ?? 0, fresh, logger });
  const map = await drawMap(archive.repositories, {
    list: (repository) =>
      cache.list(repository, {
        signal,
        onProgress: (objects) => output.progress(() => `repository ${repository.name}: listed ${objects} objects`),
      }),
    systemId,
    signal,
  });
  output.progressDone();
  return map;
}
