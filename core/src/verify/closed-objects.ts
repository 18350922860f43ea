import type { ArchiveError } from '../contracts/errors.ts';
import type { WalObject, WalSlice } from '../repository/wal.ts';
import type { Unrestorable } from './finding.ts';
import type { Report } from './report.ts';

interface Held {
  readonly key: string;
  readonly error: ArchiveError;
  readonly lost: Unrestorable;
}

/** Objects of one chain of codecs. */
interface Chain {
  /** Whether the last one opened. */
  isOpen: boolean;
  /** One that did not open, behind one that did. */
  held: Held | undefined;
}

/**
 * WAL that no key at hand opens. An altered header looks like that, and so does an object for another key (H-60): what stands alone
 * among objects that open is a finding, which names both; keys are not changed for a single segment. All other objects are skipped: for want
 * of the key nothing is known of them.
 */
export class ClosedObjects {
  readonly #report: Report;
  readonly #chains = new Map<string, Chain>();
  #count = 0;

  constructor(report: Report) {
    this.#report = report;
  }

  /** How many did not open. */
  get count(): number {
    return this.#count;
  }

  add({ key, codecs }: WalObject | WalSlice, error: ArchiveError, lost: Unrestorable): void {
    this.#count++;
    const chain = this.#chain(codecs);
    this.#skip(chain);
    if (chain.isOpen) chain.held = { key, error, lost };
    else this.#report.skip(key, error, lost);
    chain.isOpen = false;
  }

  opened({ codecs }: WalObject | WalSlice): void {
    const chain = this.#chain(codecs);
    if (chain.held !== undefined) {
      const { key, error, lost } = chain.held;
      const text = `${key} does not open, but what was written before and after it does: its header is damaged, or it was written for a key that is not at hand (${error.message})`;
      this.#report.found(key, 'unreadable', text, lost);
    }
    chain.held = undefined;
    chain.isOpen = true;
  }

  /** No more objects come. */
  end(): void {
    for (const chain of this.#chains.values()) this.#skip(chain);
  }

  #skip(chain: Chain): void {
    if (chain.held !== undefined) this.#report.skip(chain.held.key, chain.held.error, chain.held.lost);
    chain.held = undefined;
  }

  #chain(codecs: readonly string[]): Chain {
    const name = codecs.join('.');
    const known = this.#chains.get(name) ?? { isOpen: false, held: undefined };
    this.#chains.set(name, known);
    return known;
  }
}
