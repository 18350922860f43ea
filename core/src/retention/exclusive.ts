/** The leases under which something is removed: one such run at a time. */
import { ArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { holdLease, type HeldLease } from '../repository/held-lease.ts';
import { describeLease, NO_SCOPE } from '../repository/lease.ts';
import type { Repository } from '../repository/repository.ts';

export interface ExclusiveOptions extends CallOptions {
  /** `expire` or `gc`. */
  readonly command: string;
  /** Epoch milliseconds. */
  readonly now: () => number;
  readonly onFailure?: (error: unknown) => void;
}

export interface Exclusive {
  /** This host's clock or that of the storage, whichever is behind: a clock that is ahead must not make anything old. Epoch milliseconds. */
  readonly now: number;
  /** Throws when others may take the lease for ended. */
  check(): void;
}

/**
 * Does work that removes objects. Each of two runs that begin at once sees the other: at most one goes on. Errors: `RETENTION_BUSY`, those of the
 * storage and of the work.
 */
export async function exclusively<Result>(
  repository: Repository,
  systemIds: readonly string[],
  options: ExclusiveOptions,
  work: (held: Exclusive) => Promise<Result>,
): Promise<Result> {
  const { signal, now } = options;
  const call: CallOptions = signal === undefined ? {} : { signal };
  const held: HeldLease[] = [];
  try {
    for (const systemId of systemIds)
      held.push(await holdLease(repository, systemId, { ...options, scope: NO_SCOPE, removes: true }));
    const own = new Set(held.map(({ id }) => id));
    const earliest = Math.min(now(), ...held.map(({ storageTime }) => storageTime));
    for (const systemId of systemIds) {
      const others = await repository.leases(systemId).active(earliest, call);
      const other = others.find(({ id, content }) => !own.has(id) && content?.removes === true);
      if (other !== undefined)
        throw new ArchiveError(
          'RETENTION_BUSY',
          `${describeLease(other)} removes objects in repository ${repository.name}`,
        );
    }
    return await work({
      now: earliest,
      check: () => {
        for (const lease of held) lease.check();
      },
    });
  } finally {
    for (const lease of held) await lease.release();
  }
}
