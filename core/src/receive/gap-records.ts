import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { ArchiveError, errnoOf, isArchiveError } from '../contracts/errors.ts';
import type { Logger } from '../contracts/plugin.ts';
import type { Fact } from '../repository/facts.ts';
import type { Repository } from '../repository/repository.ts';
import { askOutlets } from './ask-outlets.ts';
import { writeDurably } from './durable-file.ts';
import { asArchiveError } from './messages.ts';
import type { Outlet } from './outlet.ts';
import { guard, spoolError } from './spool-error.ts';

export interface GapRecordsOptions {
  /** The folder of the cluster in the spool, which exists. */
  readonly folder: string;
  readonly outlets: readonly Outlet[];
  readonly logger: Logger;
  /** Ends the run. */
  readonly signal: AbortSignal;
  /** As that of {@link import('./ask-outlets.ts').AskOptions}. */
  readonly grace?: number;
}

/** The record of a gap that a repository does not have yet. */
interface OwedRecord {
  readonly repository: string;
  readonly systemId: string;
  readonly fact: Fact;
}

const SUBJECT = 'the record of a gap';

/**
 * Puts gaps on record in every repository. One that is down when another has the record owes it: that is noted in a file beside the
 * spool before the gap is stepped over, and made good when the repository is back, in this run or a later one.
 */
export class GapRecords {
  readonly #options: GapRecordsOptions;
  readonly #path: string;
  #owed: readonly OwedRecord[] | undefined;

  constructor(options: GapRecordsOptions) {
    this.#options = options;
    this.#path = join(options.folder, 'gaps.json');
  }

  /** Begins to write what an earlier run still owed. Throws `SPOOL_INVALID`. */
  resume(): void {
    for (const owed of this.#read()) void this.#pay(owed);
  }

  /**
   * Puts a gap on record; returns when every repository has the record, or one has it and the others do not answer.
   * Throws as {@link askOutlets}, when none has it.
   */
  async record(systemId: string, fact: Fact): Promise<void> {
    const { outlets, signal, grace, logger } = this.#options;
    const { silent } = await askOutlets(outlets, (repository, signal) => add(repository, systemId, fact, signal), {
      subject: SUBJECT,
      signal,
      ...(grace !== undefined && { grace }),
    });
    const owed = [...silent.keys()].map(({ name }) => ({ repository: name, systemId, fact }));
    if (owed.length === 0) return;
    this.#save([...this.#read(), ...owed]);
    for (const one of owed) {
      logger.warn(
        { repository: one.repository },
        `the gap is recorded in repository ${one.repository} when it is back`,
      );
      void this.#pay(one);
    }
  }

  /** The records of a system that a repository does not have yet. */
  owedBy({ name }: { readonly name: string }, systemId: string): readonly Fact[] {
    return this.#read()
      .filter((owed) => owed.repository === name && owed.systemId === systemId)
      .map(({ fact }) => fact);
  }

  async #pay(owed: OwedRecord): Promise<void> {
    const { outlets, signal, logger } = this.#options;
    const outlet = outlets.find(({ name }) => name === owed.repository);
    if (outlet === undefined) return; // it is kept, for the repository may be put back into the config
    try {
      await outlet.run((repository, signal) => add(repository, owed.systemId, owed.fact, signal), {
        subject: SUBJECT,
        signal,
      });
      this.#save(this.#read().filter((other) => other !== owed));
    } catch (error) {
      // It stays in the file: the next run writes it.
      logger.debug({ repository: outlet.name }, `${SUBJECT} is still owed: ${asArchiveError(error).message}`);
    }
  }

  #save(owed: readonly OwedRecord[]): void {
    guard(this.#path, () => {
      if (owed.length === 0) rmSync(this.#path, { force: true });
      else writeDurably(this.#path, Buffer.from(`${JSON.stringify(owed, undefined, 2)}\n`));
    });
    this.#owed = owed;
  }

  #read(): readonly OwedRecord[] {
    this.#owed ??= parse(this.#path);
    return this.#owed;
  }
}

/** Adds the record once: one whose answer was lost is found to be there. */
async function add(repository: Repository, systemId: string, fact: Fact, signal: AbortSignal): Promise<void> {
  const facts = repository.facts(systemId);
  try {
    await facts.add('wal', fact, { signal });
  } catch (error) {
    if (!isArchiveError(error, 'STORAGE_EXISTS')) throw error;
    const present = await facts.list('wal', { signal });
    if (!present.some((other) => isDeepStrictEqual(other, fact))) throw error;
  }
}

function parse(path: string): readonly OwedRecord[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw spoolError(path, error);
  }
  try {
    return JSON.parse(text) as readonly OwedRecord[];
  } catch (error) {
    throw new ArchiveError('SPOOL_INVALID', `${path} is not a list of records that are owed`, { cause: error });
  }
}
