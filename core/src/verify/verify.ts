/** Looks whether what a repository holds is what was stored, and says what cannot be restored where it is not. */
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { readSegmentHeader } from '../postgres/wal-file.ts';
import type { BackupRecord } from '../repository/backup-record.ts';
import type { BackupEntry } from '../repository/backups.ts';
import type { Fact } from '../repository/facts.ts';
import { readSmall } from '../repository/objects.ts';
import type { Repository } from '../repository/repository.ts';
import { gapsAmong } from '../repository/wal-gaps.ts';
import type { WalArchive } from '../repository/wal.ts';
import { checkBackup } from './backup-check.ts';
import { timelineEndsOf, VERIFY } from './fact.ts';
import type { VerifyLevel } from './finding.ts';
import { Impact } from './impact.ts';
import { Journal } from './journal.ts';
import { checkRecord, type CheckedRecord } from './record-check.ts';
import { Report, type Checked } from './report.ts';
import type { TimelineEnd, VerifiedSubject, VerifyResult } from './result.ts';
import type { VerifySettings } from './settings.ts';
import { checkFacts, checkMarker, checkTimes } from './small-objects.ts';
import { WalCheck } from './wal-check.ts';

/** How far a verification is. */
export interface VerifyProgress {
  readonly repository: string;
  /** The backup that is looked at, or `wal`. */
  readonly subject: string;
  /** Plain bytes that were read, and all of which it is known by now that they are going to be. */
  readonly bytes: number;
  readonly totalBytes: number;
}

export interface VerifyOptions extends CallOptions {
  readonly repository: Repository;
  /** Default `sample`. */
  readonly level?: VerifyLevel;
  /** Ids, or `latest`, each with the WAL that it needs; default `all`. */
  readonly backups?: 'all' | readonly string[];
  /** All of the WAL; default with all backups. */
  readonly wal?: boolean;
  /** By which a sample is drawn; default a random one. */
  readonly seed?: number;
  /** Objects at once, default 4. */
  readonly concurrency?: number;
  /** What an interrupted run has looked at. */
  readonly journal?: Journal;
  /** Backups that other repositories have complete, for what is said of one that is not here. */
  readonly elsewhere?: ReadonlySet<string>;
  /**
   * Milliseconds that are waited for a segment that is missing near the end of a timeline, default 10 s: those behind it may have been archived
   * sooner.
   */
  readonly patience?: number;
  readonly onProgress?: (progress: VerifyProgress) => void;
}

/**
 * Verifies backups and WAL of one repository. Reads only. What is wrong with an object, or keeps it from being looked at, is in the result; so is
 * what ended the run early.
 *
 * Errors: `BACKUP_NOT_FOUND` for a named one that is not there, `REPOSITORY_NOT_FOUND`, those of the storage before anything was looked at.
 */
export async function verify(options: VerifyOptions): Promise<VerifyResult> {
  return new Verification(options).run();
}

/** Milliseconds; see {@link VerifyOptions.patience}. */
const PATIENCE = 10_000;

class Verification {
  readonly #options: VerifyOptions;
  readonly #settings: VerifySettings;
  readonly #subjects: VerifiedSubject[] = [];
  readonly #wanted: 'all' | readonly string[];
  readonly #allWal: boolean;
  #subject = 'repository';
  #bytes = 0;
  #totalBytes = 0;

