/** What the receiving thread asks of the repositories, answered in the thread that has them. */
import type { EventSink } from '../contracts/hook.ts';
import type { Logger } from '../contracts/plugin.ts';
import { formatLsn } from '../postgres/lsn.ts';
import { archiveEnds } from './archive-ends.ts';
import { askOutlets } from './ask-outlets.ts';
import { furthestEnds, leastEnds } from './frontier.ts';
import { gapText } from './gap.ts';
import type { GapRecords } from './gap-records.ts';
import type { ArchiveEnds, Question } from './messages.ts';
import type { Outlet } from './outlet.ts';

export interface AnswersOptions {
  readonly outlets: readonly Outlet[];
  readonly gaps: GapRecords;
  readonly onEvent: EventSink;
  readonly logger: Logger;
  /** Ends the wait for a repository. */
  readonly signal: AbortSignal;
}

/** Milliseconds for an answer that the receiver can go on without. */
const PATIENCE = 10_000;

/** The answers of one run: what was asked before is part of what is said of a gap. */
export class Answers {
  readonly #options: AnswersOptions;
  /** Systems of which no repository that answered at the start held any WAL. */
  readonly #new = new Set<string>();
  /** Repositories that did not say how far they go when the server lacked WAL. */
  #unasked: readonly string[] = [];

  constructor(options: AnswersOptions) {
    this.#options = options;
  }

  /** Whether no repository that answered held any WAL of this system when the run began. */
  isNew(systemId: string): boolean {
    return this.#new.has(systemId);
  }

  /**
   * The ends of the archive, undefined when no repository answered in time to a question that is optional; or the names of the
   * repositories that keep a gap from being on record.
   */
  async to(question: Question): Promise<ArchiveEnds | readonly string[] | undefined> {
    if (question.kind === 'gap') return this.#recordGap(question);
    const { signal } = this.#options;
    if (!question.optional) return this.#ends(question, signal);
    const late = AbortSignal.timeout(PATIENCE);
    try {
      return await this.#ends(question, AbortSignal.any([signal, late]));
    } catch (error) {
      if (!late.aborted || signal.aborted) throw error;
      return undefined;
    }
  }

  /**
   * How far the archive goes. Of several repositories the one that is furthest behind counts, so that each gets what
   * it lacks, but no longer when the server lacks WAL that another one has. One that does not answer while others do is left out.
   */
  async #ends(question: Extract<Question, { readonly kind: 'archive' }>, signal: AbortSignal): Promise<ArchiveEnds> {
    const { systemId, segmentSize, lineage, furthest } = question;
    const { outlets, gaps, logger } = this.#options;
    const { answers, silent } = await askOutlets(
      outlets,
      (repository, signal) => {
        const owed = gaps.owedBy(repository, systemId);
        return archiveEnds(repository, systemId, { segmentSize, lineage, owed, signal });
      },
      { subject: 'the end of the archive', signal },
    );
    for (const [{ name }, error] of silent) {
      const why = error?.message ?? 'it does not answer';
      logger.warn(
        { repository: name, ...(error !== undefined && { code: error.code }) },
        `where to begin is decided without repository ${name}, which may lack WAL from before: ${why}`,
      );
    }
    const all = [...answers.values()];
    if (furthest) this.#unasked = [...silent.keys()].map(({ name }) => name);
    if (!furthest && all.every(({ size }) => size === 0)) this.#new.add(systemId);
    return furthest ? furthestEnds(all) : leastEnds(all, { segmentSize, lineage });
  }

  /**
   * A gap is told, and is on record in every repository that answers before it is stepped over. What one may hold that did not say
   * how far it goes is no gap: on record it would hide what that one can give. Gives their names.
   */
  async #recordGap(question: Extract<Question, { readonly kind: 'gap' }>): Promise<readonly string[]> {
    const { systemId, gap, record, own } = question;
    const { gaps, logger, onEvent } = this.#options;
    const { from, to, reason } = gap;
    if (!own && this.#unasked.length > 0) {
      const hint = 'Run "pgark copy" when all repositories can be reached.';
      logger.error({ repositories: this.#unasked, hint }, gapText(gap, this.#unasked));
      return this.#unasked;
    }
    const data = { timeline: from.timeline, from: formatLsn(from.lsn), to: formatLsn(to.lsn), reason };
    logger.error(data, `WAL is lost: ${reason}`);
    onEvent('wal.gap', data);
    if (record)
      await gaps.record(systemId, { kind: 'gap', time: Date.now(), data: { ...data, to_timeline: to.timeline } });
    return [];
  }
}
