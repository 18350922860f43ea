/** One backup: its record, its objects, and what they say of each other. */
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import { atOnce } from '../copy/at-once.ts';
import { Digest } from '../pipeline/digest.ts';
import { hashInThread } from '../pipeline/hash-thread.ts';
import type { BackupObject, BackupPart, BackupRecord } from '../repository/backup-record.ts';
import type { BackupCatalog } from '../repository/backups.ts';
import { clusterFaults } from './cluster-check.ts';
import { drawFor, evenDraw } from './draw.ts';
import { manifestFaults, readIndex, readManifestOf, type ReadIndex } from './file-index.ts';
import { checkPart } from './part-check.ts';
import { checkListing, strangersOf } from './record-check.ts';
import type { Problem, Unrestorable } from './finding.ts';
import { isClosed, problemOf, type Report } from './report.ts';
import type { VerifySettings } from './settings.ts';

/** Parts of a backup that a sample reads beside the last one of `base`, which has `pg_control`. */
const SAMPLED_PARTS = 3;

/** A backup whose record can be read, and what a listing shows beside it. */
export interface ListedBackup {
  readonly record: BackupRecord;
  /** Whether its own digest says that the record is what was written. */
  readonly vouched: boolean;
  readonly catalog: BackupCatalog;
  /** Bytes by name. */
  readonly listed: ReadonlyMap<string, number>;
}

/** Looks at the objects of a backup, as far as the level says. What is found goes to the report. Errors: those of the storage as a whole; `ABORTED`. */
export async function checkBackup(backup: ListedBackup, report: Report, settings: VerifySettings): Promise<void> {
  await new BackupCheck(backup, report, settings).run();
}

class BackupCheck {
  readonly #record: BackupRecord;
  readonly #vouched: boolean;
  readonly #catalog: BackupCatalog;
  readonly #listed: ReadonlyMap<string, number>;
  readonly #report: Report;
  readonly #settings: VerifySettings;
  /** Objects of which the listing says enough. */
  readonly #amiss = new Set<string>();

  constructor({ record, vouched, catalog, listed }: ListedBackup, report: Report, settings: VerifySettings) {
    this.#record = record;
    this.#vouched = vouched;
    this.#catalog = catalog;
    this.#listed = listed;
    this.#report = report;
    this.#settings = settings;
  }

