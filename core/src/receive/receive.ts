/** `pgark receive`: runs the receiving thread and ships what it finishes. */
import { isAbsolute, join } from 'node:path';
import type { Worker } from 'node:worker_threads';
import type { ReceiveConfig } from '../config/config.ts';
import { ArchiveError } from '../contracts/errors.ts';
import type { EventSink } from '../contracts/hook.ts';
import type { Guardian } from '../guardian/guardian.ts';
import type { Logger } from '../contracts/plugin.ts';
import { formatLsn } from '../postgres/lsn.ts';
import { parseWalFileName } from '../postgres/wal-file.ts';
import type { ConnectionTarget } from '../postgres/target.ts';
import type { Fact } from '../repository/facts.ts';
import type { Repository } from '../repository/repository.ts';
import { Answers } from './answers.ts';
import { within } from './backoff.ts';
import { ConfirmedFiles } from './confirmed-files.ts';
import { GapRecords } from './gap-records.ts';
import { guardianOf } from './guardian-of.ts';
import { HoleWatch } from './hole-watch.ts';
import { KnownRepositories } from './known-repositories.ts';
import { plainError, type FromThread, type Question, type SystemInfo, type ToThread } from './messages.ts';
import { Outlet, type OutletOptions } from './outlet.ts';
import { Shipper } from './shipper.ts';
import { SpoolLock } from './spool-lock.ts';
import { Spool, type WalPosition } from './spool.ts';
import { shippedOf, StatusFile } from './status-file.ts';
import { startThread } from './start-thread.ts';
import { TailShipper } from './tail-shipper.ts';
import { threadEnd, type WhileRunning } from './thread-end.ts';
import { ReceivedTimes } from './received-times.ts';

export interface ReceiveOptions {
  /** The cluster's name: the folder in the spool, and part of every key. */
  readonly cluster: string;
  readonly target: ConnectionTarget;
  /** Each gets every file. Without any, WAL stays in the spool. */
  readonly repositories: readonly Repository[];
  readonly config: ReceiveConfig;
  /** Stop once WAL up to here is durable in the spool. */
  readonly until?: bigint;
  /** The server's timeline, whose fork from what is held is intended; see `TIMELINE_DIVERGED`. */
  readonly acceptTimeline?: number;
  /** Milliseconds that shipping gets to finish, asked for when the receiver ends. Default 30 000. */
  readonly stopTimeout?: () => number;
  /** Takes a base backup and gives its id, when the guardian wants one and the config lets it. */
  readonly takeBackup?: (signal: AbortSignal) => Promise<string>;
  /** How shipping is tried again; for tests. */
  readonly retry?: OutletOptions['retry'];
  readonly onEvent?: EventSink;
  /** Told every second that the receiving thread works. */
  readonly onAlive?: () => void;
  /** Whether an earlier run has told that a repository of this name does not work, and nobody has told its end. Default: none. */
  readonly wasTroubled?: (repository: string) => boolean;
  readonly logger?: Logger;
  /** Stops in order: flush, report, end the stream, ship. */
  readonly signal?: AbortSignal;
}

export interface ReceiveResult {
  /** `until` when the LSN of that name was reached, else `stopped`. */
  readonly reason: 'stopped' | 'until';
  /** How far WAL is durable; undefined when none was received. */
  readonly position: WalPosition | undefined;
  /** Files that are left in the spool for the next run, not counting the open segment. */
  readonly unshipped: number;
  /** How many of them each repository lacks, by its name. */
  readonly unshippedBy: Readonly<Record<string, number>>;
}

const STOP_TIMEOUT = 30_000;
const GUARDIAN_STOP = 2000;
/** Milliseconds between slices when `remote` is to acknowledge and none were asked for. */
const REMOTE_INTERVAL = 1000;

/** States in which nothing is wrong. */
const CALM: ReadonlySet<string> = new Set(['connecting', 'streaming', 'standing-by']);

const SILENT: Logger = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

