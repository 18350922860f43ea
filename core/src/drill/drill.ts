/** Proves a backup: restores it, starts a real server from it, and asks that. */
import { hostname } from 'node:os';
import { isAbsolute, join } from 'node:path';
import type { Client } from 'pg';
import type { DrillConfig } from '../config/config.ts';
import { ArchiveError, throwIfAborted } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { CONTROL_FILE_PATH } from '../postgres/control-file.ts';
import { formatLsn } from '../postgres/lsn.ts';
import { EXPIRED } from '../repository/facts.ts';
import type { Repository } from '../repository/repository.ts';
import { controlLimits } from '../restore/cluster-config.ts';
import { withFolders } from '../restore/busy-folders.ts';
import { planFolders } from '../restore/folders.ts';
import { resolveOwner, type Owner } from '../restore/owner.ts';
import type { RestorePlan } from '../restore/plan-types.ts';
import { restore, type RestoreProgress, type RestoreResult } from '../restore/restore.ts';
import { describeTarget, type RecoveryTarget, type TimelineChoice } from '../restore/target.ts';
import { formatMoment } from '../restore/time-text.ts';
import { VERSION } from '../version.ts';
import { checkRelations } from './amcheck.ts';
import { checkDatabases, checkStatements } from './checks.ts';
import { bounded, type DrillCheck, type DrillPhases, type DrillReached, type DrillRecord } from './drill-result.ts';
import { guardFolder } from './folder-guard.ts';
import { refuseOutsideTablespaces } from './outside-tablespaces.ts';
import { checkPages } from './page-checksums.ts';
import { findPrograms, type Programs } from './programs.ts';
import { planDrill, type DrillSubject } from './plan-drill.ts';
import { notReached } from './reached.ts';
import { connectAsSuperuser, readRecoveryEnd, readRestored } from './recovery-end.ts';
import { ScratchFolder, writeOwned } from './scratch-folder.ts';
import { ScratchServer } from './scratch-server.ts';
import { HBA, recoveryConfig, serverConfig } from './server-config.ts';
import { judge, type DrillProblem, type LogLine } from './verdict.ts';

/** How far a drill is. */
export type DrillProgress =
  | { readonly stage: 'plan' | 'wal' | 'recovery' | 'checks'; readonly text: string }
  | { readonly stage: 'restore'; readonly restore: RestoreProgress };

export interface DrillOptions extends CallOptions {
  /** What is proven is what this one holds: a copy elsewhere takes a drill of its own. */
  readonly repository: Repository;
  /** Absent or empty, or left by a drill that was killed. Everything is written into it, and removed at the end. */
  readonly folder: string;
  /** `random` draws a moment that the newest backup leads to, with `seed`. */
  readonly target: RecoveryTarget | 'random';
  readonly seed?: number;
  /** Default `latest`. */
  readonly timeline?: TimelineChoice;
  readonly backup?: string;
  readonly systemId?: string;
  /** As for a restore: it must name the repository. */
  readonly fetchCommand: readonly string[];
  readonly settings: Omit<DrillConfig, 'folder'>;
  /** For the programs of PostgreSQL, which are looked for by its `PATH`. */
  readonly env: NodeJS.ProcessEnv;
  /** Parts that are read at once, default 4. */
  readonly concurrency?: number;
  /** Whether files are made durable, as in a restore that counts; default true. */
  readonly sync?: boolean;
  /**
   * Called before anything of the backup is read: keeps what the plan needs from being deleted meanwhile. What it gives is called at the
   * end, whatever comes of the drill.
   */
  readonly hold?: (plan: RestorePlan) => Promise<() => Promise<void>>;
  readonly onProgress?: (progress: DrillProgress) => void;
  readonly onWarning?: (warning: string) => void;
}

export interface DrillResult {
  readonly systemId: string;
  readonly backup: string;
  readonly record: DrillRecord;
  /** As in the record, with what the server said. */
  readonly checks: readonly DrillCheck[];
  /** Why it is not proven. */
  readonly error: ArchiveError | undefined;
  /** The last lines of the log of the server. */
  readonly log: readonly LogLine[];
  /** What was left in the folder, because it was asked for. */
  readonly kept: string | undefined;
}

