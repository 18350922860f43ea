/** Carries out what a plan says. */
import type { ArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import type { BackupRecord } from '../repository/backup-record.ts';
import { SharedLease } from '../repository/shared-lease.ts';
import { carryFollowing, carryNeeded, checkNeeded, type CarryOptions } from './carry-wal.ts';
import { copyBackup, copyFacts } from './copy-backup.ts';
import { failureOf, within, type CopyFailure } from './failures.ts';
import type { CopyOptions, CopyPlan, PlannedBackup } from './plan.ts';
import { checkQuiet } from './quiet-target.ts';
import { neededWal, type WalScope } from './wal-scope.ts';

/** How far a copy is. */
export interface CopyProgress {
  /** `backup`: its objects, and the WAL that it needs; `wal`: what follows. */
  readonly stage: 'backup' | 'wal';
  /** The backup that is being copied. */
  readonly id?: string;
  /** Plain bytes that have passed, and all that there are. */
  readonly bytes: number;
  readonly totalBytes: number;
  /** WAL files and slices that were written. */
  readonly wal: number;
}

export interface RunCopyOptions extends Pick<CopyOptions, 'source' | 'target'>, CallOptions {
  /** Told where no lease could be written, so that what is copied is not protected there. */
  readonly onWarning?: (warning: string) => void;
  /** Objects at once, default 4. */
  readonly concurrency?: number;
  readonly onProgress?: (progress: CopyProgress) => void;
}

/** What became of one backup. */
export interface CopiedBackup {
  readonly id: string;
  readonly systemId: string;
  /** `present`: the target had it. `unfinished`: the copy was ended before. */
  readonly state: 'copied' | 'present' | 'failed' | 'unfinished';
  /** Objects that were written, and objects that the target had from an earlier try. */
  readonly copied: number;
  readonly kept: number;
  /** Bytes that were written. */
  readonly storedBytes: number;
  readonly error?: ArchiveError;
}

export interface CopyResult {
  readonly backups: readonly CopiedBackup[];
  /** WAL files and slices that were written, and their plain bytes. */
  readonly wal: { readonly copied: number; readonly plainBytes: number };
  /** What could not be copied, in the order in which it was tried. */
  readonly failures: readonly CopyFailure[];
  /** What ended the copy before its time, such as a storage that is away. */
  readonly stopped?: unknown;
}

/**
 * Copies the backups of a plan, oldest first, each after the WAL that it needs, then the WAL that follows. Nothing in the target is changed
 * or removed; what an earlier try left there is used. A backup exists in the target when all of it is there, not before.
 *
 * Never throws what happened on the way: it is in the result, beside what was done. One damaged object costs its backup or WAL file;
 * anything else, an abort among it, ends the copy.
 */
export async function runCopy(plan: CopyPlan, options: RunCopyOptions): Promise<CopyResult> {
  return new Copy(plan, options).run();
}

const NOTHING = { copied: 0, kept: 0, storedBytes: 0 };

class Copy {
  readonly #plan: CopyPlan;
  readonly #options: RunCopyOptions;
  readonly #call: CallOptions;
  readonly #concurrency: number;
  readonly #backups: CopiedBackup[] = [];
  readonly #failures: CopyFailure[];
  readonly #totalBytes: number;
  #wal = { copied: 0, plainBytes: 0 };
  #stage: Pick<CopyProgress, 'stage' | 'id'> = { stage: 'backup' };
  #bytes = 0;

  constructor(plan: CopyPlan, options: RunCopyOptions) {
    this.#plan = plan;
    this.#options = options;
    this.#call = options.signal === undefined ? {} : { signal: options.signal };
    this.#concurrency = options.concurrency ?? 4;
    this.#failures = [...plan.failures];
    this.#totalBytes = plan.backups.reduce((sum, { plainBytes }) => sum + plainBytes, plan.walCount.plainBytes);
  }

  async run(): Promise<CopyResult> {
    const { source, target, onWarning } = this.#options;
    let end: Pick<CopyResult, 'stopped'> = {};
    const lease = new SharedLease({ ...this.#call, command: 'copy', onWarning: (text) => onWarning?.(text) });
    try {
      await within(target, () => target.open({ ...this.#call, create: true }));
      for (const systemId of new Set(this.#plan.backups.map(({ record }) => record.systemId))) {
        const own = this.#plan.backups.filter(({ record }) => record.systemId === systemId);
        const scope = { backups: own.map(({ record }) => record.id), wal: 'all' } as const;
        await lease.takeOne(source, systemId, scope);
        const time = await lease.takeOne(target, systemId, scope);
        const now = Math.min(Date.now(), time ?? Infinity);
        await within(target, () => checkQuiet(target, systemId, { ...this.#call, now }));
      }
      for (const planned of this.#plan.backups) this.#backups.push(await this.#backup(planned));
      for (const [systemId, scope] of this.#plan.following) {
        this.#begin({ stage: 'wal' });
        // Before the WAL: a hole that is on record is none to a receiver that looks how far the archive goes.
        await this.#attempt('the facts of the WAL', () => copyFacts(systemId, 'wal', this.#options));
        this.#failures.push(...(await carryFollowing(scope, this.#carry(systemId))));
        await this.#times(systemId, scope);
      }
    } catch (error) {
      end = { stopped: error };
    } finally {
      await lease.release();
    }
    for (const { record } of this.#plan.backups.slice(this.#backups.length))
      this.#backups.push({ id: record.id, systemId: record.systemId, state: 'unfinished', ...NOTHING });
    return { backups: this.#backups, wal: this.#wal, failures: this.#failures, ...end };
  }

  async #backup({ record, state, error }: PlannedBackup): Promise<CopiedBackup> {
    const { id, systemId } = record;
    if (error !== undefined) return { id, systemId, state: 'failed', ...NOTHING, error };
    this.#begin({ stage: 'backup', id });
    let objects: Pick<CopiedBackup, 'copied' | 'kept' | 'storedBytes'> = NOTHING;
    const failed = await this.#attempt(id, async () => {
      if (state === 'present') {
        await copyFacts(systemId, id, this.#options);
        return;
      }
      await this.#ownWal(record);
      const { copied, kept, storedBytes } = await copyBackup(record, {
        ...this.#options,
        concurrency: this.#concurrency,
        onBytes: (bytes) => this.#passed(bytes),
      });
      objects = { copied, kept, storedBytes };
    });
    if (failed !== undefined) return { id, systemId, state: 'failed', ...NOTHING, error: failed };
    return { id, systemId, state: state === 'present' ? 'present' : 'copied', ...objects };
  }

  /** Sees to it that the target has the WAL of a backup. */
  async #ownWal(record: BackupRecord): Promise<void> {
    const { id, systemId } = record;
    const { source } = this.#options;
    const carry = this.#carry(systemId);
    const scope = await within(source, () => neededWal(record, source.wal(systemId), this.#call));
    if (this.#plan.wal === 'none') await checkNeeded(carry, scope, { id, carry: false });
    else await carryNeeded(scope, id, carry);
    if (this.#plan.wal === 'needed') await this.#times(systemId, scope);
  }

  /** What is known of when transactions ended in the WAL that was carried. */
  async #times(systemId: string, { stretches }: WalScope): Promise<void> {
    const { source, target } = this.#options;
    for (const { timeline, ...range } of stretches)
      await source.times(systemId).copyTo(target.times(systemId), timeline, range, this.#call);
  }

  /** Gives the failure of one object; throws what ends the copy. */
  async #attempt(subject: string, work: () => Promise<unknown>): Promise<ArchiveError | undefined> {
    try {
      await work();
      return undefined;
    } catch (error) {
      const failure = failureOf(subject, error);
      this.#failures.push(failure);
      return failure.error;
    }
  }

  #carry(systemId: string): CarryOptions {
    const { source, target } = this.#options;
    return {
      ...this.#call,
      source,
      target,
      systemId,
      concurrency: this.#concurrency,
      onStored: (bytes) => {
        this.#wal = { copied: this.#wal.copied + 1, plainBytes: this.#wal.plainBytes + bytes };
        this.#passed(bytes);
      },
    };
  }

  #begin(stage: Pick<CopyProgress, 'stage' | 'id'>): void {
    this.#stage = stage;
    this.#passed(0);
  }

  #passed(bytes: number): void {
    this.#bytes += bytes;
    this.#options.onProgress?.({
      ...this.#stage,
      bytes: this.#bytes,
      totalBytes: this.#totalBytes,
      wal: this.#wal.copied,
    });
  }
}
