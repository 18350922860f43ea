import { dirname } from 'node:path';
import type { Repository } from '../repository/repository.ts';
import { withDeadline } from './deadline.ts';
import type { DroppedSegments } from './dropped-segments.ts';

/** Milliseconds for a repository that owes answers since it failed: one that says nothing must not take the whole time of each command. */
const RECORD_LIMIT = 5000;

export interface PushTarget {
  readonly name: string;
  readonly path: string;
  readonly systemId: string;
}

/**
 * Opens a repository that is to get a file. What was let go before is put on record there first. Errors: those of the repository,
 * `STORAGE_UNAVAILABLE`, `SPOOL_UNAVAILABLE`, `SPOOL_INVALID`.
 *
 * An archive is not created here: an empty folder may be that of a disk that is not mounted, and the server drops what is archived.
 */
export async function openForPush(
  repository: Repository,
  { name, path, systemId }: PushTarget,
  { dropped, signal }: { readonly dropped: DroppedSegments | undefined; readonly signal: AbortSignal },
): Promise<void> {
  if (dropped?.of(repository, systemId).some((segment) => !segment.recorded) !== true) {
    await repository.open({ signal });
    return;
  }
  const what = `recording gaps in repository ${repository.name}`;
  await withDeadline(what, RECORD_LIMIT, signal, async (either) => {
    await repository.open({ signal: either });
    await dropped.deliver(repository, systemId, { walFolder: dirname(path), but: name, signal: either });
  });
}