/**
 * Restores a backup into a folder of its own, starts PostgreSQL from it, lets it recover to the target, asks it questions, and removes
 * everything. A drill that fails gives a result too; it changes nothing but its folder.
 *
 * Errors: `USAGE` and `RESTORE_TARGET_IN_USE` for a folder that it must not use; `RESTORE_UNREACHABLE` for a target that was named and does
 * not exist; `BACKUP_NOT_FOUND`; `ABORTED`; those of a repository of which not even the backup could be found out.
 */
export async function drill(options: DrillOptions): Promise<DrillResult> {
  return new Drill(options).run();
}

class Drill {
  readonly #options: DrillOptions;
  readonly #call: CallOptions;
  readonly #started = new Date();
  readonly #phases: Record<string, number> = {};
  readonly #checks: DrillCheck[] = [];
  #bytes = 0;
  #serverVersion: number | undefined;
  #reached: DrillReached | undefined;
  #log: readonly LogLine[] = [];

  constructor(options: DrillOptions) {
    this.#options = options;
    this.#call = options.signal === undefined ? {} : { signal: options.signal };
  }

  async run(): Promise<DrillResult> {
    const { settings } = this.#options;
    const warn = (text: string): void => this.#options.onWarning?.(text);
    const folder = await guardFolder(this.#options.folder, []);
    const owner = await resolveOwner(settings.user, folder);
    return withFolders([folder], () => this.#in(folder, owner, warn));
  }

  async #in(folder: string, owner: Owner | undefined, warn: (text: string) => void): Promise<DrillResult> {
    const { settings } = this.#options;
    // Before all else, so that what a killed drill left is cleared even if this one comes to nothing.
    const scratch = await ScratchFolder.claim(folder, owner, warn);
    let result: DrillResult;
    try {
      result = await this.#within(scratch, owner);
    } catch (error) {
      await scratch.remove();
      throw error;
    }
    if (settings.keep && result.record.bytes > 0) {
      const log = result.log.map(({ severity, text }) => `${severity}: ${text}\n`).join('');
      await writeOwned(scratch.log, log, owner);
      return { ...result, kept: scratch.data };
    }
    try {
      await scratch.remove();
    } catch (error) {
      // The verdict stands: what could not be removed is told beside it.
      warn(`${(error as Error).message}; the next drill clears it`);
    }
    return result;
  }

  async #within(scratch: ScratchFolder, owner: Owner | undefined): Promise<DrillResult> {
    const { hold, onWarning } = this.#options;
    const planned = await this.#timed('plan', () =>
      planDrill({ ...this.#options, onText: (text) => this.#tell('plan', text) }),
    );
    if (planned.plan === undefined) return this.#result(planned.subject, planned.problem);
    const { plan, problem } = planned;
    for (const warning of plan.warnings) onWarning?.(warning);
    const locations = plan.backup.tablespaces.map(({ location }) => location).filter(isAbsolute);
    await guardFolder(scratch.path, locations);
    const subject = { systemId: plan.systemId, backup: plan.backup.id };
    if (problem !== undefined) return this.#result(subject, problem, plan);
    const release = await hold?.(plan);
    try {
      // Who removes marks, then looks for leases; who holds looks for the mark behind his lease: one sees the other.
      const leaving = await this.#leaving(plan);
      return this.#result(subject, leaving ?? (await this.#prove(scratch, owner, plan)), plan);
    } finally {
      await release?.();
    }
  }

  /** Whether the removal of the backup has begun meanwhile: that its objects go says nothing about it. */
  async #leaving({ systemId, backup: { id } }: RestorePlan): Promise<DrillProblem | undefined> {
    for await (const { kind } of this.#options.repository.facts(systemId).names({ ...this.#call, subject: id })) {
      if (kind !== EXPIRED) continue;
      const message = `backup ${id} is being removed by "pgark expire"`;
      return {
        outcome: 'inconclusive',
        error: new ArchiveError('DRILL_INCONCLUSIVE', message, { hint: 'Try a newer one.' }),
      };
    }
    return undefined;
  }

