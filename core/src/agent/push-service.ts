/** `wal-push` in the agent. */
import { statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { PushConfig } from '../config/config.ts';
import type { Logger } from '../contracts/plugin.ts';
import { isSegmentSize, parseWalFileName, type WalFile } from '../postgres/wal-file.ts';
import type { Repository } from '../repository/repository.ts';
import type { DroppedSegments } from '../wal-command/dropped-segments.ts';
import { mayLetGo, shipLate } from '../wal-command/let-go.ts';
import { clusterOf, type CheckedFile, type CheckOptions, type FileChecks } from '../wal-command/local-file.ts';
import { readyFiles } from '../wal-command/look-ahead.ts';
import { pushFile, walPush, type PushFile, type WalPushResult } from '../wal-command/push.ts';
import { unlessAborted } from '../receive/backoff.ts';
import { TimesRecorder } from '../times/times-recorder.ts';
import { AheadLane, type AheadFile } from './ahead-lane.ts';
import { KnownFiles } from './known-files.ts';
import type { PushRequest } from './protocol.ts';

export interface PushServiceOptions {
  readonly repositories: readonly [Repository, ...Repository[]];
  /** Segments that are archived ahead at once, in each repository. */
  readonly concurrency: number;
  readonly policy: PushConfig;
  readonly dropped: DroppedSegments;
  readonly logger: Logger;
  /** Fires at the end of the agent. */
  readonly signal: AbortSignal;
}

/** Files behind the one that is asked for that are archived ahead: the archiver looks at 64 at a time (PostgreSQL source: `pgarch.c`). */
const AHEAD = 32;
/** Files behind the one that is asked for that are hashed here: a thread that has to start first takes longer. */
const FEW = 4;
/** Milliseconds for what is written at the end. */
const CLOSING = 5000;

/**
 * Archives a file as the command does by itself, and in the meantime those that PostgreSQL has marked as ready behind it. Their own
 * requests ask each repository whether it holds the file with this digest, which costs a listing: no success is ever remembered.
 */
export class PushService {
  readonly #options: PushServiceOptions;
  readonly #files = new KnownFiles();
  readonly #lanes: ReadonlyMap<Repository, AheadLane>;
  /** By system identifier. */
  readonly #times = new Map<string, TimesRecorder>();

  constructor(options: PushServiceOptions) {
    this.#options = options;
    this.#lanes = new Map(
      options.repositories.map((repository) => [repository, new AheadLane({ ...options, repository })]),
    );
  }

  /**
   * Undefined when the segment may be let go now: that is for the command itself to decide, which tries once more, with the config and the
   * connections of this moment. Errors: those of `walPush`.
   */
  async push(request: PushRequest, { signal }: { readonly signal: AbortSignal }): Promise<WalPushResult | undefined> {
    const { name, cwd, systemId, timeout } = request;
    const path = resolve(cwd, request.path);
    const files: FileChecks = { get: (file, at, given) => this.#files.get(file, at, { systemId: given, cwd }) };
    const file = parseWalFileName(name);
    if (file?.kind === 'segment') void this.#lookAhead(file, path, { systemId, cwd });
    const cluster = systemId === undefined ? {} : { systemId };
    const { repositories, policy, dropped, logger } = this.#options;
    try {
      const options = { path, name, repositories, timeout, signal, files, push: this.#push, dropped, ...cluster };
      const result = await walPush(options);
      await shipLate(result.systemId, { ...options, dropped, logger });
      return result;
    } catch (error) {
      if (await mayLetGo(error, { policy, name, path })) return undefined;
      throw error;
    }
  }

  /** Does not send what is on its way already. */
  readonly #push: PushFile = async (repository, target, source, signal) => {
    const underWay = this.#lanes.get(repository)?.settled(target.path);
    if (underWay !== undefined) await unlessAborted(signal, underWay, `archiving ${target.name} was cancelled`);
    const outcome = await pushFile(repository, target, source, signal);
    this.#scan(target);
    return outcome;
  };

  /** Keeps when the transactions of an archived segment ended. The server may use its file again, which shows when it is read. */
  #scan({ name, path, systemId }: Parameters<PushFile>[1]): void {
    const segmentSize = statSync(path, { throwIfNoEntry: false })?.size;
    if (parseWalFileName(name)?.kind !== 'segment' || segmentSize === undefined || !isSegmentSize(segmentSize)) return;
    const { repositories, logger } = this.#options;
    const times =
      this.#times.get(systemId) ??
      new TimesRecorder({
        systemId,
        outlets: repositories.map((repository) => ({
          name: repository.name,
          add: async (segments, options) => {
            // Never into the empty folder below a disk that is not mounted.
            await repository.open(options);
            await repository.times(systemId).add(segments, options);
          },
        })),
        logger,
      });
    this.#times.set(systemId, times);
    times.take({ name, segmentSize, to: segmentSize }, [path]);
  }

  /** Writes the commit times that are not written yet, within a short time. */
  async close(): Promise<void> {
    await Promise.all([...this.#times.values()].map((times) => times.finish(CLOSING)));
  }

  /** Never rejects. */
  async #lookAhead(file: WalFile, path: string, cluster: CheckOptions): Promise<void> {
    const { logger } = this.#options;
    try {
      const systemId = await clusterOf(file, path, cluster);
      // Of the same timeline: the history of the next one goes first, and may be refused.
      const behind = (await readyFiles(path)).filter(
        ({ kind, name, timeline }) => kind === 'segment' && timeline === file.timeline && name > file.name,
      );
      const inThread = behind.length > FEW;
      const ahead = behind.slice(0, AHEAD).map((next): AheadFile => {
        const at = join(dirname(path), next.name);
        const check = (): Promise<CheckedFile> => this.#files.get(next, at, { ...cluster, inThread });
        return { file: next, path: at, systemId, check };
      });
      for (const lane of this.#lanes.values()) lane.follow(ahead);
    } catch (error) {
      // The request itself meets the same trouble, and tells the server.
      logger.debug({ file: file.name, error }, 'nothing is archived ahead');
    }
  }
}
