/** The small objects beside backups and WAL: the marker, the facts and the commit times. */
import { createHash } from 'node:crypto';
import { isArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import type { Fact } from '../repository/facts.ts';
import { DIGEST_LENGTH, markerKey, parseTimesKey, timesPrefix } from '../repository/layout.ts';
import { readSmall } from '../repository/objects.ts';
import type { Repository } from '../repository/repository.ts';
import { checkSeal } from '../repository/seal.ts';
import { NOTHING, type Unrestorable } from './finding.ts';
import type { Report } from './report.ts';

const MARKER_KEYS = ['format', 'cluster', 'id', 'created', 'sha256'];
const FACT_KEYS = ['kind', 'time', 'data', 'sha256'];

/** Looks at `pgark.json`. `lost` is what no command finds without it. Errors: those of the storage as a whole; `ABORTED`. */
export async function checkMarker(
  repository: Repository,
  report: Report,
  lost: Unrestorable,
  call: CallOptions,
): Promise<void> {
  const key = markerKey(repository.cluster);
  try {
    const bytes = await readSmall(repository.storage, key, call);
    report.looked(bytes.byteLength);
    const fault = sealFault(bytes, MARKER_KEYS);
    if (fault !== undefined) report.found(key, 'damaged', `${key} ${fault}`, NOTHING);
    else await repository.open(call);
  } catch (error) {
    report.failed(key, error, lost);
  }
}

/**
 * Looks at the facts of a subject, all of them or only those of some kinds, and gives those that are whole. One that is lost makes nothing
 * unrestorable. Errors: those of the storage as a whole; `ABORTED`.
 */
export async function checkFacts(
  repository: Repository,
  {
    systemId,
    subject,
    kinds,
  }: { readonly systemId: string; readonly subject: string; readonly kinds?: readonly string[] },
  report: Report,
  call: CallOptions,
): Promise<readonly Fact[]> {
  const whole: Fact[] = [];
  const facts = repository.facts(systemId);
  for await (const { key, kind, time, size } of facts.names({ ...call, subject })) {
    if (kinds?.includes(kind) === false) continue;
    try {
      const bytes = await readSmall(repository.storage, key, call);
      report.looked(size);
      const fault = sealFault(bytes, FACT_KEYS);
      const fact = fault === undefined ? (JSON.parse(Buffer.from(bytes).toString('utf8')) as Fact) : undefined;
      if (fact === undefined || fact.kind !== kind || fact.time !== time)
        report.found(key, 'damaged', `${key} ${fault ?? 'is not the fact of its name'}`);
      else whole.push(fact);
    } catch (error) {
      // Facts may be removed with the backup that they are about.
      if (!isArchiveError(error, 'STORAGE_NOT_FOUND')) report.failed(key, error);
    }
  }
  return whole;
}

/**
 * Looks at the commit times, whose names hold the digest of what is in them. One that is lost makes nothing unrestorable. Errors: those of the
 * storage as a whole; `ABORTED`.
 */
export async function checkTimes(
  repository: Repository,
  systemId: string,
  report: Report,
  call: CallOptions,
): Promise<void> {
  const prefix = timesPrefix(repository.cluster, systemId);
  for await (const { key, size } of repository.storage.list(prefix, call)) {
    const times = parseTimesKey(key.slice(prefix.length));
    if (times === undefined) continue;
    try {
      const bytes = await readSmall(repository.storage, key, call);
      report.looked(size);
      const digest = createHash('sha256').update(bytes).digest('hex').slice(0, DIGEST_LENGTH);
      if (digest !== times.digest) report.found(key, 'damaged', `${key} does not hold what its name says`, NOTHING);
    } catch (error) {
      // It may be removed with the WAL that it is about.
      if (!isArchiveError(error, 'STORAGE_NOT_FOUND')) report.failed(key, error);
    }
  }
}

/** Without a digest an unknown key is one that was altered: later versions write one. */
function sealFault(bytes: Uint8Array, keys: readonly string[]): string | undefined {
  const { sealed, fault } = checkSeal(bytes);
  if (fault !== undefined || sealed) return fault;
  const unknown = Object.keys(JSON.parse(Buffer.from(bytes).toString('utf8')) as object).find(
    (key) => !keys.includes(key),
  );
  return unknown === undefined ? undefined : `has a key that it cannot have: ${unknown}`;
}
