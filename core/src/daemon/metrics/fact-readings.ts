/** What is on record of verifications and drills: it outlives every process. */
import type { StatusDone } from '../../archive/status.ts';
import type { DrillRecord } from '../../drill/drill-result.ts';
import type { KeyedFact } from '../../repository/facts.ts';
import { parseVerifyFact, type VerifyFact } from '../../verify/fact.ts';
import { reading, seconds, type Reading } from './reading.ts';

/** Of the system that counts, in the repositories of these names. */
export function* factReadings({ status: { map, system } }: StatusDone, names: readonly string[]): Generator<Reading> {
  for (const { name, state } of map.repositories) {
    const { wal, facts } = state.systems.find(({ systemId }) => systemId === system?.systemId) ?? {};
    yield* reading('pgark_repository_wal_segments', wal?.segments ?? 0, { repository: name });
    yield* verifyReadings(name, facts ?? []);
  }
  const records = (system?.drills ?? []).map(({ data }) => data as unknown as DrillRecord);
  for (const repository of names)
    yield* drillReadings(
      repository,
      records.filter((record) => record.repository === repository),
    );
}

function* verifyReadings(repository: string, facts: readonly KeyedFact[]): Generator<Reading> {
  const all = facts.flatMap(({ fact }) => parseVerifyFact(fact) ?? []);
  for (const level of new Set(all.map((fact) => fact.level))) {
    const own = all.filter((fact) => fact.level === level);
    const newest = own.reduce((one, other) => (Date.parse(other.finished) > Date.parse(one.finished) ? other : one));
    // One run leaves a fact for each backup and one for the WAL, all with the seed of the run.
    const run = own.filter(({ seed }) => seed === newest.seed);
    const labels = { repository, level };
    yield* reading('pgark_verify_last_timestamp_seconds', seconds(newest.finished), labels);
    yield* reading(
      'pgark_verify_last_damaged_objects',
      run.reduce((sum, fact) => sum + damagedOf(fact), 0),
      labels,
    );
    yield* reading(
      'pgark_verify_last_skipped_objects',
      run.reduce((sum, { skipped }) => sum + skipped.objects, 0),
      labels,
    );
  }
}

/** What was healed is damaged no more. */
function damagedOf({ findingCount, findings, others = [] }: VerifyFact): number {
  return findingCount - [...findings, ...others].filter(({ healedFrom }) => healedFrom !== undefined).length;
}

/** Of the drills of one repository, newest first. */
function* drillReadings(repository: string, records: readonly DrillRecord[]): Generator<Reading> {
  const last = (outcome: DrillRecord['outcome']): DrillRecord | undefined =>
    records.find((record) => record.outcome === outcome);
  const proven = last('proven');
  yield* reading('pgark_drill_last_success_timestamp_seconds', seconds(proven?.finished), { repository });
  for (const outcome of ['failed', 'inconclusive'] as const)
    yield* reading('pgark_drill_last_failure_timestamp_seconds', seconds(last(outcome)?.finished), {
      repository,
      outcome,
    });
  for (const [phase, duration] of Object.entries(proven?.phases ?? {}))
    yield* reading('pgark_drill_duration_seconds', duration, { repository, phase });
}