  constructor(options: VerifyOptions) {
    this.#options = options;
    this.#wanted = options.backups ?? 'all';
    this.#allWal = options.wal ?? this.#wanted === 'all';
    this.#settings = {
      repository: options.repository,
      level: options.level ?? 'sample',
      seed: options.seed ?? newSeed(),
      concurrency: options.concurrency ?? 4,
      call: options.signal === undefined ? {} : { signal: options.signal },
      journal: options.journal ?? new Journal(),
      patience: options.patience ?? PATIENCE,
      onBytes: (bytes) => {
        this.#bytes += bytes;
        this.#tell();
      },
      onPlan: (bytes) => {
        this.#totalBytes += bytes;
        this.#tell();
      },
    };
  }

  async run(): Promise<VerifyResult> {
    const { repository, level, seed, call } = this.#settings;
    const started = Date.now();
    const systems: SystemBackups[] = [];
    for (const systemId of await repository.systemIds(call))
      systems.push({ systemId, entries: await repository.backups(systemId).list(call) });
    if (systems.length === 0) await repository.open(call);
    const chosen = this.#choose(systems);
    let end: Pick<VerifyResult, 'stopped'> = {};
    try {
      await this.#marker(systems);
      for (const system of systems) await this.#system(system, chosen);
    } catch (error) {
      end = { stopped: error };
    }
    const finished = Date.now();
    return { repository: repository.name, level, seed, started, finished, subjects: this.#subjects, ...end };
  }

  /** Ids of the wanted backups. Errors: `BACKUP_NOT_FOUND`. */
  #choose(systems: readonly SystemBackups[]): ReadonlySet<string> {
    const entries = systems.flatMap((system) => system.entries);
    if (this.#wanted === 'all') return new Set(entries.map(({ id }) => id));
    const { name } = this.#settings.repository;
    return new Set(
      this.#wanted.map((id) => {
        const found = id === 'latest' ? latestOf(entries) : entries.find((entry) => entry.id === id)?.id;
        if (found !== undefined) return found;
        const what = id === 'latest' ? 'no complete backup' : `no backup ${id}`;
        throw new ArchiveError('BACKUP_NOT_FOUND', `repository ${name} has ${what}`);
      }),
    );
  }

  async #marker(systems: readonly SystemBackups[]): Promise<void> {
    const { repository, call } = this.#settings;
    const complete = systems.flatMap(({ entries }) => entries.filter(({ state }) => state === 'complete'));
    const backups = complete.map(({ id }) => id);
    await this.#look(undefined, 'repository', (report) => checkMarker(repository, report, { backups }, call));
  }

  async #system({ systemId, entries }: SystemBackups, chosen: ReadonlySet<string>): Promise<void> {
    const { repository, call } = this.#settings;
    const wal = repository.wal(systemId);
    const backups: FoundRecord[] = [];
    for (const { id, state } of entries)
      backups.push({ id, ...(state === 'incomplete' ? undefined : await this.#record(systemId, id)) });
    // One that is damaged would make holes where none are.
    const records = backups.flatMap(({ checked }) =>
      checked?.record === undefined || checked.faults.length > 0 ? [] : [checked.record],
    );
    const timelines = await wal.timelines(call);
    const impact = await Impact.read(wal, records, timelines, call);
    const context = { systemId, wal, records, timelines, impact };
    const ofWal = this.#allWal ? await this.#wal(context) : undefined;
    for (const found of backups) if (chosen.has(found.id)) await this.#backup(found, context, ofWal);
  }

  async #wal({ systemId, wal, records, timelines, impact }: SystemContext): Promise<Checked> {
    const segmentSize = records.at(-1)?.segmentSize ?? (await segmentSizeOf(wal, timelines, this.#settings.call));
    const ends: TimelineEnd[] = [];
    return this.#look(
      systemId,
      'wal',
      async (report) => {
        const facts = await this.#facts(systemId, 'wal', report);
        const before = timelineEndsOf(facts);
        const check = new WalCheck(report, { ...this.#settings, wal, impact, gaps: gapsAmong(facts), before });
        const known = new Set([...timelines, ...impact.timelines, ...before.map(({ timeline }) => timeline)]);
        for (const timeline of [...known].sort((one, other) => one - other)) {
          const isThere = timelines.includes(timeline) || impact.timelines.has(timeline);
          if (timeline > 1 && isThere) await check.history(timeline);
          const stretch = { timeline, first: 0n, segmentSize };
          ends.push(await check.stretch(stretch, { isWhole: true }));
        }
        check.end();
        if (this.#settings.level === 'full')
          await checkTimes(this.#settings.repository, systemId, report, this.#settings.call);
      },
      { timelines: ends },
    );
  }

  async #backup(found: FoundRecord, context: SystemContext, ofWal: Checked | undefined): Promise<void> {
    const { repository, call, level } = this.#settings;
    const { systemId, impact, wal } = context;
    const { id, error, checked } = found;
    const isThere = error !== undefined || checked !== undefined;
    await this.#look(
      systemId,
      id,
      async (report) => {
        const catalog = repository.backups(systemId);
        const key = catalog.objectKey(id, 'backup.json');
        const facts = await this.#facts(systemId, id, report);
        const lost = { backups: [id] };
        if (error !== undefined) return report.failed(key, error, lost);
        if (checked === undefined) {
          const was = facts.some(({ kind }) => kind === VERIFY);
          const there =
            this.#options.elsewhere?.has(id) === true ? '; another repository has it, see "pgark copy"' : '';
          const text = `backup ${id} is incomplete: it runs still, or was interrupted, or its backup.json was removed`;
          if (was) report.found(key, 'missing', `${key} is not there, although the backup was complete`, lost);
          else report.note(text + there);
          return;
        }
        const listed = new Map<string, number>();
        const folder = catalog.objectKey(id, '');
        for await (const info of repository.storage.list(folder, call))
          listed.set(info.key.slice(folder.length), info.size);
        const { record, sealed, faults } = checked;
        for (const fault of faults) report.found(key, 'damaged', fault, lost);
        if (level !== 'chain') report.looked(listed.get('backup.json') ?? 0);
        if (!sealed && faults.length === 0)
          report.note(
            `backup ${id} is of a version that gave backup.json no digest: its label, host, times and tool are not covered`,
          );
        if (record === undefined) return;
        if (ofWal !== undefined) {
          const needsIt = ({ backups }: { readonly backups: readonly string[] }): boolean => backups.includes(id);
          report.adopt(
            ofWal.findings.filter(({ unrestorable }) => needsIt(unrestorable)),
            ofWal.skipped.filter(needsIt),
          );
        } else await this.#ownWal(record, { wal, impact, report });
        await checkBackup({ record, vouched: sealed && faults.length === 0, catalog, listed }, report, this.#settings);
        const isMissing = report.findings.some(({ problem }) => problem === 'missing');
        if (isMissing && (await this.#record(systemId, id)) === undefined)
          report.withdraw(`backup ${id} was removed while it was verified`);
      },
      isThere ? {} : { isIncomplete: true },
    );
  }

  /** The WAL that one backup needs. */
  async #ownWal(
    record: BackupRecord,
    { wal, impact, report }: Pick<SystemContext, 'wal' | 'impact'> & { readonly report: Report },
  ): Promise<void> {
    const { segmentSize, stopTimeline, timeline } = record;
    const check = new WalCheck(report, { ...this.#settings, wal, impact, gaps: [], before: [] });
    const [need] = impact.needsOf(new Set([record.id]));
    for (const history of need?.wal.histories ?? (stopTimeline === timeline ? [] : [stopTimeline]))
      await check.history(history);
    for (const run of need?.wal.runs ?? []) await check.stretch({ ...run, segmentSize }, { isWhole: false });
    check.end();
  }

  /**
   * Reads the record of a backup; undefined without one. What keeps it from being read is its own. Errors: those of the storage as a whole;
   * `ABORTED`.
   */
  async #record(systemId: string, id: string): Promise<Omit<FoundRecord, 'id'> | undefined> {
    const { repository, call } = this.#settings;
    const key = repository.backups(systemId).objectKey(id, 'backup.json');
    try {
      const bytes = await readSmall(repository.storage, key, call);
      return { checked: checkRecord(bytes, { key, id, systemId, cluster: repository.cluster }) };
    } catch (error) {
      if (isArchiveError(error, 'STORAGE_NOT_FOUND')) return undefined;
      if (!isArchiveError(error) || error.retriable || error.code === 'ABORTED') throw error;
      return { error };
    }
  }

  /** What is on record; all of it is looked at with `full` only. */
  async #facts(systemId: string, subject: string, report: Report): Promise<readonly Fact[]> {
    const { repository, level, call } = this.#settings;
    const kinds = level === 'full' ? {} : { kinds: ['gap', VERIFY] };
    return checkFacts(repository, { systemId, subject, ...kinds }, report, call);
  }

  async #look(
    systemId: string | undefined,
    subject: string,
    work: (report: Report) => Promise<void>,
    more: Pick<VerifiedSubject, 'timelines' | 'isIncomplete'> = {},
  ): Promise<Checked> {
    const report = new Report();
    const started = Date.now();
    this.#subject = subject;
    this.#tell();
    await work(report);
    this.#subjects.push({ systemId, subject, started, finished: Date.now(), report, ...more });
    return report;
  }

  #tell(): void {
    this.#options.onProgress?.({
      repository: this.#settings.repository.name,
      subject: this.#subject,
      bytes: this.#bytes,
      totalBytes: this.#totalBytes,
    });
  }
}

interface SystemBackups {
  readonly systemId: string;
  readonly entries: readonly BackupEntry[];
}

/** A backup and its record, if it has one and it could be read. */
interface FoundRecord {
  readonly id: string;
  readonly checked?: CheckedRecord;
  readonly error?: ArchiveError;
}

interface SystemContext {
  readonly systemId: string;
  readonly wal: WalArchive;
  readonly records: readonly BackupRecord[];
  readonly timelines: readonly number[];
  readonly impact: Impact;
}

/** A random seed, short enough to be typed. */
export function newSeed(): number {
  return Math.floor(Math.random() * 1e9);
}

function latestOf(entries: readonly BackupEntry[]): string | undefined {
  const complete = entries.flatMap((entry) => (entry.state === 'complete' ? [entry.record] : []));
  return complete.sort((one, other) => Date.parse(other.stopTime) - Date.parse(one.stopTime))[0]?.id;
}

/** Any, for names alone. */
const SOME_SIZE = 16 * 1024 * 1024;

/** The size of a segment where no backup says it, from the head of any. */
async function segmentSizeOf(wal: WalArchive, timelines: readonly number[], call: CallOptions): Promise<number> {
  for (const timeline of timelines) {
    for await (const object of wal.segments(timeline, { ...call, segmentSize: SOME_SIZE })) {
      try {
        for await (const chunk of wal.read(object, call)) return readSegmentHeader(chunk, object.file.name).segmentSize;
      } catch (error) {
        // Another segment may be whole; what is wrong with this one is found when it is looked at.
        if (!isArchiveError(error) || error.retriable || error.code === 'ABORTED') throw error;
      }
    }
  }
  return SOME_SIZE;
}
