/** Looks for holes in the repositories, closes what can be closed, and says what cannot. */
import type { EventSink } from '../contracts/hook.ts';
import type { Logger } from '../contracts/plugin.ts';
import type { ConnectionTarget } from '../postgres/target.ts';
import { formatLsn } from '../postgres/lsn.ts';
import { asArchiveError } from '../receive/messages.ts';
import type { Repository } from '../repository/repository.ts';
import { covers, gapsAmong } from '../repository/wal-gaps.ts';
import { closeHole } from './close-hole.ts';
import { describeHole, findHoles, type WalHole } from './holes.ts';
import type { Judgement } from './judge.ts';

/** A repository as the receiver uses it. */
export interface GuardedRepository {
  readonly repository: Repository;
  /** Throws when it cannot be used, or another one answers in its place, such as the empty folder below a disk that is not mounted. */
  readonly check: (signal: AbortSignal) => Promise<void>;
  /** What is on its way into it at this moment, by timeline and number. */
  readonly coming: () => (timeline: number, number: bigint) => boolean;
}

export interface ArchiveGuardOptions {
  readonly systemId: string;
  readonly segmentSize: number;
  readonly repositories: readonly GuardedRepository[];
  /** The hosts that may still have WAL that a repository lacks. */
  readonly target: ConnectionTarget;
  /** For segments that come from a server. */
  readonly folder: string;
  readonly closeHoles: boolean;
  /** Takes a base backup; absent when that is not wanted. */
  readonly takeBackup?: (signal: AbortSignal) => Promise<string>;
  readonly onEvent: EventSink;
  readonly logger: Logger;
}

/** Milliseconds between two backups, whatever became of the first: what one does not heal another one will hardly. */
const BACKUP_AGAIN = 60 * 60_000;

export class ArchiveGuard {
  readonly #options: ArchiveGuardOptions;
  /** Holes that were there at the last look: WAL that comes out of order, or from another receiver, fills the others by itself. */
  #suspects: ReadonlySet<string> = new Set();
  #backupAfter = -Infinity;

  constructor(options: ArchiveGuardOptions) {
    this.#options = options;
  }

  /**
   * Looks once at what leads to the timeline of the server, undefined when that is not known. Gives no judgement when there is nothing yet
   * to judge. `again` says that the next look should come soon, as for a hole that is new.
   */
  async look(
    timeline: number | undefined,
    signal: AbortSignal,
  ): Promise<{ readonly judgement: Judgement | undefined; readonly again: boolean }> {
    const { repositories, segmentSize, closeHoles } = this.#options;
    const suspects = new Set<string>();
    const [open, whole]: [string[], string[]] = [[], []];
    const holed = new Set<Repository>();
    const unknown = new Map<Repository, string>();
    for (const { repository, check } of repositories) {
      try {
        await check(signal);
      } catch (error) {
        if (signal.aborted) throw error;
        unknown.set(repository, `repository ${repository.name}: ${asArchiveError(error).message}`);
      }
    }
    let again = false;
    for (const guarded of repositories) {
      const { repository } = guarded;
      if (unknown.has(repository)) continue;
      try {
        const { holes, last, lacksHistory } = await this.#find(guarded, timeline, signal);
        if (lacksHistory !== undefined) unknown.set(repository, `repository ${repository.name} lacks ${lacksHistory}`);
        else if (holes.length === 0 && last !== undefined) whole.push(`up to ${last} in repository ${repository.name}`);
        for (const hole of holes) {
          const key = `${repository.name} ${hole.timeline} ${hole.first}`;
          suspects.add(key);
          if (!this.#suspects.has(key)) {
            again = true;
            continue;
          }
          const left = closeHoles ? await this.#close(repository, hole, unknown, signal) : [hole];
          if (left.length === 0) again = true;
          else holed.add(repository);
          open.push(...left.map((part) => `${describeHole(part, segmentSize)} (repository ${repository.name})`));
        }
      } catch (error) {
        if (signal.aborted) throw error;
        unknown.set(repository, `repository ${repository.name}: ${asArchiveError(error).message}`);
      }
    }
    this.#suspects = suspects;
    if (holed.size > 0 && (await this.#backup([...holed], signal))) again = true;
    const looked = judgement({ open, whole, unknown: [...unknown.values()], again });
    return { judgement: looked, again: again || looked === undefined };
  }

  #find(
    { repository, coming }: GuardedRepository,
    timeline: number | undefined,
    signal: AbortSignal,
  ): ReturnType<typeof findHoles> {
    const { systemId, segmentSize } = this.#options;
    // What leaves the spool from here on is in the repository when that is listed.
    return findHoles(repository, systemId, { segmentSize, timeline, coming: coming(), signal });
  }

  /** Gives what is left. */
  async #close(
    repository: Repository,
    hole: WalHole,
    unknown: ReadonlyMap<Repository, string>,
    signal: AbortSignal,
  ): Promise<readonly WalHole[]> {
    const { systemId, segmentSize, repositories, target, folder, onEvent, logger } = this.#options;
    const others = repositories
      .map((other) => other.repository)
      .filter((other) => other !== repository && !unknown.has(other));
    const servers = target.hosts.map((host): ConnectionTarget => ({
      ...target,
      hosts: [host],
      targetSessionAttrs: 'any',
    }));
    const options = { systemId, segmentSize, others, servers, folder, signal };
    const { brought, left, damaged, silent } = await closeHole(repository, hole, options);
    for (const { name, error } of damaged) logger.error({ code: error.code }, `${name}: ${error.message}`);
    if (brought.size > 0) {
      const from = [...brought].map(([source, count]) => `${count} from ${source}`).join(', ');
      const message = `repository ${repository.name} lacked WAL ${describeHole(hole, segmentSize)}: brought ${from}`;
      logger.warn({ repository: repository.name }, message);
      onEvent('guardian.acted', { action: 'hole', message });
    }
    for (const { name, error } of silent)
      logger.warn({ code: error.code }, `whether ${name} has WAL that is missing is not known: ${error.message}`);
    // What a silent one may have is no gap: on record it would hide what that one can give.
    if (silent.length === 0 && unknown.size === 0)
      for (const part of left) await this.#record(repository, part, signal);
    return left;
  }

