/** Looks at what a repository holds, as far as its retention depends on it. Reads only. */
import { isArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { parseHistory } from '../postgres/timeline.ts';
import { historyName } from '../postgres/wal-file.ts';
import { parseBackupRecord } from '../repository/backup-record.ts';
import { EXPIRED, type Fact } from '../repository/facts.ts';
import { backupsPrefix, isBackupId } from '../repository/layout.ts';
import { readSmall, signalOf } from '../repository/objects.ts';
import { isObjectFault } from '../repository/repository-failure.ts';
import type { Repository } from '../repository/repository.ts';
import { checkSeal } from '../repository/seal.ts';
import type { BackupState, BrokenRecord, PlannedRecord, SystemState, TimelineWal } from './state.ts';
import { TimelineTree, type History } from './timeline-tree.ts';

export interface SurveyOptions extends CallOptions {
  /** Epoch milliseconds: which leases hold. */
  readonly now: number;
}

/** The subject of the mark that a whole system is being removed. */
export const WHOLE_SYSTEM = 'wal';

/**
 * What a repository holds of a system. What cannot be read, because it is damaged or no key opens it, is told as such. Errors: those of a
 * storage that could not answer.
 */
export async function survey(repository: Repository, systemId: string, options: SurveyOptions): Promise<SystemState> {
  const call = signalOf(options);
  // The marks first, see BackupCatalog.list.
  const facts = await factsOf(repository, systemId, call);
  const leases = await repository.leases(systemId).active(options.now, call);
  const backups = await backupsOf(repository, systemId, facts, call);
  const { wal, tree } = await walOf(repository, systemId, call);
  const marked = facts.get(WHOLE_SYSTEM)?.marked === true;
  const retired = marked && !backups.some(({ state }) => state === 'complete' || state === 'unreadable');
  return { systemId, backups, wal, tree, leases, retired };
}

interface FoundFacts {
  readonly facts: Fact[];
  readonly unread: string[];
  marked: boolean;
}

async function factsOf(
  repository: Repository,
  systemId: string,
  call: CallOptions,
): Promise<ReadonlyMap<string, FoundFacts>> {
  const found = new Map<string, FoundFacts>();
  const store = repository.facts(systemId);
  for await (const name of store.names(call)) {
    const own: FoundFacts = found.get(name.subject) ?? { facts: [], unread: [], marked: false };
    found.set(name.subject, own);
    if (name.kind === EXPIRED) {
      own.marked = true;
      continue; // it says what it says by being there
    }
    try {
      const fact = await store.read(name, call);
      // What it is of is told by its name, whatever is in it.
      own.facts.push({ kind: name.kind, time: name.time, data: fact.data ?? {} });
    } catch (error) {
      if (isArchiveError(error, 'STORAGE_NOT_FOUND')) continue; // removed since the listing
      if (!isArchiveError(error, 'REPOSITORY_FORMAT')) throw error;
      own.unread.push(name.key);
    }
  }
  return found;
}

async function backupsOf(
  repository: Repository,
  systemId: string,
  facts: ReadonlyMap<string, FoundFacts>,
  call: CallOptions,
): Promise<readonly BackupState[]> {
  const prefix = backupsPrefix(repository.cluster, systemId);
  const sums = new Map<string, { objects: number; bytes: number; modified: number; hasRecord: boolean }>();
  for (const [subject, { marked }] of facts)
    if (marked && isBackupId(subject)) sums.set(subject, { objects: 0, bytes: 0, modified: 0, hasRecord: false });
  for await (const { key, size, modified } of repository.storage.list(prefix, call)) {
    const [id = '', ...rest] = key.slice(prefix.length).split('/');
    if (!isBackupId(id) || rest.length === 0) continue;
    const sum = sums.get(id) ?? { objects: 0, bytes: 0, modified: 0, hasRecord: false };
    sums.set(id, {
      objects: sum.objects + 1,
      bytes: sum.bytes + size,
      modified: Math.max(sum.modified, modified),
      hasRecord: sum.hasRecord || rest.join('/') === 'backup.json',
    });
  }
  const backups: BackupState[] = [];
  for (const [id, { hasRecord, ...sum }] of [...sums].sort(([one], [other]) => (one < other ? -1 : 1))) {
    const { facts: own = [], unread = [], marked = false } = facts.get(id) ?? {};
    const read = hasRecord ? await readRecord(repository, systemId, id, call) : undefined;
    const state = marked ? 'expired' : read === undefined ? 'incomplete' : 'record' in read ? 'complete' : 'unreadable';
    backups.push({ id, state, ...read, facts: own, unreadFacts: unread, ...sum });
  }
  return backups;
}

async function readRecord(
  repository: Repository,
  systemId: string,
  id: string,
  call: CallOptions,
): Promise<{ readonly record: PlannedRecord } | { readonly broken: BrokenRecord } | undefined> {
  const key = repository.backups(systemId).objectKey(id, 'backup.json');
  let content: Uint8Array;
  try {
    content = await readSmall(repository.storage, key, call);
  } catch (error) {
    if (isArchiveError(error, 'STORAGE_NOT_FOUND')) return undefined; // removed since the listing
    throw error;
  }
  // What it says may have been changed: where its WAL begins, when it stopped, what it builds on.
  const { sealed, fault } = checkSeal(content);
  if (sealed && fault !== undefined) return { broken: {} };
  const parsed = looseRecord(content);
  try {
    const record = parseBackupRecord(content, key);
    if (record.id !== id || record.systemId !== systemId) return { broken: {} };
    const parent = parsed.parent === 'none' ? undefined : parsed.parent;
    return { record: { ...record, ...(parent === undefined ? {} : { parent }) } };
  } catch (error) {
    if (!isArchiveError(error, 'REPOSITORY_FORMAT')) throw error;
    return { broken: parsed };
  }
}

/** What can be made out of a record that a newer pgark may have written, or that is damaged. */
function looseRecord(content: Uint8Array): BrokenRecord {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(content).toString('utf8'));
  } catch {
    return {};
  }
  if (typeof value !== 'object' || value === null) return {};
  const { parent, kind, timeline, startLsn, segmentSize } = value as Readonly<Record<string, unknown>>;
  const parentOf = typeof parent === 'string' && isBackupId(parent) ? parent : kind === 'full' ? 'none' : undefined;
  return {
    parent: parentOf,
    ...(typeof timeline === 'number' ? { timeline } : {}),
    ...(typeof startLsn === 'string' && /^[0-9A-F]{1,8}\/[0-9A-F]{1,8}$/i.test(startLsn) ? { startLsn } : {}),
    ...(typeof segmentSize === 'number' ? { segmentSize } : {}),
  };
}

async function walOf(
  repository: Repository,
  systemId: string,
  call: CallOptions,
): Promise<{ readonly wal: readonly TimelineWal[]; readonly tree: TimelineTree }> {
  const archive = repository.wal(systemId);
  const wal: TimelineWal[] = [];
  const histories = new Map<number, History>();
  for (const timeline of await archive.timelines(call)) {
    const modified = await archive.lastStored(timeline, call);
    if (modified !== undefined) wal.push({ timeline, modified });
    try {
      const history = timeline === 1 ? undefined : await archive.history(timeline, call);
      if (history !== undefined) histories.set(timeline, parseHistory(history.content, historyName(timeline)));
    } catch (error) {
      // What no key opens, or what two servers wrote, says nothing; what could not be asked is no answer.
      if (!isArchiveError(error) || !(isObjectFault(error) || error.code === 'WAL_CONFLICT')) throw error;
      histories.set(timeline, 'unreadable');
    }
  }
  return { wal, tree: new TimelineTree(histories) };
}
