/** One WAL file into several repositories. */
import { ArchiveError } from '../contracts/errors.ts';
import type { WalFile } from '../postgres/wal-file.ts';
import { failureText, repositoryFailure, type RepositoryFailure } from '../repository/repository-failure.ts';
import type { Repository } from '../repository/repository.ts';
import { withDeadline } from './deadline.ts';
import type { DroppedSegments } from './dropped-segments.ts';
import { LocalFiles, type FileChecks } from './local-file.ts';
import { lookAhead, type LookAheadResult } from './look-ahead.ts';
import { openForPush } from './open-for-push.ts';
import type { PushFile, WalPushResult } from './push.ts';

export interface PushToAllOptions {
  readonly file: WalFile;
  readonly path: string;
  readonly repositories: readonly Repository[];
  readonly systemId: string | undefined;
  /** Milliseconds. */
  readonly timeout: number;
  readonly signal: AbortSignal | undefined;
  readonly files: FileChecks | undefined;
  readonly push: PushFile;
  readonly dropped: DroppedSegments | undefined;
}

/** The exit code of errors that no waiting heals: data is damaged or in conflict. */
const HARD = 4;
/** Milliseconds after which a repository that has not answered counts as one that holds up the others; less where the timeout is short. */
const PATIENCE = 2000;
/** Milliseconds before the end of the time in which nothing is archived ahead any more. */
const MARGIN = 3000;

type Outcome =
  | { readonly repository: string; readonly outcome: 'stored' | 'present' }
  | { readonly repository: string; readonly failure: RepositoryFailure };

/**
 * Archives a file in all repositories at the same time, each within the timeout. While any of them fails or keeps the others waiting, those
 * that work get the files that are ready behind this one, too: PostgreSQL asks for this one again and again, and the others go on all the same.
 *
 * Errors: those of the file; a conflict or damage in any repository; `REPOSITORY_BEHIND` when some have the file, with what each has in
 * its details; else the error of the first repository.
 */
export async function pushToAll(options: PushToAllOptions): Promise<WalPushResult> {
  const { file, path, repositories, timeout, signal, files = new LocalFiles(), push } = options;
  const { name } = file;
  const end = performance.now() + timeout - Math.min(MARGIN, timeout / 10);
  const checked = files.get(file, path, options.systemId);
  const pushes = repositories.map(async (repository): Promise<Outcome> => {
    try {
      const outcome = await withDeadline(`archiving ${name}`, timeout, signal, async (either) => {
        const { systemId, ...found } = await checked;
        const target = { name, path, systemId };
        await openForPush(repository, target, { dropped: options.dropped, signal: either });
        return push(repository, target, found.source(either), either);
      });
      return { repository: repository.name, outcome };
    } catch (error) {
      return { repository: repository.name, failure: repositoryFailure(repository.name, error) };
    }
  });
  const answered = Promise.all(pushes);
  // A file that is not what its name says is no fault of a repository.
  await Promise.race([checked, answered]);

  const stop = new AbortController();
  const held = new Delay(pushes, Math.min(PATIENCE, timeout / 10));
  const ahead = Promise.all(
    repositories.map(async (repository, at) => {
      const outcome = await pushes[at];
      if (outcome === undefined || 'failure' in outcome || !(await held.up)) return [];
      const { systemId } = await checked;
      const either = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
      const given = options.systemId;
      return [await lookAhead({ repository, systemId, path, name, files, given, answered, end, signal: either })];
    }),
  );
  const outcomes = await answered;
  const failures = outcomes.flatMap((outcome) => ('failure' in outcome ? [outcome.failure] : []));
  if (failures.length === 0) {
    stop.abort();
    const { systemId } = await checked;
    const each = outcomes.flatMap((outcome) => ('outcome' in outcome ? [outcome] : []));
    const outcome = each.some((one) => one.outcome === 'stored') ? 'stored' : 'present';
    return {
      name,
      systemId,
      outcome,
      repositories: each.map((one) => ({ name: one.repository, outcome: one.outcome })),
    };
  }
  throw failed(name, outcomes, failures, (await ahead).flat());
}

/** Whether repositories that have the file are held up by others. */
class Delay {
  /** True at the first failure, or when an answer is missing after the time; false when all answered well before. */
  readonly up: Promise<boolean>;

  constructor(pushes: readonly Promise<Outcome>[], patience: number) {
    this.up = new Promise((resolve) => {
      const timer = setTimeout(() => resolve(true), patience);
      const watch = async (): Promise<void> => {
        const failing = pushes.map(async (push) => {
          if ('failure' in (await push)) resolve(true);
        });
        await Promise.all(failing);
        clearTimeout(timer);
        resolve(false);
      };
      void watch();
    });
  }
}

function failed(
  name: string,
  outcomes: readonly Outcome[],
  failures: readonly RepositoryFailure[],
  ahead: readonly LookAheadResult[],
): ArchiveError {
  const [first] = failures;
  const cancelled = failures.find(({ error }) => error.code === 'ABORTED');
  if (cancelled !== undefined) return cancelled.error;
  const alone =
    failures.find(({ error }) => error.exitCode === HARD) ?? (failures.length === outcomes.length ? first : undefined);
  if (alone !== undefined) {
    const { code, hint, retriable, details } = alone.error;
    return new ArchiveError(code, failureText(alone), {
      hint,
      retriable,
      cause: alone.error,
      details: { ...details, repository: alone.repository },
    });
  }
  const behind = `${name} is not in every repository: ${failures.map(failureText).join('; ')}`;
  return new ArchiveError('REPOSITORY_BEHIND', [behind, ...ahead.flatMap(aheadText)].join('; '), {
    hint: 'PostgreSQL keeps the file and asks again: mend the repositories that the message names.',
    details: {
      name,
      repositories: outcomes.map((outcome) =>
        'failure' in outcome
          ? { name: outcome.repository, ...reason(outcome.failure) }
          : { name: outcome.repository, outcome: outcome.outcome },
      ),
      ahead: ahead.map(({ repository, stored, failure }) => ({
        name: repository,
        stored,
        ...(failure && reason(failure)),
      })),
    },
  });
}

function aheadText({ repository, stored, failure }: LookAheadResult): readonly string[] {
  return [
    ...(stored > 0 ? [`repository ${repository} got ${stored} more`] : []),
    ...(failure === undefined ? [] : [`no more for repository ${repository}: ${failure.error.message}`]),
  ];
}

function reason({ error: { code, message } }: RepositoryFailure): { readonly code: string; readonly message: string } {
  return { code, message };
}
