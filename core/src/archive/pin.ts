import { ArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { repositoryFailure, type RepositoryFailure } from '../repository/repository-failure.ts';
import { changePin, type PinChange } from '../retention/pin.ts';
import { chooseBackup, failureAmong, findBackups, showingOptions } from './backups.ts';
import type { ChosenRepositories, Outcome } from './call.ts';
import type { Workplace } from './workplace.ts';

export interface UnpinCall extends CallOptions, ChosenRepositories {}

export interface PinCall extends UnpinCall {
  /** Why the backup is kept; it is shown with it. */
  readonly reason: string;
  /** When the pin ends. Default: never. */
  readonly until?: Date;
}

export interface PinDone extends Outcome {
  /** Of the backup. */
  readonly id: string;
  /** Names of the repositories in which it is done. */
  readonly repositories: readonly string[];
  readonly failures: readonly RepositoryFailure[];
}

/** See `Archive.pin`. */
export async function pin(at: Workplace, id: string, call: PinCall): Promise<PinDone> {
  const { reason, until } = call;
  if (until !== undefined && until.getTime() <= Date.now())
    throw new ArchiveError('USAGE', `${until.toISOString()} has passed`, { hint: 'A pin is taken away with unpin.' });
  return changeOf(at, id, call, { kind: 'pin', reason, ...(until === undefined ? {} : { until: until.getTime() }) });
}

/** See `Archive.unpin`. */
export async function unpin(at: Workplace, id: string, call: UnpinCall): Promise<PinDone> {
  return changeOf(at, id, call, { kind: 'unpin' });
}

async function changeOf(at: Workplace, id: string, call: UnpinCall, change: PinChange): Promise<PinDone> {
  const { config, signal } = at;
  const { repositories } = await at.open({ ...showingOptions(config), repositories: call.repositories ?? [] });
  const found = await findBackups(repositories, { signal });
  const chosen = chooseBackup(found, id);
  const failures: RepositoryFailure[] = [...found.failures];
  const names: string[] = [];
  for (const { repository, systemId, state } of found.backups.filter((backup) => backup.id === chosen.id)) {
    if (state === 'incomplete') continue;
    try {
      await changePin(repository, { systemId, id: chosen.id }, change, { signal });
      names.push(repository.name);
    } catch (error) {
      if (signal.aborted) throw error;
      failures.push(repositoryFailure(repository.name, error));
    }
  }
  if (names.length === 0 && failures.length === 0)
    throw new ArchiveError('BACKUP_NOT_FOUND', `backup ${chosen.id} is not complete`);
  return { id: chosen.id, repositories: names, failures, failure: failureAmong(failures) };
}
