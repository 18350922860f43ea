/** How operations draw the map: with the cache of the config, telling how far the listing is. */
import { cacheFolder } from '../map/cache-folder.ts';
import { drawMap, type RecoveryMap } from '../map/recovery-map.ts';
import { MapCache } from '../map/map-cache.ts';
import type { Repository } from '../repository/repository.ts';
import { showingOptions } from './backups.ts';
import type { ChosenRepositories, LongCall } from './call.ts';
import type { Workplace } from './workplace.ts';

/** How far the listing of a repository is. */
export interface ListingProgress {
  readonly repository: string;
  readonly objects: number;
}

export interface DrawCall extends LongCall<ListingProgress>, ChosenRepositories {
  /** Lists everything, without what is remembered of earlier listings. Default false. */
  readonly fresh?: boolean;
  /** This cluster, when the archive holds several of its name. Decimal text. */
  readonly systemId?: string;
}

/** Forgets what was listed of a repository: objects were removed from it. Errors: those of the storage. */
export async function forgetListing(at: Workplace, repository: Repository): Promise<void> {
  const { config, loaded, logger, signal } = at;
  await new MapCache({ folder: cacheFolder(config, loaded.env), age: 0, logger }).forget(repository, { signal });
}

/** Opens the repositories and draws their map. Errors: `ABORTED`, those of opening them. */
export async function drawFor(at: Workplace, call: DrawCall): Promise<RecoveryMap> {
  const { config, loaded, logger, signal } = at;
  const { repositories: names = [], fresh = false, systemId, onProgress } = call;
  const { repositories } = await at.open({ ...showingOptions(config), repositories: names });
  const cache = new MapCache({
    folder: cacheFolder(config, loaded.env),
    age: config.status.cacheAge ?? 0,
    fresh,
    logger,
  });
  return drawMap(repositories, {
    list: (repository) =>
      cache.list(repository, {
        signal,
        onProgress: (objects) => onProgress?.({ repository: repository.name, objects }),
      }),
    systemId,
    signal,
  });
}