  /** Puts a hole on record that nobody can close, once. */
  async #record(repository: Repository, hole: WalHole, signal: AbortSignal): Promise<void> {
    const { systemId, segmentSize, onEvent, logger } = this.#options;
    const { timeline } = hole;
    const [from, to] = [hole.first * BigInt(segmentSize), (hole.last + 1n) * BigInt(segmentSize)];
    const facts = repository.facts(systemId);
    const lost = { timeline, toTimeline: timeline, from, to };
    const known = gapsAmong(await facts.list('wal', { signal })).some((gap) => covers(gap, lost));
    if (known) return;
    const reason = `repository ${repository.name} lacks WAL that neither another repository nor a server has`;
    const data = { timeline, from: formatLsn(from), to: formatLsn(to), reason };
    logger.error(data, `WAL is lost: ${reason}`);
    onEvent('wal.gap', data);
    await facts.add('wal', { kind: 'gap', time: Date.now(), data: { ...data, to_timeline: timeline } }, { signal });
  }

  /** Takes a backup if that is wanted; gives whether each of the repositories has one now. */
  async #backup(holed: readonly Repository[], signal: AbortSignal): Promise<boolean> {
    const { takeBackup, systemId, onEvent, logger } = this.#options;
    if (takeBackup === undefined || performance.now() < this.#backupAfter) return false;
    this.#backupAfter = performance.now() + BACKUP_AGAIN;
    logger.warn({}, 'WAL is lost behind the newest backup: taking a new one');
    try {
      const id = await takeBackup(signal);
      onEvent('guardian.acted', { action: 'backup', message: `backup ${id} was taken because WAL is lost` });
      for (const repository of holed) await repository.backups(systemId).read(id, { signal });
      return true;
    } catch (error) {
      if (signal.aborted) throw error;
      const { code, message, hint } = asArchiveError(error);
      logger.error(
        { code, hint },
        `the backup that lost WAL asks for failed, it is tried again in an hour: ${message}`,
      );
      return false;
    }
  }
}

interface Looked {
  readonly open: readonly string[];
  readonly whole: readonly string[];
  readonly unknown: readonly string[];
  /** Something has just been seen, or done, that the next look will judge. */
  readonly again: boolean;
}

function judgement({ open, whole, unknown, again }: Looked): Judgement | undefined {
  const subject = 'archive';
  if (open.length > 0) {
    const hint = 'Take a new base backup: older ones cannot be rolled forward past it.';
    return { subject, state: 'HOLE', message: `WAL is missing: ${open.join('; ')}`, hint, detail: open.join() };
  }
  if (unknown.length > 0)
    return { subject, state: 'unknown', message: `whether WAL is missing is not known: ${unknown.join('; ')}` };
  if (again) return { subject, state: 'unknown', message: 'WAL is missing at present, and may still be on its way' };
  if (whole.length === 0) return undefined;
  return { subject, state: 'whole', message: `no WAL is missing behind the newest backup, ${whole.join(', ')}` };
}
