/** What verifications have found to be damaged, as far as it still holds. */
import { isArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import type { Fact } from '../repository/facts.ts';
import type { Repository } from '../repository/repository.ts';

/**
 * The facts of a subject, but for those that cannot be read: what was found out earlier only warns, and must not cost a restore. Errors: those of
 * the storage.
 */
export async function readableFacts(
  repository: Repository,
  systemId: string,
  subject: string,
  options: CallOptions,
): Promise<readonly Fact[]> {
  const facts = repository.facts(systemId);
  const found: Fact[] = [];
  for await (const name of facts.names({ ...options, subject })) {
    try {
      found.push(await facts.read(name, options));
    } catch (error) {
      if (!isArchiveError(error, 'REPOSITORY_FORMAT')) throw error;
    }
  }
  return found;
}

/** Problems that say that an object cannot be used. One that was missing is missing as long as no listing has it. */
const DAMAGE: ReadonlySet<string> = new Set(['damaged', 'invalid', 'conflict', 'unreadable']);

/** The newest verification of a subject, for people. */
export interface LastVerify {
  /** Epoch milliseconds. */
  readonly time: number;
  readonly level: string;
  readonly findings: number;
}

/** A fact, and whether it is of a backup or of the WAL (`wal`). */
export interface SubjectFact {
  readonly subject: string;
  readonly fact: Fact;
}

/**
 * The damaged objects of one subject by their keys, and what is wrong. A finding holds until a verification has read everything (`full`) and
 * has not found it again: one that reads less may have passed it by. What was healed is none.
 */
export function damagedKeys(facts: readonly Fact[]): ReadonlyMap<string, string> {
  return gathered(sinceFull(facts));
}

/**
 * The same for the WAL, of which the verification of a backup tells too: that of what the backup needs. It holds until all of the WAL, or that
 * of the backup, was read.
 */
export function damagedWal(facts: readonly SubjectFact[]): ReadonlyMap<string, string> {
  const bySubject = new Map<string, Fact[]>();
  for (const { subject, fact } of facts) bySubject.set(subject, [...(bySubject.get(subject) ?? []), fact]);
  const ofAll = sinceFull(bySubject.get('wal') ?? []);
  const full = ofAll.find(isFull)?.time ?? -Infinity;
  const ofBackups = [...bySubject].flatMap(([subject, own]) =>
    subject === 'wal' ? [] : sinceFull(own).filter(({ time }) => time > full),
  );
  const all = gathered([...ofAll, ...ofBackups]);
  return new Map([...all].filter(([key]) => !key.includes('/backups/')));
}

/** How many objects verifications have found damaged, of which no fact says which they are. */
export function unnamedDamage(facts: readonly Fact[]): number {
  return sinceFull(facts).reduce((most, { data }) => {
    const { findingCount } = data;
    return Math.max(most, typeof findingCount === 'number' ? findingCount - findingsOf(data).length : 0);
  }, 0);
}

function isFull({ data }: Fact): boolean {
  return data['level'] === 'full';
}

/** The verifications from the last one on that has read everything, oldest first. */
function sinceFull(facts: readonly Fact[]): readonly Fact[] {
  const verifications = facts.filter(({ kind }) => kind === 'verify').sort((one, other) => one.time - other.time);
  return verifications.slice(Math.max(0, verifications.findLastIndex(isFull)));
}

function gathered(verifications: readonly Fact[]): ReadonlyMap<string, string> {
  const damaged = new Map<string, string>();
  for (const { data } of verifications.toSorted((one, other) => one.time - other.time)) {
    for (const { key, problem, message, healedFrom } of findingsOf(data)) {
      if (typeof key !== 'string' || !DAMAGE.has(String(problem))) continue;
      if (healedFrom === undefined) damaged.set(key, typeof message === 'string' ? message : String(problem));
      else damaged.delete(key);
    }
  }
  return damaged;
}

/** Those that are told in full, and those by their keys alone. */
function findingsOf({ findings, others }: Fact['data']): readonly Readonly<Record<string, unknown>>[] {
  return [findings, others].flatMap((list) =>
    Array.isArray(list) ? (list as Readonly<Record<string, unknown>>[]) : [],
  );
}

/** The newest verification among the facts of a subject. */
export function lastVerify(facts: readonly Fact[]): LastVerify | undefined {
  const last = facts
    .filter(({ kind }) => kind === 'verify')
    .reduce<Fact | undefined>((best, one) => (best === undefined || one.time > best.time ? one : best), undefined);
  if (last === undefined) return undefined;
  const { level, findings } = last.data;
  return { time: last.time, level: String(level), findings: Array.isArray(findings) ? findings.length : 0 };
}