/**
 * Receives WAL until the signal fires, `until` is reached, or something happens that a retry cannot mend. Everything else is
 * tried again for ever and shown as a state.
 *
 * Throws `SPOOL_LOCKED`, `SPOOL_UNAVAILABLE`, `SPOOL_INVALID`, `SYSTEM_MISMATCH`, `TIMELINE_DIVERGED`, `SLOT_MISSING`,
 * `SLOT_INVALIDATED`, `WAL_GAP` (with `onGap: stop`), and of the first connection what configuration has to mend:
 * `SERVER_AUTH`, `SERVER_TLS`, `SERVER_ERROR`, `SERVER_UNSUPPORTED`.
 */
export async function receive(options: ReceiveOptions): Promise<ReceiveResult> {
  if (!isAbsolute(options.config.spool)) {
    throw new ArchiveError('INTERNAL', `the path of the spool is not absolute: ${options.config.spool}`);
  }
  const lock = SpoolLock.acquire(join(options.config.spool, options.cluster));
  try {
    return await new Reception(options).run();
  } finally {
    lock.release();
  }
}

class Reception {
  readonly #options: ReceiveOptions;
  readonly #logger: Logger;
  readonly #onEvent: EventSink;
  readonly #spool: Spool;
  readonly #outlets: readonly Outlet[];
  readonly #shippers = new Map<string, Shipper>();
  readonly #times: ReceivedTimes;
  readonly #status: StatusFile;
  readonly #confirmed: ConfirmedFiles;
  readonly #gaps: GapRecords;
  readonly #answers: Answers;
  /** Ends what waits for a repository on behalf of the thread. */
  readonly #cancel = new AbortController();
  readonly #worker: Worker;
  #tail: TailShipper | undefined;
  #system: SystemInfo | undefined;
  #guardian: Guardian | undefined;
  /** Whether the slot is this receiver's own. */
  #streaming = false;
  /** Where the segment begins that was opened last. */
  #openedAt: bigint | undefined;

