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
const DAMAGE: ReadonlySet<string> = new Set(['damaged', 'invalid', 'conflict']);

/** The newest verification of a subject, for people. */
export interface LastVerify {
  /** Epoch milliseconds. */
  readonly time: number;
  readonly level: string;
  readonly findings: number;
}

/**
 * The damaged objects of one subject by their keys, and what is wrong. A finding holds until a verification has read everything (`full`) and
 * has not found it again: one that reads less may have passed it by. What was healed is none.
 */
export function damagedKeys(facts: readonly Fact[]): ReadonlyMap<string, string> {
  const verifications = facts.filter(({ kind }) => kind === 'verify').sort((one, other) => one.time - other.time);
  const full = verifications.findLastIndex(({ data }) => data['level'] === 'full');
  const damaged = new Map<string, string>();
  for (const { data } of verifications.slice(Math.max(0, full))) {
    const findings: unknown = data['findings'];
    for (const finding of Array.isArray(findings) ? (findings as readonly unknown[]) : []) {
      const { key, problem, message, healedFrom } = finding as Readonly<Record<string, unknown>>;
      if (typeof key !== 'string' || !DAMAGE.has(String(problem))) continue;
      if (healedFrom === undefined) damaged.set(key, typeof message === 'string' ? message : String(problem));
      else damaged.delete(key);
    }
  }
  return damaged;
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
