/** Carries a plan out. */
import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ArchiveError, isArchiveError, throwIfAborted } from '../contracts/errors.ts';
import type { EventSink } from '../contracts/hook.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { CONTROL_FILE_PATH } from '../postgres/control-file.ts';
import { textToBytes } from '../postgres/lossless-text.ts';
import { segmentName } from '../postgres/wal-file.ts';
import { BackupSource } from './backup-source.ts';
import { withFolders } from './busy-folders.ts';
import { completeConfig, readText } from './cluster-config.ts';
import { Contents } from './contents.ts';
import { FileTree } from './file-tree.ts';
import { resolveOwner, type Owner } from './owner.ts';
import type { RestorePlan } from './plan-types.ts';
import { placeWal } from './place-wal.ts';
import { restoreCommand } from './restore-command.ts';
import { recoverySettings, withSettings, type Setting } from './recovery-settings.ts';
import { restoreError } from './restore-error.ts';
import { inspectFolder, processStart, removeState, writeState, type RestoreState } from './restore-state.ts';
import { sync, syncTree } from './sync-tree.ts';
import { together } from './together.ts';
import { tryCommand } from './try-command.ts';
import { PENDING_CONTROL_FILE } from './unpack-part.ts';

/** What PostgreSQL looks for when it starts: of both, it heeds the second. */
const SIGNAL_FILES = { recovery: 'recovery.signal', standby: 'standby.signal' } as const;

/** How far a restore is. */
export interface RestoreProgress {
  /** `checking`: files that an interrupted restore left; `copying`; `wal`: the backup's own; `syncing`: making it durable. */
  readonly stage: 'checking' | 'copying' | 'wal' | 'syncing';
  /** Bytes of files that are in place. */
  readonly bytes: number;
  readonly totalBytes: number;
  readonly files: number;
}

export interface RestoreOptions extends CallOptions {
  /**
   * Program and first arguments that fetch WAL, to which the system identifier, the file name and the path are added: what
   * `restore_command` runs. It must hold no secret. Where the plan leaves repositories out (`plan.sources`), it must name those that are
   * left with `--repository`.
   */
  readonly fetchCommand: readonly string[];
  /** Whom root gives the files: see {@link resolveOwner}. */
  readonly owner?: string;
  /** For a standby: how it reaches its primary. Without it, it lives on the archive alone. */
  readonly primaryConninfo?: string;
  /** Parts that are read at once, default 4. */
  readonly concurrency?: number;
  /** Whether files are synced before the cluster is complete, default true. */
  readonly sync?: boolean;
  /** Whether missing configuration files are written, default true. */
  readonly writeConfig?: boolean;
  /** Whether the finished `restore_command` is tried out, while the first files are copied; default true. */
  readonly tryCommand?: boolean;
  /** The environment in which it is tried out; default: none. */
  readonly env?: NodeJS.ProcessEnv;
  readonly onProgress?: (progress: RestoreProgress) => void;
  /** Told at once of what a repository failed to give and another one did; the result has it too. */
  readonly onWarning?: (warning: string) => void;
  readonly onEvent?: EventSink;
}

export interface RestoreResult {
  readonly directory: string;
  readonly systemId: string;
  readonly backup: string;
  readonly files: number;
  /** Bytes of the files. */
  readonly bytes: number;
  /** Bytes that an interrupted restore had put in place already. */
  readonly resumedBytes: number;
  readonly settings: readonly Setting[];
  /** What the operator should know before the server starts. */
  readonly notes: readonly string[];
}

/**
 * Restores a data directory. Until it returns the folder has no `global/pg_control`, so that no server starts from it; a restore that
 * was interrupted is resumed by the same call.
 *
 * Errors: that of the first problem for a plan with problems, `RESTORE_TARGET_IN_USE`, `RESTORE_FAILED`, `BACKUP_CORRUPT`, `USAGE`,
 * `ABORTED`, those of the repository.
 */
export async function restore(plan: RestorePlan, options: RestoreOptions): Promise<RestoreResult> {
  const [problem] = plan.problems;
  if (problem !== undefined)
    throw new ArchiveError(problem.code, problem.message, {
      hint: problem.hint,
      details: { missing: plan.wal.gap?.names, last_transaction: plan.wal.lastTransaction },
    });
  const directory = plan.folders[0]?.path;
  if (directory === undefined) throw new ArchiveError('USAGE', 'the plan names no folder to restore into');
  const folders = plan.folders.map(({ path }) => path);
  return withFolders(folders, () => new Restore(plan, directory, options).run());
}

