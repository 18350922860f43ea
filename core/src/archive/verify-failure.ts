/** What verifications come to. */
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import type { Finding, Skipped } from '../verify/finding.ts';
import type { VerifiedSubject, VerifyResult } from '../verify/result.ts';
import type { Verification } from './verify.ts';

/** Each once: what a backup needs of the WAL is told with both. */
export function findingsOf({ subjects }: VerifyResult): readonly Finding[] {
  const all = subjects.flatMap(({ report }) => report.findings);
  return [...new Map(all.map((finding) => [`${finding.key} ${finding.message}`, finding])).values()];
}

/** Each once. */
export function skippedOf({ subjects }: VerifyResult): readonly Skipped[] {
  return [...new Map(subjects.flatMap(({ report }) => report.skipped).map((one) => [one.key, one])).values()];
}

/** What keeps a verification from being good: damage before what could not be checked. Undefined when all is good. */
export function verifyFailure(
  shown: readonly Verification[],
  { wantsBackups }: { readonly wantsBackups: boolean },
): ArchiveError | undefined {
  const results = shown.flatMap((one) => ('result' in one ? [one.result] : []));
  const aborted = results.map(({ stopped }) => stopped).find((stopped) => isArchiveError(stopped, 'ABORTED'));
  const open = results.flatMap((result) => findingsOf(result).filter(({ healedFrom }) => healedFrom === undefined));
  const [first] = open;
  if (first !== undefined) {
    const more = open.length > 1 ? `, and ${count(open.length - 1, 'other finding')}` : '';
    return new ArchiveError('VERIFY_DAMAGED', `${first.message}${more}`, {
      details: { findings: open.length },
    });
  }
  if (isArchiveError(aborted)) return aborted;
  // Of the only repository its own words.
  const [only, another] = shown;
  if (only !== undefined && another === undefined && 'error' in only) return only.error;
  const failures = [
    ...shown.flatMap((one) => ('error' in one ? [one.error.message] : [])),
    ...results.flatMap(({ stopped }) => (stopped instanceof Error ? [stopped.message] : [])),
    ...results.flatMap((result) => skippedOf(result).map(({ message }) => message)),
  ];
  const [why] = failures;
  if (why === undefined) return wantsBackups ? noBackup(results) : undefined;
  const more = failures.length > 1 ? `, and ${failures.length - 1} more` : '';
  return new ArchiveError('VERIFY_INCOMPLETE', `not everything could be checked: ${why}${more}`);
}

/** Where there is no backup all may be good, and nothing can be restored. */
function noBackup(results: readonly VerifyResult[]): ArchiveError | undefined {
  const isBackup = ({ systemId, subject, isIncomplete }: VerifiedSubject): boolean =>
    systemId !== undefined && subject !== 'wal' && isIncomplete !== true;
  if (results.some(({ subjects }) => subjects.some(isBackup))) return undefined;
  return new ArchiveError('BACKUP_NOT_FOUND', 'there is no complete backup to verify', {
    hint: 'Take one with "pgark backup".',
  });
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}
