/** Finds what nothing accounts for, and removes it: what was interrupted, or is there twice. */
import type { CallOptions, ObjectInfo } from '../contracts/storage.ts';
import { EXPIRED } from '../repository/facts.ts';
import {
  backupIdTime,
  backupsPrefix,
  isBackupId,
  parseTimesKey,
  probesPrefix,
  timesPrefix,
} from '../repository/layout.ts';
import { describeLease, LEASE_MARGIN } from '../repository/lease.ts';
import { signalOf } from '../repository/objects.ts';
import type { Repository } from '../repository/repository.ts';
import type { WalObject, WalSlice } from '../repository/wal.ts';
import { exclusively } from './exclusive.ts';
import { durationText, timeText } from './plan.ts';
import { Removal, type RemovalCount } from './removal.ts';
import type { SystemState } from './state.ts';
import { survey } from './survey.ts';
import { TimesUse } from './times-use.ts';
import { fileOf } from './wal-stretches.ts';

/** Milliseconds for which nothing is taken for abandoned. */
export const GRACE: number = 7 * 86_400_000;

export interface GarbageOptions extends CallOptions {
  /** Milliseconds, default {@link GRACE}: younger ones may be at work still. */
  readonly grace?: number;
  /** Epoch milliseconds; default `Date.now`. */
  readonly now?: () => number;
}

/** Objects of one kind that belong together. */
export interface Garbage {
  /**
   * `backup`: of one that never got its record; `slices`: of segments that are there whole; `lease`: that has ended; `times`: of WAL that
   * is gone; `facts`: of a backup that is gone; `probe`: of `pgark check`.
   */
  readonly kind: 'backup' | 'slices' | 'lease' | 'times' | 'facts' | 'probe';
  /** Undefined for a probe. */
  readonly systemId: string | undefined;
  /** The id of a backup, a timeline, or how many. */
  readonly subject: string;
  readonly objects: number;
  readonly bytes: number;
  readonly action: 'keep' | 'remove';
  /** What follows `kept because` or `removed because`. */
  readonly reason: string;
}

export interface RunGarbageOptions extends GarbageOptions {
  readonly onProgress?: (done: RemovalCount) => void;
  readonly onFailure?: (error: unknown) => void;
}

export interface GarbageResult extends RemovalCount {
  readonly found: readonly Garbage[];
}

/** Says what would be removed. Nothing is written. Errors: those of the repository. */
export async function planGarbage(repository: Repository, options: GarbageOptions): Promise<readonly Garbage[]> {
  await repository.open(signalOf(options));
  const look = new Look(repository, options, (options.now ?? Date.now)());
  return (await look.all()).map(({ garbage }) => garbage);
}

/** Removes what nothing accounts for. Errors: `RETENTION_BUSY`, those of the repository. */
export async function runGarbage(repository: Repository, options: RunGarbageOptions): Promise<GarbageResult> {
  const { now = Date.now, onProgress } = options;
  await repository.open(signalOf(options));
  const systemIds = await repository.systemIds(signalOf(options));
  return exclusively(repository, systemIds, { ...options, now, command: 'gc' }, async (held) => {
    const removal = new Removal(repository, {
      ...signalOf(options),
      check: () => held.check(),
      ...(onProgress === undefined ? {} : { onProgress }),
    });
    const found = await new Look(repository, options, held.now).all();
    for (const { garbage, remove } of found) if (garbage.action === 'remove') await remove(removal);
    return { found: found.map(({ garbage }) => garbage), ...removal.count };
  });
}

/** Something that was found, and how it is removed. */
interface Found {
  readonly garbage: Garbage;
  readonly remove: (removal: Removal) => Promise<unknown>;
}

type Small = Pick<ObjectInfo, 'key' | 'size' | 'modified'>;

class Look {
  readonly #repository: Repository;
  readonly #call: CallOptions;
  readonly #now: number;
  readonly #grace: number;

  constructor(repository: Repository, { grace = GRACE, ...options }: GarbageOptions, now: number) {
    this.#repository = repository;
    this.#call = signalOf(options);
    this.#now = now;
    this.#grace = grace;
  }