class Restore {
  readonly #plan: RestorePlan;
  readonly #directory: string;
  readonly #options: RestoreOptions;
  readonly #call: CallOptions;
  #parts: readonly string[] = [];
  #saving: Promise<void> = Promise.resolve();

  constructor(plan: RestorePlan, directory: string, options: RestoreOptions) {
    this.#plan = plan;
    this.#directory = directory;
    this.#options = options;
    this.#call = options.signal === undefined ? {} : { signal: options.signal };
  }

  async run(): Promise<RestoreResult> {
    const { onEvent } = this.#options;
    const facts = { backup: this.#plan.backup.id, directory: this.#directory };
    try {
      const result = await this.#run();
      onEvent?.('restore.finished', facts);
      return result;
    } catch (error) {
      const { code, message } = isArchiveError(error) ? error : { code: 'INTERNAL', message: String(error) };
      onEvent?.('restore.failed', { ...facts, code, message });
      throw error;
    }
  }

  async #run(): Promise<RestoreResult> {
    const { backup, systemId, sources } = this.#plan;
    const { signal } = this.#options;
    throwIfAborted(signal, 'the restore');
    const warnings: string[] = [];
    sources.follow((warning) => {
      warnings.push(warning);
      this.#options.onWarning?.(warning);
    });
    const owner = await resolveOwner(this.#options.owner, this.#directory);
    const resumed = await this.#begin(owner);
    // A trial takes as long as programs take to start: files are copied meanwhile.
    const { contents, resumedBytes, tree } = await together(
      (call) => this.#copy({ owner, resumed }, call),
      (call) => this.#tryCommand(owner, call),
      this.#call,
    );
    contents.report('wal');
    await placeWal(this.#plan, sources.wal(systemId), tree, { ...this.#call, fileMode: contents.fileMode });
    const { settings, notes } = await this.#configure(tree, contents);
    throwIfAborted(signal, 'the restore');
    contents.report('syncing');
    await this.#finish(contents);
    const { files, bytes } = contents;
    return {
      directory: this.#directory,
      systemId,
      backup: backup.id,
      files,
      bytes,
      resumedBytes,
      settings,
      notes: [...warnings, ...notes],
    };
  }

  /** Puts the files of the backup in place. */
  async #copy(
    { owner, resumed }: { readonly owner: Owner | undefined; readonly resumed: boolean },
    call: CallOptions,
  ): Promise<{ readonly contents: Contents; readonly resumedBytes: number; readonly tree: FileTree }> {
    const { copies, sources } = this.#plan;
    const contents = new Contents(this.#plan, this.#directory, {
      ...call,
      source: new BackupSource(copies, (warning) => sources.warn(warning)),
      owner,
      durable: this.#options.sync !== false,
      concurrency: this.#options.concurrency ?? 4,
      onProgress: (progress) => this.#options.onProgress?.(progress),
      onPart: async (name) => {
        this.#parts = [...this.#parts, name];
        // Parts that end at the same time write one after the other.
        this.#saving = this.#saving.then(() => writeState(this.#directory, this.#state()));
        await this.#saving;
      },
    });
    await contents.load();
    const resumedBytes = resumed ? await contents.check(this.#parts) : 0;
    return { contents, resumedBytes, tree: await contents.unpack() };
  }

  /** Checks every folder before the first is touched, and marks them. Gives whether there is something to resume. */
  async #begin(owner: Owner | undefined): Promise<boolean> {
    const { backup, systemId } = this.#plan;
    const found = await inspectFolder(this.#directory);
    const state = found.kind === 'interrupted' ? found.state : undefined;
    const mapping = JSON.stringify(this.#mapping());
    if (state !== undefined && (state.backup !== backup.id || state.systemId !== systemId))
      throw new ArchiveError(
        'RESTORE_TARGET_IN_USE',
        `${this.#directory} holds an interrupted restore of backup ${state.backup}`,
        {
          hint: `Go on with --backup ${state.backup}, or empty the folder.`,
        },
      );
    if (state !== undefined && JSON.stringify(state.tablespaces) !== mapping)
      throw new ArchiveError(
        'RESTORE_TARGET_IN_USE',
        `${this.#directory} holds an interrupted restore with other tablespaces`,
        {
          hint: `Give the same --tablespace options, or empty the folders: ${JSON.stringify(state.tablespaces)}.`,
        },
      );
    for (const folder of this.#tablespaceFolders()) {
      const inside = await inspectFolder(folder);
      if (inside.kind === 'interrupted' && (state === undefined || inside.state.backup !== state.backup))
        throw new ArchiveError('RESTORE_TARGET_IN_USE', `${folder} holds an interrupted restore of another folder`, {
          hint: 'Choose another folder with --tablespace OLD=NEW, or empty this one.',
        });
    }
    this.#parts = state?.parts ?? [];
    for (const folder of [this.#directory, ...this.#tablespaceFolders()]) await this.#mark(folder, owner);
    return state !== undefined;
  }

  async #mark(folder: string, owner: Owner | undefined): Promise<void> {
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
    } catch (error) {
      throw restoreError(error, `creating ${folder}`);
    }
    await writeState(folder, this.#state());
    // Only now: a folder that is not ours to write into must not change its owner.
    await FileTree.own(folder, { owner, mode: 0o700 });
  }

  #state(): RestoreState {
    const { backup, systemId } = this.#plan;
    return {
      format: 1,
      systemId,
      backup: backup.id,
      tablespaces: this.#mapping(),
      parts: this.#parts,
      pid: process.pid,
      started: processStart(process.pid),
    };
  }

  #mapping(): Readonly<Record<string, string>> {
    return Object.fromEntries(this.#plan.tablespaces.flatMap(({ oid, to }) => (to === undefined ? [] : [[oid, to]])));
  }

  #command(): string {
    return restoreCommand(this.#plan, this.#options.fetchCommand);
  }

  #tablespaceFolders(): readonly string[] {
    return Object.values(this.#mapping());
  }

  async #configure(
    tree: FileTree,
    contents: Contents,
  ): Promise<{ settings: readonly Setting[]; notes: readonly string[] }> {
    const { fileMode } = contents;
    const { notes } = await completeConfig(tree, {
      write: this.#options.writeConfig !== false,
      control: await contents.controlFile(),
      fileMode,
    });
    const settings = recoverySettings(this.#plan, {
      restoreCommand: this.#command(),
      primaryConninfo: this.#options.primaryConninfo,
    });
    const auto = (await readText(join(this.#directory, 'postgresql.auto.conf'))) ?? '';
    await tree.write('postgresql.auto.conf', textToBytes(withSettings(auto, settings)), fileMode);
    const { recovery, standby } = SIGNAL_FILES;
    const [signal, other] = this.#plan.standby ? [standby, recovery] : [recovery, standby];
    await tree.write(signal, new Uint8Array(), fileMode);
    // A backup of a standby has its own: by it the server would follow that one's primary, and never end its recovery.
    await rm(tree.place(other), { force: true }).catch((error: unknown) => {
      throw restoreError(error, `removing ${other} from ${this.#directory}`);
    });
    return { settings, notes };
  }

  /** Runs the `restore_command` as the server will: a wrong path or permission shows now, and not after hours of copying. */
  async #tryCommand(owner: Owner | undefined, call: CallOptions): Promise<void> {
    const { wal, backup } = this.#plan;
    const last = wal.pieces.at(-1);
    if (this.#options.tryCommand === false || last === undefined) return;
    const next = segmentName(last.timeline, last.number + 1n, backup.segmentSize);
    const files = { known: last.name, next };
    const { env = {} } = this.#options;
    await tryCommand(this.#command(), files, { ...call, directory: this.#directory, owner, env });
  }

  /** Makes everything durable, then puts `pg_control` in place: from then on a server can start. */
  async #finish(contents: Contents): Promise<void> {
    const durable = this.#options.sync !== false;
    const folders = [this.#directory, ...this.#tablespaceFolders()];
    for (const folder of folders) if (durable) await syncTree(folder, (place) => contents.isDurable(place));
    try {
      await rename(join(this.#directory, PENDING_CONTROL_FILE), join(this.#directory, CONTROL_FILE_PATH));
      for (const folder of folders) await removeState(folder);
    } catch (error) {
      throw restoreError(error, `completing ${this.#directory}`);
    }
    if (!durable) return;
    await sync(join(this.#directory, 'global'));
    for (const folder of folders) await sync(folder);
  }
}