  async #prove(scratch: ScratchFolder, owner: Owner | undefined, plan: RestorePlan): Promise<DrillProblem | undefined> {
    const { settings, env } = this.#options;
    let server: ScratchServer | undefined;
    try {
      const programs = await findPrograms(plan.backup.serverVersion, {
        ...this.#call,
        bin: settings.bin,
        path: env['PATH'],
      });
      const placed = await this.#place(scratch, plan);
      await this.#timed('wal', () =>
        refuseOutsideTablespaces(plan, {
          ...this.#call,
          onSegment: (name, number) => this.#tell('wal', `${name}, ${number} of ${plan.wal.pieces.length} segments`),
        }),
      );
      const restored = await this.#timed('restore', () => this.#restore(placed, owner));
      this.#bytes = restored.bytes;
      const admin = await this.#timed('recovery', async () => {
        server = await this.#start(scratch, programs, owner, { plan, restored });
        await server.ready(this.#call);
        return connectAsSuperuser(server, settings.role, this.#call);
      });
      await this.#timed('checks', async () => {
        try {
          await this.#inspect(admin, scratch, plan);
          if (server !== undefined) await this.#ask(server, admin);
        } finally {
          await admin.end().catch(() => undefined); // the server has ended
        }
        await server?.stop();
        const enabled = plan.backup.dataChecksums;
        this.#tell('checks', 'checksums of all pages');
        this.#checks.push(await checkPages({ ...this.#call, programs, data: scratch.data, enabled, owner, env }));
      });
    } catch (error) {
      throwIfAborted(this.#options.signal, 'the drill');
      return judge(server === undefined ? error : await server.explain(error));
    } finally {
      this.#log = server?.log ?? [];
      await server?.kill();
    }
    return checksProblem(this.#checks);
  }

  /** Maps everything into the folder. Errors: `DRILL_INCONCLUSIVE` when there is no room for it. */
  async #place(scratch: ScratchFolder, plan: RestorePlan): Promise<RestorePlan> {
    const { backup } = plan;
    const tablespaces = new Map(
      backup.tablespaces
        .filter(({ location }) => isAbsolute(location))
        .map(({ oid }) => [oid, scratch.tablespace(oid)]),
    );
    const placed = await planFolders(backup, { directory: scratch.data, tablespaces });
    const needed = placed.folders.reduce((sum, folder) => sum + folder.needed, 0);
    const free = placed.folders[0]?.free;
    if (free !== undefined && free < needed)
      throw new ArchiveError(
        'DRILL_INCONCLUSIVE',
        `${scratch.path} has too little space: ${needed} bytes are needed, ${free} are free`,
        {
          hint: 'Make space, or choose a folder on a larger disk with drill.folder.',
        },
      );
    return { ...plan, folders: placed.folders, tablespaces: placed.tablespaces };
  }

  #restore(plan: RestorePlan, owner: Owner | undefined): Promise<RestoreResult> {
    const { fetchCommand, concurrency, sync, env, onProgress, onWarning } = this.#options;
    return restore(plan, {
      ...this.#call,
      fetchCommand,
      env,
      ...(owner === undefined ? {} : { owner: `${owner.uid}:${owner.gid}` }),
      ...(concurrency === undefined ? {} : { concurrency }),
      sync: sync !== false,
      onProgress: (progress) => onProgress?.({ stage: 'restore', restore: progress }),
      onWarning: (warning) => onWarning?.(warning),
    });
  }

  async #start(
    scratch: ScratchFolder,
    { postgres }: Programs,
    owner: Owner | undefined,
    { plan, restored }: { readonly plan: RestorePlan; readonly restored: RestoreResult },
  ): Promise<ScratchServer> {
    const { settings, sync, env } = this.#options;
    const { serverVersion } = plan.backup;
    const limits = controlLimits(await readRestored(join(scratch.data, CONTROL_FILE_PATH)));
    const { run } = scratch;
    const config = serverConfig({ run, serverVersion, limits, preload: settings.preload, durable: sync !== false });
    await writeOwned(join(run, 'postgresql.conf'), config, owner);
    await writeOwned(join(run, 'pg_hba.conf'), HBA, owner);
    await writeOwned(join(run, 'pg_ident.conf'), '', owner);
    await writeOwned(join(scratch.data, 'postgresql.auto.conf'), recoveryConfig(restored.settings), owner);
    this.#tell('recovery', 'starting the server');
    return ScratchServer.start({
      program: postgres,
      data: scratch.data,
      run,
      owner,
      env,
      role: settings.role,
      timeout: settings.timeout,
      onLog: ({ severity, text }) => {
        if (severity === 'LOG') this.#tell('recovery', text);
      },
    });
  }

  /** Finds out where the recovery ended, and compares. Errors: `DRILL_FAILED`. */
  async #inspect(admin: Client, scratch: ScratchFolder, plan: RestorePlan): Promise<void> {
    const end = await readRecoveryEnd(admin, scratch.data);
    this.#serverVersion = end.serverVersion;
    this.#reached = {
      lsn: formatLsn(end.lsn),
      timeline: end.timeline,
      ...(end.micros === undefined ? {} : { time: formatMoment(end.micros) }),
    };
    const wrong = notReached(plan, end);
    if (wrong !== undefined) throw new ArchiveError('DRILL_FAILED', wrong);
  }

  async #ask(server: ScratchServer, admin: Client): Promise<void> {
    const { settings } = this.#options;
    const options = { ...this.#call, onProgress: (text: string): void => this.#tell('checks', text) };
    const { check, databases } = await checkDatabases(server, admin, options);
    this.#checks.push(check);
    if (check.outcome !== 'passed') return;
    this.#checks.push(...(await checkStatements(server, settings.checks, options)));
    if (settings.amcheck) this.#checks.push(await checkRelations(server, databases, options));
  }

  #result({ systemId, backup }: DrillSubject, problem: DrillProblem | undefined, plan?: RestorePlan): DrillResult {
    const { target, seed, repository } = this.#options;
    const { outcome, error } = problem ?? { outcome: 'proven', error: undefined };
    const aimed = plan?.target ?? (target === 'random' ? ({ kind: 'latest' } as const) : target);
    const record: DrillRecord = {
      started: this.#started.toISOString(),
      finished: new Date().toISOString(),
      outcome,
      repository: repository.name,
      target: {
        kind: aimed.kind,
        text: bounded(describeTarget(aimed)),
        ...(plan === undefined ? {} : { timeline: plan.timeline }),
        ...(target === 'random' && seed !== undefined ? { seed } : {}),
      },
      ...(this.#reached === undefined ? {} : { reached: this.#reached }),
      ...(this.#serverVersion === undefined ? {} : { serverVersion: this.#serverVersion }),
      host: hostname(),
      tool: VERSION,
      phases: this.#phases,
      bytes: this.#bytes,
      checks: this.#checks.map(({ name, outcome, detail }) => ({ name, outcome, detail: bounded(detail) })),
      ...(error === undefined ? {} : { problem: { code: error.code, message: bounded(error.message) } }),
    };
    return { systemId, backup, record, checks: this.#checks, error, log: this.#log, kept: undefined };
  }

  #tell(stage: 'plan' | 'wal' | 'recovery' | 'checks', text: string): void {
    this.#options.onProgress?.({ stage, text });
  }

  async #timed<Result>(phase: keyof DrillPhases, work: () => Promise<Result>): Promise<Result> {
    throwIfAborted(this.#options.signal, 'the drill');
    const begun = performance.now();
    try {
      return await work();
    } finally {
      this.#phases[phase] = Math.round(performance.now() - begun) / 1000;
    }
  }
}

function checksProblem(checks: readonly DrillCheck[]): DrillProblem | undefined {
  const named = (outcome: DrillCheck['outcome']): string | undefined => {
    const found = checks.filter((check) => check.outcome === outcome);
    return found.length === 0 ? undefined : found.map(({ name, detail }) => `${name}: ${detail}`).join('; ');
  };
  const failed = named('failed');
  if (failed !== undefined) return { outcome: 'failed', error: new ArchiveError('DRILL_FAILED', failed) };
  const open = named('inconclusive');
  return open === undefined
    ? undefined
    : { outcome: 'inconclusive', error: new ArchiveError('DRILL_INCONCLUSIVE', open) };
}
