/** The result of a verification as a fact of the repository. */
import { isArchiveError, type ArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import type { Fact } from '../repository/facts.ts';
import type { Repository } from '../repository/repository.ts';
import type { Finding, VerifyLevel } from './finding.ts';
import type { TimelineEnd, VerifiedSubject, VerifyResult } from './result.ts';

/** The kind of such a fact. */
export const VERIFY = 'verify';

/** Findings that a fact tells in full, and objects that it says were skipped. */
const TOLD = 50;
const LONGEST = 500;

/** What a fact of a verification says of its subject, a backup or the WAL. Times are ISO 8601 in UTC. */
export interface VerifyFact {
  readonly level: VerifyLevel;
  readonly started: string;
  readonly finished: string;
  /** By which a sample was drawn. */
  readonly seed: number;
  /** Objects that were looked at, and their bytes as stored. */
  readonly checked: { readonly objects: number; readonly bytes: number };
  /** How many objects could not be looked at, and some of them. */
  readonly skipped: {
    readonly objects: number;
    readonly some: readonly { readonly key: string; readonly message: string }[];
  };
  /** How many findings there were, healed ones among them; the first of them are told. */
  readonly findingCount: number;
  readonly findings: readonly Finding[];
  /** Of the others, as far as the run has kept them, only which objects they are: a restore must know of each. */
  readonly others?: readonly Pick<Finding, 'key' | 'problem' | 'healedFrom'>[];
  /** Of the WAL: what there was of each timeline. */
  readonly timelines?: readonly TimelineEnd[];
}

/** What there is to say of a backup or the WAL by its last verification. */
export type Verdict = 'good' | 'damaged' | 'unknown';

/** `unknown` when something could not be looked at, and nothing that was is damaged. */
export function verdictOf({
  findings,
  others = [],
  findingCount,
  skipped,
}: Pick<VerifyFact, 'findings' | 'others' | 'findingCount' | 'skipped'>): Verdict {
  const healed = [...findings, ...others].filter(({ healedFrom }) => healedFrom !== undefined).length;
  if (findingCount > healed) return 'damaged';
  return skipped.objects > 0 ? 'unknown' : 'good';
}

/** Adds the results of a run to the repository. Gives why that was not possible, or undefined. Errors: `ABORTED`. */
export async function recordResults(
  repository: Repository,
  result: VerifyResult,
  options: CallOptions = {},
): Promise<ArchiveError | undefined> {
  for (const subject of result.subjects) {
    const { systemId, finished } = subject;
    // One that has no record may run still: that it was looked at once must not make it one that has lost its record.
    const isUnknown = subject.isIncomplete === true && subject.report.findingCount === 0;
    if (systemId === undefined || isUnknown) continue;
    const data = { ...factOf(subject, result) };
    try {
      await repository.facts(systemId).add(subject.subject, { kind: VERIFY, time: finished, data }, options);
    } catch (error) {
      if (!isArchiveError(error) || error.code === 'ABORTED') throw error;
      return error;
    }
  }
  return undefined;
}

/** What a fact says, bounded in its size. */
export function factOf(
  { report, started, finished, timelines }: VerifiedSubject,
  { level, seed }: Pick<VerifyResult, 'level' | 'seed'>,
): VerifyFact {
  // Those that were not healed first: they are what counts.
  const findings = [...report.findings].sort(
    (one, other) => Number(one.healedFrom !== undefined) - Number(other.healedFrom !== undefined),
  );
  const others = findings
    .slice(TOLD)
    .map(({ key, problem, healedFrom }) => ({ key, problem, ...(healedFrom !== undefined && { healedFrom }) }));
  const cut = (message: string): string => (message.length > LONGEST ? `${message.slice(0, LONGEST)}...` : message);
  return {
    level,
    started: new Date(started).toISOString(),
    finished: new Date(finished).toISOString(),
    seed,
    checked: { objects: report.objects, bytes: report.bytes },
    skipped: {
      objects: report.skippedCount,
      some: report.skipped.slice(0, TOLD).map(({ key, message }) => ({ key, message: cut(message) })),
    },
    findingCount: report.findingCount,
    findings: findings.slice(0, TOLD).map((finding) => ({
      ...finding,
      message: cut(finding.message),
      unrestorable: { ...finding.unrestorable, backups: finding.unrestorable.backups.slice(0, TOLD) },
    })),
    ...(others.length === 0 ? {} : { others }),
    ...(timelines === undefined ? {} : { timelines }),
  };
}

/** Reads a fact; undefined for one that says something else than this version writes. */
export function parseVerifyFact({ kind, data }: Fact): VerifyFact | undefined {
  const fact = data as Partial<VerifyFact>;
  const isOne =
    kind === VERIFY &&
    (fact.level === 'chain' || fact.level === 'sample' || fact.level === 'full') &&
    typeof fact.finished === 'string' &&
    Array.isArray(fact.findings) &&
    typeof fact.findingCount === 'number' &&
    typeof fact.skipped?.objects === 'number';
  return isOne ? (fact as VerifyFact) : undefined;
}

/** How far the WAL went by the last of these facts. */
export function timelineEndsOf(facts: readonly Fact[]): readonly TimelineEnd[] {
  return facts.flatMap((fact) => parseVerifyFact(fact) ?? []).at(-1)?.timelines ?? [];
}