  async all(): Promise<readonly Found[]> {
    const found: Found[] = [];
    for (const systemId of await this.#repository.systemIds(this.#call)) {
      const system = await survey(this.#repository, systemId, { ...this.#call, now: this.#now });
      found.push(...this.#backups(system));
      found.push(...(await this.#wal(systemId)));
      found.push(...(await this.#facts(system)));
      found.push(...(await this.#leases(systemId)));
    }
    found.push(...(await this.#probes()));
    return found;
  }

  #isYoung(time: number): boolean {
    return time > this.#now - this.#grace;
  }

  get #age(): string {
    return durationText(this.#grace);
  }

  /** Backups that run still, or never got to their end. Both the time of the id and those of the storage must be old: a clock may be wrong. */
  #backups(system: SystemState): readonly Found[] {
    const { systemId } = system;
    return system.backups.flatMap(({ id, state, objects, bytes, modified }): Found[] => {
      if (state !== 'incomplete') return [];
      const common = { kind: 'backup', systemId, subject: id, objects, bytes } as const;
      const lease = leaseOn(system, id);
      const isYoung = this.#isYoung(Math.max(modified, backupIdTime(id) ?? modified));
      const kept =
        lease ?? (isYoung ? `it has no backup.json, but is younger than ${this.#age}: it may run still` : undefined);
      if (kept !== undefined)
        return [{ garbage: { ...common, action: 'keep', reason: kept }, remove: async () => undefined }];
      const reason = `it has no backup.json, and nothing was added to it for ${this.#age}`;
      const prefix = `${backupsPrefix(this.#repository.cluster, systemId)}${id}/`;
      return [
        {
          garbage: { ...common, action: 'remove', reason },
          remove: (removal) =>
            removal.removeFrom(
              (after) =>
                this.#repository.storage.list(prefix, {
                  ...this.#call,
                  ...(after === undefined ? {} : { startAfter: after }),
                }),
              () => true,
            ),
        },
      ];
    });
  }

  /** Slices of segments that are there whole, and times of WAL that is gone; from one listing. */
  async #wal(systemId: string): Promise<readonly Found[]> {
    const archive = this.#repository.wal(systemId);
    const times = new TimesUse(await this.#times(systemId));
    const isCovered = sliceFilter();
    const sums = new Map<number, { objects: number; bytes: number; young: number }>();
    for await (const entry of archive.everything(this.#call)) {
      times.see(fileOf(entry));
      if (!isCovered(entry)) continue;
      const { timeline } = fileOf(entry);
      const sum = sums.get(timeline) ?? { objects: 0, bytes: 0, young: 0 };
      sums.set(
        timeline,
        this.#isYoung(entry.modified)
          ? { ...sum, young: sum.young + 1 }
          : { ...sum, objects: sum.objects + 1, bytes: sum.bytes + entry.size },
      );
    }
    const found = [...sums].flatMap(([timeline, { objects, bytes, young }]): Found[] => {
      const common = { kind: 'slices', systemId, subject: `timeline ${timeline}` } as const;
      const kept: Garbage = {
        ...common,
        objects: young,
        bytes: 0,
        action: 'keep',
        reason: `their segments are there whole, but they are younger than ${this.#age}`,
      };
      const reason = `their segments are there whole, and they are older than ${this.#age}`;
      const isCoveredAgain = sliceFilter();
      const gone: Found = {
        garbage: { ...common, objects, bytes, action: 'remove', reason },
        remove: (removal) =>
          removal.removeFrom(
            (after) => archive.everything({ ...this.#call, ...(after === undefined ? {} : { after }) }),
            (entry) => isCoveredAgain(entry) && fileOf(entry).timeline === timeline && !this.#isYoung(entry.modified),
          ),
      };
      return [...(objects > 0 ? [gone] : []), ...(young > 0 ? [{ garbage: kept, remove: async () => undefined }] : [])];
    });
    const unused = times.unused().filter(({ modified }) => !this.#isYoung(modified));
    return [...found, ...group('times', systemId, unused, 'none of the WAL that they are of is there')];
  }

  async #times(systemId: string): Promise<readonly (Small & { readonly parsed: ReturnType<typeof parseTimesKey> })[]> {
    const prefix = timesPrefix(this.#repository.cluster, systemId);
    const found: (Small & { readonly parsed: ReturnType<typeof parseTimesKey> })[] = [];
    for await (const { key, size, modified } of this.#repository.storage.list(prefix, this.#call))
      found.push({ key, size, modified, parsed: parseTimesKey(key.slice(prefix.length)) });
    return found;
  }

  /** Facts of backups that are not there, and are not being removed either. */
  async #facts(system: SystemState): Promise<readonly Found[]> {
    const { systemId } = system;
    const bySubject = new Map<string, (Small & { readonly kind: string; readonly time: number })[]>();
    for await (const fact of this.#repository.facts(systemId).names(this.#call))
      bySubject.set(fact.subject, [...(bySubject.get(fact.subject) ?? []), fact]);
    const lost = [...bySubject].flatMap(([subject, facts]) => {
      const isThere = system.backups.some(({ id }) => id === subject);
      const isMarked = facts.some(({ kind }) => kind === EXPIRED);
      const isYoung = facts.some(({ time, modified }) => this.#isYoung(Math.max(time, modified)));
      if (!isBackupId(subject) || isThere || isMarked || isYoung || leaseOn(system, subject) !== undefined) return [];
      return facts;
    });
    return group('facts', systemId, lost, 'the backups that they are of are not there');
  }

  async #leases(systemId: string): Promise<readonly Found[]> {
    const ended = (await this.#repository.leases(systemId).list(this.#call)).filter(
      ({ until }) => until + LEASE_MARGIN < this.#now,
    );
    return group(
      'lease',
      systemId,
      ended.map(({ key }) => ({ key, size: 0, modified: 0 })),
      'they have ended',
    );
  }

  async #probes(): Promise<readonly Found[]> {
    const probes: Small[] = [];
    for await (const probe of this.#repository.storage.list(probesPrefix(this.#repository.cluster), this.#call))
      if (!this.#isYoung(probe.modified)) probes.push(probe);
    return group('probe', undefined, probes, `"pgark check" left them more than ${this.#age} ago`);
  }
}

function group(
  kind: Garbage['kind'],
  systemId: string | undefined,
  objects: readonly Small[],
  reason: string,
): readonly Found[] {
  if (objects.length === 0) return [];
  const bytes = objects.reduce((sum, { size }) => sum + size, 0);
  const subject = `${objects.length} of them`;
  return [
    {
      garbage: { kind, systemId, subject, objects: objects.length, bytes, action: 'remove', reason },
      remove: (removal) => removal.remove(objects),
    },
  ];
}

function leaseOn({ leases }: SystemState, id: string): string | undefined {
  const lease = leases.find(
    ({ content }) => content === undefined || content.backups === 'all' || content.backups.includes(id),
  );
  return lease === undefined ? undefined : `${describeLease(lease)} uses it until ${timeText(lease.until)}`;
}

/** Tells, in the order of the keys, which entries are slices of a segment that is there whole: it comes just before them. */
function sliceFilter(): (entry: WalObject | WalSlice) => boolean {
  let whole: string | undefined;
  return (entry) => {
    if ('segment' in entry) return entry.segment.name === whole;
    if (entry.file.kind === 'segment') whole = entry.file.name;
    return false;
  };
}
