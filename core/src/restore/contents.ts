/** The files of a backup: what there must be, and putting it in place. */
import { readFile, stat } from 'node:fs/promises';
import { ArchiveError, throwIfAborted } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { parseBackupLabel } from '../postgres/backup-label.ts';
import { CONTROL_FILE_PATH, parseControlFile } from '../postgres/control-file.ts';
import { formatLsn, parseLsn } from '../postgres/lsn.ts';
import { ManifestReader, type ManifestFile } from '../postgres/manifest.ts';
import type { BackupPart } from '../repository/backup-record.ts';
import { readFileList } from '../repository/file-list.ts';
import { BackgroundSync } from './background-sync.ts';
import { plainName, type BackupSource } from './backup-source.ts';
import { isRestored } from './file-check.ts';
import { FileTree } from './file-tree.ts';
import type { Owner } from './owner.ts';
import type { RestorePlan } from './plan-types.ts';
import type { RestoreProgress } from './restore.ts';
import { restoreError } from './restore-error.ts';
import { PENDING_CONTROL_FILE, unpackPart } from './unpack-part.ts';

export interface ContentsOptions extends CallOptions {
  readonly source: BackupSource;
  readonly owner: Owner | undefined;
  /** Whether files are synced as they are completed. */
  readonly durable: boolean;
  /** Parts that are read at once. */
  readonly concurrency: number;
  readonly onProgress: (progress: RestoreProgress) => void;
  /** Called with the plain name of a part when all its files are written. */
  readonly onPart: (name: string) => Promise<void>;
}

const DIRECTORY_MODE = 0o700;
const GROUP_READ = 0o040;

export class Contents {
  readonly #plan: RestorePlan;
  readonly #options: ContentsOptions;
  readonly #base: FileTree;
  readonly #trees = new Map<string, FileTree>();
  #files: ReadonlyMap<string, ManifestFile> = new Map();
  /** Paths that are not in place yet. */
  readonly #pending = new Set<string>();
  /** Parts whose files are in place already. */
  readonly #present = new Set<string>();
  readonly #syncs: BackgroundSync;
  #bytes = 0;
  #fileMode = 0o600;

  constructor(plan: RestorePlan, directory: string, options: ContentsOptions) {
    this.#plan = plan;
    this.#options = options;
    this.#syncs = new BackgroundSync(options.durable);
    const tree = (root: string): FileTree =>
      new FileTree(root, { owner: options.owner, directoryMode: DIRECTORY_MODE });
    this.#base = tree(directory);
    for (const { oid, to } of plan.tablespaces) this.#trees.set(oid, tree(to ?? `${directory}/pg_tblspc/${oid}`));
  }

  /** Mode of files in the data directory: those of a cluster with group access can be read by the group. */
  get fileMode(): number {
    return this.#fileMode;
  }

  get files(): number {
    return this.#files.size;
  }

  /** Bytes of the files that are in place. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether the file in this place was made durable while it was written. */
  isDurable(place: Buffer): boolean {
    return this.#syncs.has(place);
  }

  report(stage: RestoreProgress['stage']): void {
    const files = this.#files.size - this.#pending.size;
    this.#options.onProgress({ stage, bytes: this.#bytes, totalBytes: this.#plan.backup.dataSize, files });
  }

  /** Reads the manifest, and puts it in place byte for byte. */
  async load(): Promise<void> {
    const { source } = this.#options;
    this.#files = await source.read(this.#plan.backup.manifest, (bytes) => this.#manifest(bytes), this.#options);
    for (const path of this.#files.keys()) this.#pending.add(path);
  }

  async #manifest(source: AsyncIterable<Uint8Array>): Promise<ReadonlyMap<string, ManifestFile>> {
    const { backup, systemId } = this.#plan;
    const files = new Map<string, ManifestFile>();
    const reader = new ManifestReader({ file: (file) => void files.set(file.path, file) });
    const handle = await this.#base.create('backup_manifest', this.#fileMode);
    try {
      for await (const chunk of source) {
        reader.push(chunk);
        await handle.writeFile(chunk);
      }
    } finally {
      await handle.close();
    }
    const summary = reader.end();
    if (summary.systemId !== undefined && summary.systemId !== systemId)
      throw new ArchiveError('BACKUP_CORRUPT', `the manifest of backup ${backup.id} is of system ${summary.systemId}`);
    if (!files.has(CONTROL_FILE_PATH))
      throw new ArchiveError('BACKUP_CORRUPT', `the manifest of backup ${backup.id} names no ${CONTROL_FILE_PATH}`);
    return files;
  }

