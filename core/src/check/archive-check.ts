import { isArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import type { Repository } from '../repository/repository.ts';
import type { Finding } from './finding.ts';

/**
 * What a repository holds of the cluster, and whether it is that of the server: `systemId` as the server says, undefined when it
 * could not be asked. Throws what the storage throws.
 */
export async function checkArchive(
  repository: Repository,
  systemId: string | undefined,
  options: CallOptions = {},
): Promise<Finding> {
  const subject = `repository ${repository.name}`;
  const check = 'archive';
  try {
    await repository.open(options);
  } catch (error) {
    if (isArchiveError(error, 'REPOSITORY_NOT_FOUND')) {
      const message = `holds nothing of cluster "${repository.cluster}" yet: "pgark receive" or "pgark backup --create" begins it`;
      return { subject, check, state: 'ok', message };
    }
    throw error;
  }
  const held = await repository.systemIds(options);
  const systems = `the archive of cluster "${repository.cluster}" holds system ${held.join(', ')}`;
  if (systemId === undefined || held.includes(systemId) || held.length === 0)
    return { subject, check, state: 'ok', message: held.length === 0 ? 'the archive is empty' : systems };
  return {
    subject,
    check,
    state: 'warning',
    message: `${systems}, but the server is system ${systemId}`,
    hint: 'Right after initdb or pg_upgrade this is as it should be; otherwise the config names another cluster.',
  };
}
