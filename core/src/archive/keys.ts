import type { RepositoryConfig } from '../config/config.ts';
import type { Codec } from '../contracts/codec.ts';
import { isArchiveError, type ArchiveError } from '../contracts/errors.ts';
import { surveyKeys, type KeySurvey } from '../keys/survey.ts';
import { keyFailure, keyStateOf, type KeyState } from '../keys/verdict.ts';
import { isNotMade } from '../repository/late-parts.ts';
import type { Repository } from '../repository/repository.ts';
import { showingOptions } from './backups.ts';
import type { ChosenRepositories, LongCall, Outcome } from './call.ts';
import { errorOf } from './telling.ts';
import type { Workplace } from './workplace.ts';

export interface KeysCall extends Omit<LongCall<{ readonly objects: number }>, 'onEvent'>, ChosenRepositories {
  /** Looks at every object, one small read each. Default false: at some of the WAL, and the smallest object of each backup. */
  readonly all?: boolean;
}

export interface KeysDone extends Outcome {
  readonly repositories: readonly RepositoryKeys[];
}

/** A codec whose suffix is in use. */
export interface UsedCodec {
  readonly suffix: string;
  /** Absent when it cannot be had. */
  readonly id?: string;
  readonly problem?: ArchiveError;
}

/** A codec that new objects go through. */
export interface WritingCodec {
  readonly id: string;
  readonly suffix?: string;
  /** Absent for codecs without keys. */
  readonly keyIds?: readonly string[];
  /** Whether it could be made. Where one could not, nothing is written. */
  readonly available: boolean;
}

/** The codecs that a repository writes through, by its section of the config: what could not be made is not left out. */
export function writingCodecs(
  { codecs }: { readonly codecs: readonly Codec[] },
  section: Pick<RepositoryConfig, 'codecs'> | undefined,
): readonly WritingCodec[] {
  if (section !== undefined && section.codecs.length !== codecs.length)
    return section.codecs.map(({ use }) => ({ id: use, available: false }));
  return codecs.map((codec) => {
    const { id, suffix, keyIds } = codec;
    if (isNotMade(codec)) return { id, suffix, available: false };
    return { id, suffix, available: true, ...(keyIds === undefined ? {} : { keyIds }) };
  });
}

/** What was found out about one repository. */
export type RepositoryKeys = {
  readonly repository: string;
  readonly writes: readonly WritingCodec[];
  readonly readOnly: boolean;
} & (
  | { readonly state: KeyState; readonly survey: KeySurvey; readonly used: readonly UsedCodec[] }
  | { readonly state: 'empty' }
  | { readonly state: 'failed'; readonly error: ArchiveError }
);

/** See `Archive.keys`. */
export async function keys(at: Workplace, call: KeysCall): Promise<KeysDone> {
  const { config, logger, signal } = at;
  const { all = false } = call;
  const events = await at.hooks();
  const { repositories } = await at.open({ ...showingOptions(config), repositories: call.repositories ?? [] });
  const atHand = { identities: config.restore.identities.length > 0, signal };
  const unreadable: ArchiveError[] = [];
  const failed: ArchiveError[] = [];
  const empty: ArchiveError[] = [];
  let objects = 0;
  const onLook = (): void => {
    objects++;
    call.onProgress?.({ objects });
  };
  const look = async (repository: Repository): Promise<RepositoryKeys> => {
    const section = config.repositories.find(({ name }) => name === repository.name);
    const writes = writingCodecs(repository, section);
    const facts = { repository: repository.name, writes, readOnly: section?.readOnly === true };
    try {
      const survey = await surveyKeys(repository, { all, signal, onLook });
      const state = await keyStateOf(repository, survey.rows, atHand);
      const failure = keyFailure(repository, survey.rows, state);
      if (failure !== undefined) unreadable.push(failure);
      const scope = 'survey';
      if (state === 'readable') events.emit('key.readable', { repository: repository.name, scope });
      if (state === 'unreadable' && failure !== undefined)
        events.emit('key.unreadable', { repository: repository.name, scope, message: failure.message });
      const suffixes = [...new Set(survey.rows.flatMap((row) => row.suffixes ?? []))];
      const used = await Promise.all(suffixes.map((suffix) => usedCodec(repository, suffix)));
      return { ...facts, state, survey, used };
    } catch (error) {
      const known = errorOf(error);
      if (known.code === 'ABORTED') throw known;
      if (isArchiveError(known, 'REPOSITORY_NOT_FOUND')) {
        empty.push(known);
        return { ...facts, state: 'empty' };
      }
      failed.push(known);
      return { ...facts, state: 'failed', error: known };
    }
  };
  const looked = await Promise.all(repositories.map(look));
  const [failure, ...others] = [...unreadable, ...failed, ...(empty.length === looked.length ? empty : [])];
  for (const { code, message } of others) logger.error({ code }, message);
  return { repositories: looked, failure };
}

async function usedCodec(
  repository: { codecFor(suffix: string): Promise<{ readonly id: string }> },
  suffix: string,
): Promise<UsedCodec> {
  try {
    return { suffix, id: (await repository.codecFor(suffix)).id };
  } catch (error) {
    return { suffix, problem: errorOf(error) };
  }
}
