import { ArchiveError } from '../../contracts/errors.ts';
import type { DaemonCluster, Look } from '../daemon.ts';

/** Why a look did not see what is asked for. */
export function lookFailure(cluster: DaemonCluster, { failures, status }: Look): ArchiveError {
  const [failure] = [...failures, ...(status?.status.map.failures.map(({ error }) => error) ?? [])];
  return failure ?? new ArchiveError('STORAGE_UNAVAILABLE', `nothing could be read of cluster "${cluster.name}"`);
}
