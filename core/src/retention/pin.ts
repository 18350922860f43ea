import { ArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { EXPIRED } from '../repository/facts.ts';
import type { Repository } from '../repository/repository.ts';

export type PinChange =
  { readonly kind: 'pin'; readonly reason: string; readonly until?: number } | { readonly kind: 'unpin' };

export interface PinOptions extends CallOptions {
  /** Epoch milliseconds; default now. */
  readonly time?: number;
}

/**
 * Pins a backup, which then stays until the pin ends or is taken away; or takes it away. Errors: `BACKUP_NOT_FOUND` for one whose removal
 * has begun, or begins at this moment; those of the repository.
 */
export async function changePin(
  repository: Repository,
  { systemId, id }: { readonly systemId: string; readonly id: string },
  change: PinChange,
  { time = Date.now(), signal }: PinOptions = {},
): Promise<void> {
  const call: CallOptions = signal === undefined ? {} : { signal };
  const facts = repository.facts(systemId);
  // The newest word counts, by whichever clock it was said: this one is newer.
  let newest = -Infinity;
  const check = async (): Promise<void> => {
    for await (const fact of facts.names({ ...call, subject: id })) {
      if (fact.kind === 'pin' || fact.kind === 'unpin') newest = Math.max(newest, fact.time);
      if (fact.kind !== EXPIRED) continue;
      throw new ArchiveError('BACKUP_NOT_FOUND', `backup ${id} in repository ${repository.name} is being removed`, {
        hint: 'See "pgark list"; take a new backup.',
      });
    }
  };
  await check();
  const { kind, ...rest } = change;
  const until = 'until' in rest && rest.until !== undefined ? { until: new Date(rest.until).toISOString() } : {};
  const data = 'reason' in rest ? { reason: rest.reason, ...until } : {};
  await facts.add(id, { kind, time: Math.max(time, newest + 1), data }, call);
  // Who removes reads the pins behind his mark, who pins looks for the mark behind his pin: one sees the other.
  if (kind === 'pin') await check();
}
