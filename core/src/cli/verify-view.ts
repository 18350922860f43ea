/** What `pgark verify` says of its results. */
import { findingsOf, skippedOf } from '../archive/verify-failure.ts';
import type { Verification } from '../archive/verify.ts';
import { isArchiveError, type ArchiveError } from '../contracts/errors.ts';
import { factOf, verdictOf, type Verdict } from '../verify/fact.ts';
import { describeUnrestorable, type Finding } from '../verify/finding.ts';
import type { HealOutcome } from '../verify/replace.ts';
import type { VerifiedSubject, VerifyResult } from '../verify/result.ts';
import type { VerifyProgress } from '../verify/verify.ts';
import { count, formatBytes, formatDuration } from '../documents/format.ts';
import { ByteProgress } from './byte-progress.ts';
import type { Output } from './output.ts';

/** How many findings, and objects that were not checked, are told one by one. */
const SHOWN = 50;

export function printVerifications(output: Output, shown: readonly Verification[]): void {
  for (const [at, one] of shown.entries()) {
    if (at > 0) output.line();
    if ('error' in one) output.line(`repository ${one.repository}: not checked: ${one.error.message}`);
    else print(output, one.result, one.healed);
  }
}

function print(output: Output, result: VerifyResult, healed: readonly HealOutcome[]): void {
  const { repository, level, seed, subjects, stopped } = result;
  const drawn = level === 'sample' ? `, drawn with seed ${seed}` : '';
  output.line(`repository ${repository}: level ${level}${drawn}`);
  const several = new Set(subjects.flatMap(({ systemId }) => systemId ?? [])).size > 1;
  output.table(
    subjects.filter(({ systemId, report }) => systemId !== undefined || report.findingCount + report.skippedCount > 0),
    [
      { title: 'SUBJECT', value: ({ subject }) => subject },
      ...(several ? [{ title: 'SYSTEM', value: ({ systemId }: VerifiedSubject) => systemId }] : []),
      { title: 'STATE', value: (subject) => stateOf(subject, result) },
      { title: 'OBJECTS', value: ({ report }) => report.objects },
      { title: 'STORED', value: ({ report }) => formatBytes(report.bytes), align: 'right' },
      { title: 'FINDINGS', value: ({ report }) => report.findingCount },
      { title: 'NOT CHECKED', value: ({ report }) => report.skippedCount },
    ],
  );
  const findings = findingsOf(result);
  const reasons = new Map(healed.map((outcome) => [outcome.key, outcome]));
  for (const finding of findings.slice(0, SHOWN)) printFinding(output, finding, reasons.get(finding.key));
  if (findings.length > SHOWN) output.line(`and ${count(findings.length - SHOWN, 'more finding')}, see --json`);
  const skipped = skippedOf(result);
  for (const { key, message } of skipped.slice(0, SHOWN))
    output.line(`not checked: ${message.includes(key) ? message : `${key}: ${message}`}`);
  if (skipped.length > SHOWN) output.line(`not checked: ${skipped.length - SHOWN} more, see --json`);
  for (const note of new Set(subjects.flatMap(({ report }) => report.notes))) output.line(`note: ${note}`);
  if (stopped instanceof Error) output.line(`ended early: ${stopped.message}`);
  output.line(`checked in ${formatDuration(result.finished - result.started)}`);
}

function printFinding(output: Output, finding: Finding, outcome: HealOutcome | undefined): void {
  const { problem, message, unrestorable, healedFrom } = finding;
  output.line(`${healedFrom === undefined ? problem : `${problem}, healed`}: ${message}`);
  if (healedFrom !== undefined) output.line(`  a good copy came from repository ${healedFrom}`);
  else output.line(`  unrestorable: ${describeUnrestorable(unrestorable)}`);
  if (outcome?.reason !== undefined) output.line(`  not healed: ${outcome.reason}`);
}

function stateOf({ report, started, finished, isIncomplete }: VerifiedSubject, { level, seed }: VerifyResult): string {
  if (isIncomplete === true && report.findingCount === 0) return 'incomplete';
  const verdict = verdictOf(factOf({ systemId: '', subject: '', report, started, finished }, { level, seed }));
  return verdict === 'damaged' ? 'DAMAGED' : verdict === 'unknown' ? 'unknown' : 'good';
}

/** For programs. */
export function verifyJson(shown: readonly Verification[]): readonly unknown[] {
  return shown.map((one) => {
    if ('error' in one) return { repository: one.repository, error: errorJson(one.error) };
    const { result, healed, unrecorded } = one;
    const { repository, level, seed, started, finished, subjects, stopped } = result;
    return {
      repository,
      level,
      seed,
      started: new Date(started).toISOString(),
      finished: new Date(finished).toISOString(),
      complete: stopped === undefined,
      ...(isArchiveError(stopped) ? { stopped: errorJson(stopped) } : {}),
      recorded: unrecorded === undefined && stopped === undefined,
      subjects: subjects.map((subject) => ({
        subject: subject.subject,
        ...(subject.systemId === undefined ? {} : { systemId: subject.systemId }),
        state: verdictJson(subject, result),
        objects: subject.report.objects,
        bytes: subject.report.bytes,
        findingCount: subject.report.findingCount,
        findings: subject.report.findings,
        skippedCount: subject.report.skippedCount,
        skipped: subject.report.skipped,
        notes: subject.report.notes,
        ...(subject.timelines === undefined ? {} : { timelines: subject.timelines }),
      })),
      healed,
    };
  });
}

function verdictJson(subject: VerifiedSubject, result: VerifyResult): Verdict | 'incomplete' {
  if (subject.isIncomplete === true && subject.report.findingCount === 0) return 'incomplete';
  return verdictOf(factOf(subject, result));
}

function errorJson({ code, message, hint }: ArchiveError): Readonly<Record<string, string>> {
  return { code, message, hint };
}

/** Turns the progress of a verification into one line of text. */
export class VerifyProgressText {
  readonly #bar: boolean;
  readonly #bytes: ByteProgress;
  #progress: VerifyProgress | undefined;

  /** With `bar` a bar is drawn. */
  constructor(options: { readonly bar: boolean }) {
    this.#bar = options.bar;
    this.#bytes = new ByteProgress(options);
  }

  update(progress: VerifyProgress): void {
    this.#progress = progress;
    this.#bytes.update(progress.bytes);
  }

  toString(): string {
    if (this.#progress === undefined) return 'verify: reading the records';
    const { repository, subject, totalBytes } = this.#progress;
    const share = this.#bytes.text(totalBytes);
    return this.#bar ? share : `verify: repository ${repository}: ${subject}: ${share}`;
  }
}