  async run(): Promise<void> {
    for (const { name, problem, text } of checkListing(this.#record, this.#listed)) {
      this.#amiss.add(name);
      this.#found(name, problem, text);
    }
    const strangers = strangersOf(this.#record, this.#listed);
    if (strangers.length > 0)
      this.#report.note(`backup ${this.#record.id} has objects that it does not name, ${strangers[0]} among them`);
    if (this.#settings.level === 'chain') {
      for (const size of this.#listed.values()) this.#report.looked(size);
      return;
    }
    const parts = this.#drawn().filter(({ name }) => !this.#amiss.has(name));
    this.#settings.onPlan(parts.reduce((sum, { plainSize }) => sum + plainSize, 0));
    const index = await this.#index();
    if (index === undefined) {
      // Without it nothing says what is in the parts, but their bytes can still be held against the record.
      await this.#each(parts, (part, signal) => this.#storedBytes(part, signal));
      return;
    }
    await this.#each(parts, (part, signal) => this.#part(part, index, signal));
  }

  #drawn(): readonly BackupPart[] {
    const { parts, id } = this.#record;
    if (this.#settings.level === 'full') return parts;
    const control = parts.findLast(({ archive }) => archive === 'base');
    const others = parts.filter((part) => part !== control);
    const drawn = evenDraw(others.length, SAMPLED_PARTS, drawFor(this.#settings.seed, id));
    return [...others.filter((_, at) => drawn.has(at)), ...(control === undefined ? [] : [control])];
  }

  /** What manifest and file list say together; undefined without either. */
  async #index(): Promise<ReadIndex | undefined> {
    const { manifest, fileList } = this.#record;
    const read = await this.#object(manifest, async (source, name) => {
      const found = await readManifestOf(source, name);
      // The manifest vouches for itself.
      for (const fault of manifestFaults(found, this.#record))
        this.#found('backup.json', 'invalid', `is contradicted by the manifest, which ${fault}`);
      return { value: found, faults: [] };
    });
    if (read === undefined) {
      if (!this.#amiss.has(fileList.name)) await this.#storedBytes(fileList, this.#settings.call.signal);
      return undefined;
    }
    return this.#object(fileList, async (source, name) => {
      const found = await readIndex(source, name, { manifest: read, record: this.#record });
      return { value: found, faults: found.faults };
    });
  }

  async #part(part: BackupPart, { files }: ReadIndex, signal: AbortSignal): Promise<void> {
    const { journal, onBytes, repository } = this.#settings;
    const key = `${repository.name} ${this.#key(part.name)}`;
    if (journal.isGood(key, part.storedSize)) {
      onBytes(part.plainSize);
      this.#report.looked(part.storedSize);
      return;
    }
    const locations = new Map(this.#record.tablespaces.map(({ oid, location }) => [oid, location]));
    const before = this.#report.findingCount + this.#report.skippedCount;
    await this.#object(
      part,
      async (source) => {
        const { faults, contents } = await checkPart(source, part, { files, locations, onBytes });
        for (const fault of clusterFaults(this.#record, contents))
          this.#found('backup.json', 'invalid', `is contradicted: ${fault}`);
        return { value: contents, faults };
      },
      signal,
    );
    if (this.#report.findingCount + this.#report.skippedCount === before) journal.good(key, part.storedSize);
  }

  /**
   * Reads an object through its codecs. Gives undefined when it is not whole, or what is in it is not right, or it could not be opened; that
   * is told.
   */
  async #object<Value>(
    object: BackupObject,
    read: (
      source: AsyncIterable<Uint8Array>,
      name: string,
    ) => Promise<{ readonly value: Value; readonly faults: readonly string[] }>,
    signal: AbortSignal | undefined = this.#settings.call.signal,
  ): Promise<Value | undefined> {
    if (this.#amiss.has(object.name)) return undefined;
    try {
      const source = this.#catalog.readObject(this.#record.id, object, signal === undefined ? {} : { signal });
      const { value, faults } = await read(source, object.name);
      this.#report.looked(object.storedSize);
      for (const fault of faults) this.#found(object.name, 'invalid', fault);
      return value;
    } catch (error) {
      if (isClosed(error)) await this.#closed(object, error, signal);
      else this.#failed(object, error);
      return undefined;
    }
  }

  /** An altered header looks like one for another key: the digest of the stored bytes needs no key, and tells them apart (H-60). */
  async #closed(object: BackupObject, error: ArchiveError, signal: AbortSignal | undefined): Promise<void> {
    if (!(await this.#storedBytes(object, signal))) return;
    this.#report.skip(
      this.#key(object.name),
      new ArchiveError(error.code, `its stored bytes are whole, but it cannot be opened: ${error.message}`),
      this.#unrestorable(),
    );
  }

  /** Holds the stored bytes of an object against the record, and gives whether they are those. */
  async #storedBytes(object: BackupObject, signal: AbortSignal | undefined): Promise<boolean> {
    const key = this.#key(object.name);
    const digest = new Digest(hashInThread);
    try {
      const source = this.#settings.repository.storage.get(key, signal === undefined ? {} : { signal });
      for await (const chunk of digest.tap(source)) void chunk;
      if (digest.size !== object.storedSize || digest.sha256 !== object.storedSha256)
        throw new ArchiveError(
          'STORAGE_CORRUPT',
          `${key} should have SHA-256 ${object.storedSha256}, the storage gave other bytes`,
        );
      this.#report.looked(object.storedSize);
      return true;
    } catch (error) {
      this.#failed(object, error);
      return false;
    }
  }

  async #each(
    parts: readonly BackupPart[],
    work: (part: BackupPart, signal: AbortSignal) => Promise<unknown>,
  ): Promise<void> {
    const { concurrency, call } = this.#settings;
    await atOnce(parts, { concurrency, ...call }, async (part, signal) => void (await work(part, signal)));
  }

  #failed({ name, storedSize }: BackupObject, error: unknown): void {
    const isGone = isArchiveError(error, 'STORAGE_NOT_FOUND');
    if (!isGone) this.#report.looked(storedSize);
    if (problemOf(error) === undefined) return this.#report.failed(this.#key(name), error, this.#unrestorable());
    const doubt = this.#vouched || isGone ? '' : ' (or it is backup.json that was altered)';
    const message = error instanceof Error ? error.message : String(error);
    this.#report.found(this.#key(name), problemOf(error) ?? 'damaged', message + doubt, this.#unrestorable());
  }

  #found(name: string, problem: Problem, fault: string): void {
    const key = this.#key(name);
    this.#report.found(key, problem, `${key} ${fault}`, this.#unrestorable());
  }

  #unrestorable(): Unrestorable {
    return { backups: [this.#record.id] };
  }

  #key(name: string): string {
    return this.#catalog.objectKey(this.#record.id, name);
  }
}