  /**
   * Looks which of these parts are in place whole, file by file: after a crash of the machine a file may be shorter than it was
   * written. Gives the bytes that need not be read again.
   */
  async check(parts: readonly string[]): Promise<number> {
    const { backup } = this.#plan;
    const before = new Set(parts.map(plainName));
    const claimed = new Map(backup.parts.map((part) => [plainName(part.name), part]));
    for (const name of claimed.keys()) if (!before.has(name)) claimed.delete(name);
    const { found, damaged } = await this.#options.source.read(
      backup.fileList,
      (list, name) => this.#inPlace(readFileList(list, name), claimed),
      this.#options,
    );
    for (const [name, part] of claimed) {
      if (damaged.has(name)) continue;
      this.#present.add(part.name);
      for (const { path, size } of found.get(name) ?? []) {
        this.#pending.delete(path);
        this.#bytes += size;
      }
    }
    return this.#bytes;
  }

  /** The files of these parts that are in place, by part, and the parts of which one is not. */
  async #inPlace(
    list: ReturnType<typeof readFileList>,
    parts: ReadonlyMap<string, BackupPart>,
  ): Promise<{
    readonly found: ReadonlyMap<string, readonly { readonly path: string; readonly size: number }[]>;
    readonly damaged: ReadonlySet<string>;
  }> {
    const found = new Map<string, { readonly path: string; readonly size: number }[]>();
    const damaged = new Set<string>();
    for await (const { path, part } of list) {
      const file = this.#files.get(path);
      if (file === undefined || !parts.has(part) || damaged.has(part)) continue;
      if (path === CONTROL_FILE_PATH || !(await isRestored(this.#place(path), file, this.#options.signal))) {
        damaged.add(part);
        continue;
      }
      found.set(part, [...(found.get(part) ?? []), { path, size: file.size }]);
      this.report('checking');
    }
    return { found, damaged };
  }

  #place(path: string): Buffer {
    const match = /^pg_tblspc\/([1-9][0-9]*)\/(.+)$/.exec(path);
    const tree = this.#trees.get(match?.[1] ?? '');
    return tree === undefined ? this.#base.place(path) : tree.place(match?.[2] ?? '');
  }

  /** Writes all files, `pg_control` last and under another name. Gives the data directory. */
  async unpack(): Promise<FileTree> {
    try {
      await this.#unpackAll();
    } catch (error) {
      await this.#syncs.finish().catch(() => undefined); // what failed first is told
      throw error;
    }
    await this.#syncs.finish();
    const [missing] = this.#pending;
    if (missing !== undefined)
      throw new ArchiveError(
        'BACKUP_CORRUPT',
        `${this.#pending.size} files of the manifest are in no part, ${missing} among them`,
      );
    await this.#checkStart();
    await this.#adoptModes();
    return this.#base;
  }

  async #unpackAll(): Promise<void> {
    const parts = this.#plan.backup.parts.filter(({ name }) => !this.#present.has(name));
    const last = parts.findLast(({ archive }) => archive === 'base');
    // The largest one first: begun last, it would be read alone in the end.
    await this.#each(parts.filter((part) => part !== last).toSorted((one, other) => other.plainSize - one.plainSize));
    // The part with pg_control.
    if (last !== undefined) await this.#part(last, this.#options.signal);
  }

  /** Several parts at once; the first failure ends the others. */
  async #each(parts: readonly BackupPart[]): Promise<void> {
    const failed = new AbortController();
    const { signal } = this.#options;
    const either = signal === undefined ? failed.signal : AbortSignal.any([signal, failed.signal]);
    const waiting = [...parts];
    let failure: { readonly error: unknown } | undefined;
    const worker = async (): Promise<void> => {
      for (let part = waiting.shift(); part !== undefined; part = waiting.shift()) {
        try {
          await this.#part(part, either);
        } catch (error) {
          failure ??= { error };
          failed.abort();
          return;
        }
      }
    };
    await Promise.all(Array.from({ length: this.#options.concurrency }, worker));
    if (failure !== undefined) throw failure.error;
  }

  async #part(part: BackupPart, signal: AbortSignal | undefined): Promise<void> {
    throwIfAborted(signal, 'the restore');
    const { backup } = this.#plan;
    const { archive, name } = part;
    const tree = archive === 'base' ? this.#base : this.#trees.get(archive);
    if (tree === undefined)
      throw new ArchiveError('BACKUP_CORRUPT', `part ${name} of backup ${backup.id} is of no tablespace`);
    const cancel = signal === undefined ? {} : { signal };
    await this.#options.source.read(part, (source, object) => this.#unpack(part, tree, source, object), cancel);
    await this.#options.onPart(plainName(name));
  }

  /** Writes the files of a part. Those of a copy that fails do not count: another one begins anew. */
  async #unpack(
    { archive }: BackupPart,
    tree: FileTree,
    source: AsyncIterable<Uint8Array>,
    name: string,
  ): Promise<void> {
    let written = 0;
    const complete: string[] = [];
    try {
      await unpackPart(source, name, {
        archive,
        tree,
        syncs: this.#syncs,
        prefix: archive === 'base' ? '' : `pg_tblspc/${archive}/`,
        files: this.#files,
        tablespaces: new Map(this.#plan.tablespaces.map(({ oid, to }) => [oid, to])),
        onBytes: (bytes) => {
          written += bytes;
          this.#bytes += bytes;
          this.report('copying');
        },
        onFile: (path) => {
          complete.push(path);
          this.#pending.delete(path);
        },
      });
    } catch (error) {
      this.#bytes -= written;
      for (const path of complete) this.#pending.add(path);
      throw error;
    }
  }

  /** The bytes of pg_control. It is compared with the record beside its checksum: as a whole it belongs to this very backup. */
  async controlFile(): Promise<Uint8Array> {
    const content = await this.#read(PENDING_CONTROL_FILE);
    const { systemId } = parseControlFile(content);
    if (systemId !== this.#plan.systemId)
      throw new ArchiveError('BACKUP_CORRUPT', `${CONTROL_FILE_PATH} in the backup is of system ${systemId}`);
    return content;
  }

  async #checkStart(): Promise<void> {
    const { backup } = this.#plan;
    await this.controlFile();
    const label = parseBackupLabel(await this.#read('backup_label'));
    if (label.startLsn !== parseLsn(backup.startLsn) || label.timeline !== backup.timeline)
      throw new ArchiveError(
        'BACKUP_CORRUPT',
        `backup_label begins at ${formatLsn(label.startLsn)}, backup.json at ${backup.startLsn}`,
      );
  }

  async #adoptModes(): Promise<void> {
    const { mode } = await stat(this.#base.place('PG_VERSION'));
    if ((mode & GROUP_READ) === 0) return;
    this.#fileMode = 0o640;
    const { owner } = this.#options;
    await FileTree.own(this.#base.root, { owner, mode: 0o750 });
    for (const [oid, tree] of this.#trees) {
      const { to } = this.#plan.tablespaces.find((tablespace) => tablespace.oid === oid) ?? {};
      if (to !== undefined) await FileTree.own(tree.root, { owner, mode: 0o750 });
    }
    await this.#base.adopt('backup_manifest', this.#fileMode);
  }

  async #read(path: string): Promise<Uint8Array> {
    try {
      return await readFile(this.#base.place(path));
    } catch (error) {
      throw restoreError(error, `reading ${this.#base.root}/${path}`);
    }
  }
}
