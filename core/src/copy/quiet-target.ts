import { ArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { describeLease } from '../repository/lease.ts';
import type { Repository } from '../repository/repository.ts';

/**
 * Makes sure that nothing is being removed where old objects are brought back. Called under a lease of one's own: who begins to remove afterwards
 * sees that one. Errors: `RETENTION_BUSY`, those of the repository.
 */
export async function checkQuiet(
  repository: Repository,
  systemId: string,
  { now, ...call }: CallOptions & { readonly now: number },
): Promise<void> {
  const leases = await repository.leases(systemId).active(now, call);
  const remover = leases.find(({ content }) => content?.removes === true);
  if (remover === undefined) return;
  throw new ArchiveError(
    'RETENTION_BUSY',
    `${describeLease(remover)} removes objects in repository ${repository.name}`,
  );
}
