/** Watches over the server, the slot and the archive while the receiver runs, and acts where the config lets it. */
import { setMaxListeners } from 'node:events';
import type { GuardianConfig } from '../config/config.ts';
import type { EventSink } from '../contracts/hook.ts';
import type { Logger } from '../contracts/plugin.ts';
import { readSlotReport, type SlotReport } from '../postgres/slot-report.ts';
import { leaderFirst } from '../postgres/leader-first.ts';
import type { ConnectionTarget } from '../postgres/target.ts';
import { pause } from '../receive/backoff.ts';
import { asArchiveError } from '../receive/messages.ts';
import { ArchiveGuard, type GuardedRepository } from './archive-guard.ts';
import { follow } from './follow.ts';
import { isCalm, judge, judgeSilence, type Judgement } from './judge.ts';
import { askMembers, judgeLeader, leaderAmong } from './patroni.ts';
import { tendSlots } from './slots.ts';

export interface GuardianOptions {
  readonly target: ConnectionTarget;
  readonly slot: string;
  readonly config: GuardianConfig;
  readonly systemId: string;
  readonly segmentSize: number;
  readonly repositories: readonly GuardedRepository[];
  /** For segments that come from a server. */
  readonly folder: string;
  /** Whether this receiver has the slot: one that stands by looks, and leaves acting to the other one. */
  readonly isStreaming: () => boolean;
  readonly takeBackup?: (signal: AbortSignal) => Promise<string>;
  /** The cluster manager says that a host leads, which was not said before. */
  readonly onLeader?: (host: string) => void;
  readonly onEvent: EventSink;
  readonly logger: Logger;
}

/** Looks at the server between two looks through the listings of the repositories. */
const LOOKS = 20;

export class Guardian {
  readonly #options: GuardianOptions;
  readonly #end = new AbortController();
  readonly #archive: ArchiveGuard;
  #target: ConnectionTarget;
  #leader: string | undefined;
  /** What was told last, by subject. */
  readonly #told = new Map<Judgement['subject'], string>();
  #before: SlotReport | undefined;
  /** What was wrong with the slots of the hosts at the last look: each is told once, not at each look. */
  #troubles: readonly string[] = [];
  #untilArchive = 0;
  #work: Promise<void> | undefined;
  /** What is done in the archive, which may take hours: the server is looked at meanwhile. */
  #beside: Promise<void> | undefined;

  constructor(options: GuardianOptions) {
    setMaxListeners(0, this.#end.signal);
    this.#options = options;
    const { target, config, takeBackup, ...rest } = options;
    // Its streams must not be taken for the synchronous standby that has the name of the slot.
    this.#target = { ...target, applicationName: `${target.applicationName}_guardian` };
    this.#archive = new ArchiveGuard({
      ...rest,
      target: this.#target,
      closeHoles: config.closeHoles,
      ...(config.backup && takeBackup !== undefined && { takeBackup }),
    });
  }

  start(): void {
    this.#work ??= this.#run();
  }

  /** A gap has come up: the repositories are looked at with the next look. */
  hurry(): void {
    this.#untilArchive = 0;
  }

  async stop(): Promise<void> {
    this.#end.abort();
    await this.#work;
    await this.#beside;
  }

  async #run(): Promise<void> {
    const { signal } = this.#end;
    while (!signal.aborted) {
      try {
        await this.#look(signal);
      } catch (error) {
        this.#failed(error);
      }
      await pause(this.#options.config.interval, signal);
    }
  }

  async #look(signal: AbortSignal): Promise<void> {
    const { config, isStreaming } = this.#options;
    const host = await this.#lookAtServer(signal);
    if (config.patroni.length > 0) await this.#lookForLeader(host, signal);
    signal.throwIfAborted();
    if (isStreaming() && config.slots === 'all') await this.#tendSlots(signal);
    this.#untilArchive -= 1;
    if (this.#untilArchive > 0 || this.#options.repositories.length === 0 || this.#beside !== undefined) return;
    this.#beside = (isStreaming() ? this.#lookAtArchive(signal) : this.#follow(signal))
      .catch((error: unknown) => this.#failed(error))
      .finally(() => (this.#beside = undefined));
  }

  #failed(error: unknown): void {
    if (this.#end.signal.aborted) return;
    this.#options.logger.error({ error }, `the guardian failed: ${asArchiveError(error).message}`);
  }

  async #lookAtArchive(signal: AbortSignal): Promise<void> {
    this.#untilArchive = LOOKS;
    const { judgement, again } = await this.#archive.look(this.#before?.timeline, signal);
    if (again) this.#untilArchive = 0;
    if (judgement !== undefined) this.#tell(judgement);
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const { repositories, systemId, segmentSize, config } = this.#options;
    if (this.#before === undefined) return;
    const { maxLag } = config;
    this.#untilArchive = LOOKS;
    const judgement = await follow(this.#before, { repositories, systemId, segmentSize, maxLag, signal });
    if (judgement === undefined || !isCalm(judgement)) this.#untilArchive = 0;
    if (judgement !== undefined) this.#tell(judgement);
  }

  /** Gives the host that answered. */
  async #lookAtServer(signal: AbortSignal): Promise<string | undefined> {
    const { slot, systemId, config } = this.#options;
    try {
      const report = await readSlotReport(this.#target, slot, { signal });
      const before = this.#before;
      const options = { slot, systemId, maxLag: config.maxLag, ...(before !== undefined && { before }) };
      for (const judgement of judge(report, options)) this.#tell(judgement);
      this.#before = report;
      return report.host;
    } catch (error) {
      if (signal.aborted) throw error;
      for (const judgement of judgeSilence(asArchiveError(error), { slot })) this.#tell(judgement);
      return undefined;
    }
  }

  async #lookForLeader(answered: string | undefined, signal: AbortSignal): Promise<void> {
    const { config, onLeader } = this.#options;
    const answers = await askMembers(config.patroni, signal);
    this.#tell(judgeLeader(answers, answered));
    const leader = leaderAmong(answers);
    if (leader === undefined || leader === this.#leader) return;
    this.#leader = leader;
    this.#target = leaderFirst(this.#target, leader);
    onLeader?.(leader);
  }

  async #tendSlots(signal: AbortSignal): Promise<void> {
    const { slot, systemId, onEvent, logger } = this.#options;
    const { made, troubles } = await tendSlots({ target: this.#target, slot, systemId, signal });
    for (const message of made) {
      logger.info({}, message);
      onEvent('guardian.acted', { action: 'slot', message });
    }
    for (const message of troubles) if (!this.#troubles.includes(message)) logger.warn({}, message);
    this.#troubles = troubles;
  }

  /** Tells a state once. */
  #tell({ subject, state, message, hint, detail = '' }: Judgement): void {
    // While the receiver streams, nobody else tells that the server cannot be asked.
    const alone = subject === 'server' && state === 'unknown' && this.#options.isStreaming();
    const said = `${state} ${detail} ${alone ? 'alone' : ''}`;
    const before = this.#told.get(subject);
    if (before === said) return;
    this.#told.set(subject, said);
    const { onEvent, logger } = this.#options;
    const fields = { subject, state, ...(hint !== undefined && { hint }) };
    if (isCalm({ state })) logger.info(fields, message);
    else logger.warn(fields, message);
    if (subject === 'slot') onEvent('slot.state', { state, message });
    else if (subject === 'lag') onEvent('receive.lag', { state, message });
    else onEvent('guardian.state', { subject, state, message, ...(alone && { alone }) });
  }
}
