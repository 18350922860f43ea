/** The backups of a system as the map needs them, found by one listing. */
import { ArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import type { BackupRecord } from '../repository/backup-record.ts';
import type { BackupCatalog } from '../repository/backups.ts';
import { lackingObjects } from '../restore/lacking-objects.ts';

/** A complete backup. */
export interface MapBackup extends Pick<
  BackupRecord,
  | 'id'
  | 'segmentSize'
  | 'timeline'
  | 'startLsn'
  | 'stopTimeline'
  | 'stopLsn'
  | 'startTime'
  | 'stopTime'
  | 'label'
  | 'dataSize'
> {
  /** What the server said when it found damaged pages. */
  readonly suspect: string | undefined;
  /** Bytes as stored. */
  readonly storedSize: number;
  /** Objects that are not there as they were stored. */
  readonly lacking: readonly string[];
}

export type MapBackupEntry =
  | { readonly state: 'complete'; readonly id: string; readonly backup: MapBackup }
  | { readonly state: 'incomplete'; readonly id: string }
  | { readonly state: 'unreadable'; readonly id: string; readonly message: string };

/** Records that are read at once. */
const AT_ONCE = 8;

/** Lists every backup after the one named, with each of its objects. Errors: those of the storage. */
export async function listMapBackups(
  catalog: BackupCatalog,
  options: CallOptions & { readonly after?: string | undefined } = {},
): Promise<readonly MapBackupEntry[]> {
  const entries: Promise<MapBackupEntry>[] = [];
  const running = new Set<Promise<unknown>>();
  let id: string | undefined;
  let sizes = new Map<string, number>();
  const close = async (): Promise<void> => {
    if (id === undefined) return;
    const entry = readEntry(catalog, id, sizes, options);
    entry.catch(() => undefined); // looked at below, after what may fail before it
    entries.push(entry);
    running.add(entry);
    void entry.then(
      () => running.delete(entry),
      () => running.delete(entry),
    );
    if (running.size >= AT_ONCE) await Promise.race(running);
  };
  for await (const object of catalog.objects(options)) {
    if (object.id !== id) {
      await close();
      id = object.id;
      sizes = new Map();
    }
    sizes.set(object.name, object.size);
  }
  await close();
  return Promise.all(entries);
}

/** Looks at one backup. Errors: those of the storage. */
export async function lookAtMapBackup(
  catalog: BackupCatalog,
  id: string,
  options: CallOptions,
): Promise<MapBackupEntry> {
  return readEntry(catalog, id, await catalog.objectSizes(id, options), options);
}

async function readEntry(
  catalog: BackupCatalog,
  id: string,
  sizes: ReadonlyMap<string, number>,
  options: CallOptions,
): Promise<MapBackupEntry> {
  if (!sizes.has('backup.json')) return { state: 'incomplete', id };
  const entry = await catalog.entry(id, options);
  if (entry.state === 'incomplete') return { state: 'incomplete', id };
  if (entry.state === 'unreadable') return { state: 'unreadable', id, message: entry.error.message };
  return { state: 'complete', id, backup: summaryOf(entry.record, lackingObjects(entry.record, sizes)) };
}

function summaryOf(record: BackupRecord, lacking: readonly string[]): MapBackup {
  const { segmentSize, timeline, startLsn, stopTimeline, stopLsn, startTime, stopTime, label, dataSize } = record;
  const stored = [...record.parts, record.manifest, record.fileList];
  return {
    id: record.id,
    segmentSize,
    timeline,
    startLsn,
    stopTimeline,
    stopLsn,
    startTime,
    stopTime,
    label,
    dataSize,
    suspect: record.suspect?.message,
    storedSize: stored.reduce((sum, { storedSize }) => sum + storedSize, 0),
    lacking,
  };
}

/** The only size of segments that these backups have; undefined without any. Errors: `REPOSITORY_FORMAT` when they differ. */
export function segmentSizeOf(backups: readonly MapBackup[]): number | undefined {
  const [first, ...others] = new Set(backups.map(({ segmentSize }) => segmentSize));
  if (others.length > 0)
    throw new ArchiveError('REPOSITORY_FORMAT', 'backups of one system differ in the size of their segments');
  return first;
}