  constructor(options: ReceiveOptions) {
    this.#options = options;
    this.#logger = options.logger ?? SILENT;
    this.#onEvent = options.onEvent ?? ((): void => undefined);
    this.#spool = new Spool(options.config.spool, options.cluster);
    const { logger, retry } = options;
    const known = new KnownRepositories(this.#spool.folder);
    this.#outlets = options.repositories.map(
      (repository) =>
        new Outlet({
          repository,
          known,
          onEvent: this.#onEvent,
          wasTroubled: options.wasTroubled?.(repository.name) === true,
          logger: logger ?? SILENT,
          ...(retry !== undefined && { retry }),
        }),
    );
    this.#times = new ReceivedTimes({ spool: this.#spool, outlets: this.#outlets, logger: this.#logger });
    this.#confirmed = new ConfirmedFiles(this.#spool, this.#logger);
    this.#gaps = new GapRecords({
      folder: this.#spool.folder,
      outlets: this.#outlets,
      logger: this.#logger,
      signal: this.#cancel.signal,
    });
    this.#answers = new Answers({
      outlets: this.#outlets,
      gaps: this.#gaps,
      onEvent: this.#onEvent,
      logger: this.#logger,
      signal: this.#cancel.signal,
    });
    this.#status = new StatusFile({
      folder: this.#spool.folder,
      slot: options.config.slot,
      repositories: () => this.#outlets.map((outlet) => shippedOf(outlet, this.#shippers, this.#tail, this.#openedAt)),
      logger: this.#logger,
    });
    this.#worker = startThread(options);
  }

  async run(): Promise<ReceiveResult> {
    const { signal, stopTimeout = (): number => STOP_TIMEOUT } = this.#options;
    const stop = (): void => {
      this.#logger.info({}, 'stopping');
      this.#cancel.abort();
      void this.#guardian?.stop();
      this.#post({ type: 'stop' });
    };
    const ended = threadEnd(this.#worker, (message) => this.#take(message));
    // How it ended is looked at below, after what may fail before it.
    ended.then(
      () => this.#status.threadEnded(),
      () => this.#status.threadEnded(),
    );
    try {
      if (signal?.aborted) stop();
      else signal?.addEventListener('abort', stop, { once: true });
      // What an earlier run left is shipped whether or not the server can be reached.
      this.#gaps.resume();
      for (const systemId of this.#spool.systemIds()) this.#shipper(systemId).addLeftovers();
      const { reason, position } = await ended;
      const left = await this.#finish(position, stopTimeout());
      this.#onEvent('wal.state', { state: 'stopped', message: 'the receiver was stopped' });
      if (position !== undefined) this.#onEvent('receive.stopped', { lsn: formatLsn(position.lsn) });
      this.#logger.info(
        {
          unshipped: left.unshipped,
          ...(position !== undefined && { timeline: position.timeline, lsn: formatLsn(position.lsn) }),
        },
        'stopped',
      );
      return { reason, position, ...left };
    } catch (error) {
      await this.#finish(undefined, stopTimeout());
      throw error;
    } finally {
      signal?.removeEventListener('abort', stop);
      this.#cancel.abort();
      this.#status.close();
      await this.#worker.terminate();
    }
  }

  async #finish(
    position: WalPosition | undefined,
    milliseconds: number,
  ): Promise<Pick<ReceiveResult, 'unshipped' | 'unshippedBy'>> {
    const deadline = performance.now() + milliseconds;
    // It was told to end: a storage that hangs in its hands must not take the time of what is shipped.
    await within(Math.min(milliseconds, GUARDIAN_STOP), this.#guardian?.stop() ?? Promise.resolve());
    for (const outlet of this.#outlets) outlet.finish();
    if (position !== undefined) await this.#tail?.finish(position.lsn, milliseconds);
    const shippers = [...this.#shippers.values()];
    if (this.#tail !== undefined && this.#system !== undefined && position !== undefined)
      this.#times.end(this.#system, position);
    let unshipped = 0;
    for (const shipper of shippers) unshipped += await shipper.finish(Math.max(0, deadline - performance.now()));
    await this.#times.finish(deadline - performance.now());
    const unshippedBy = Object.fromEntries(
      this.#outlets.map((outlet) => [outlet.name, shippers.reduce((sum, shipper) => sum + shipper.left(outlet), 0)]),
    );
    if (this.#outlets.length > 1) {
      for (const [repository, files] of Object.entries(unshippedBy)) {
        if (files > 0)
          this.#logger.warn({ repository, files }, `repository ${repository} lacks ${files} files of the spool`);
      }
    }
    return { unshipped, unshippedBy };
  }

  #take(message: WhileRunning): void {
    switch (message.type) {
      case 'system':
        this.#begin(message.info);
        break;
      case 'event':
        this.#report(message.event);
        break;
      case 'file':
        this.#shipper(message.systemId).add(message.name);
        break;
      case 'opened':
        this.#opened(message);
        break;
      case 'slice':
        this.#tail?.take(message.slice);
        if (this.#system !== undefined) this.#times.slice(this.#system, message.slice);
        break;
      case 'hurry':
        this.#tail?.hurry();
        break;
      case 'position':
        this.#status.position(message.position);
        break;
      case 'alive':
        this.#status.alive();
        this.#options.onAlive?.();
        break;
      case 'note':
        this.#logger[message.level]({}, message.message);
        break;
      case 'ask':
        void this.#answer(message.id, message.question);
        break;
    }
  }

  #begin(system: SystemInfo): void {
    this.#system = system;
    this.#status.system(system.systemId);
    this.#guard(system);
    const { ack, tail } = this.#options.config;
    const interval = tail ?? (ack === 'remote' ? REMOTE_INTERVAL : undefined);
    if (interval === undefined || this.#outlets.length === 0) return;
    const shipper = this.#shipper(system.systemId);
    this.#tail = new TailShipper({
      spool: this.#spool,
      system,
      outlets: this.#outlets,
      interval,
      firstMissing: (outlet) => shipper.firstMissing(outlet),
      isHeld: (outlet, timeline) => shipper.isHeld(outlet, timeline),
      ...(this.#outlets.length > 1 && {
        isWhole: (outlet, to, signal) => shipper.isWhole(outlet, to, system.segmentSize, signal),
      }),
      logger: this.#logger,
      want: () => {
        this.#post({ type: 'want-slice' });
      },
      onConfirmed: (position) => {
        this.#post({ type: 'confirmed', position });
      },
    });
  }

  #guard(system: SystemInfo): void {
    this.#guardian = guardianOf({
      options: this.#options,
      system,
      outlets: this.#outlets,
      shipper: this.#shipper(system.systemId),
      folder: join(this.#spool.folder, 'holes'),
      isStreaming: () => this.#streaming,
      onLeader: (host) => {
        this.#post({ type: 'leader', host });
      },
      onEvent: this.#onEvent,
      logger: this.#logger,
    });
    this.#guardian?.start();
  }

  #opened({ name, start, lineage }: Extract<FromThread, { readonly type: 'opened' }>): void {
    const timeline = parseWalFileName(name)?.timeline;
    if (this.#system !== undefined && timeline !== undefined) {
      const { systemId, segmentSize } = this.#system;
      const shipper = this.#shipper(systemId);
      shipper.descent(timeline, lineage);
      // Another receiver, or nobody, has what lies between: each repository is looked at again.
      if (this.#openedAt !== undefined && start > this.#openedAt + BigInt(segmentSize))
        shipper.lookBefore({ timeline, lsn: start }, segmentSize, this.#cancel.signal);
      this.#openedAt = start;
    }
    this.#tail?.opened(name, start);
  }

  #shipper(systemId: string): Shipper {
    const known = this.#shippers.get(systemId);
    if (known !== undefined) return known;
    const { config } = this.#options;
    const [onEvent, logger] = [this.#onEvent, this.#logger];
    const watch = {
      systemId,
      outlets: this.#outlets,
      owed: (outlet: Outlet): readonly Fact[] => this.#gaps.owedBy(outlet, systemId),
      isNew: (): boolean => this.#answers.isNew(systemId),
      onEvent,
      logger,
    };
    const shipper = new Shipper({
      spool: this.#spool,
      systemId,
      outlets: this.#outlets,
      confirmed: this.#confirmed,
      concurrency: config.shipConcurrency,
      ...(this.#outlets.length > 1 && { holes: new HoleWatch(watch) }),
      ...(this.#outlets.length > 0 && { times: this.#times.of(systemId) }),
      onEvent,
      logger,
      onShipped: (outlet, { name }) => {
        if (systemId === this.#system?.systemId) this.#tail?.shipped(outlet, name);
      },
    });
    this.#shippers.set(systemId, shipper);
    return shipper;
  }

  #report(event: Extract<FromThread, { readonly type: 'event' }>['event']): void {
    switch (event.name) {
      case 'wal.state': {
        const { state, message } = event.data;
        this.#streaming = state === 'streaming';
        this.#status.state(event.data);
        if (state === 'WAL_GAP' || state === 'streaming') this.#guardian?.hurry();
        if (CALM.has(state)) this.#logger.info({ state }, message);
        else this.#logger.warn({ state }, message);
        this.#onEvent(event.name, event.data);
        break;
      }
      case 'wal.timeline': {
        const { from, to, lsn } = event.data;
        this.#logger.info({ from, to, lsn }, `timeline ${from} ended at ${lsn}, timeline ${to} follows`);
        this.#onEvent(event.name, event.data);
        break;
      }
      case 'receive.connected':
        this.#status.connected(event.data.host);
        this.#onEvent(event.name, event.data);
        break;
      case 'receive.disconnected':
        this.#status.connected(undefined);
        this.#onEvent(event.name, event.data);
        break;
    }
  }

  async #answer(id: number, question: Question): Promise<void> {
    try {
      this.#post({ type: 'answer', id, value: await this.#answers.to(question) });
    } catch (error) {
      this.#post({ type: 'answer', id, error: plainError(error) });
    }
  }

  #post(message: ToThread): void {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker, not a window
    this.#worker.postMessage(message);
  }
}
