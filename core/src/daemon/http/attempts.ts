/**
 * Wrong tokens, by address. Who guesses waits, and so does a new client beside him; who has shown a good token from an address once is not
 * asked to wait there again, however many others guess.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { isIP } from 'node:net';

/** Wrong tokens that are let pass, and milliseconds after which one of them is forgotten. */
const FREE = 10;
const FORGET = 10_000;
/** Milliseconds between two tries of one address after that, and how many may wait. */
const PAUSE = 1000;
const WAITING = 8;
/** Addresses, and clients that are known, that are remembered. */
const MOST = 10_000;

interface Record {
  failures: number;
  /** Of the last failure. */
  last: number;
  /** When the next try may be looked at. */
  next: number;
  waiting: number;
}

export interface AttemptsOptions {
  /** Milliseconds of a clock that only goes on. Default: that of the process. */
  readonly now?: () => number;
  readonly pause?: (milliseconds: number, signal: AbortSignal) => Promise<void>;
}

export class Attempts {
  readonly #records = new Map<string, Record>();
  readonly #known = new Set<string>();
  readonly #now: () => number;
  readonly #pause: (milliseconds: number, signal: AbortSignal) => Promise<void>;

  constructor(options: AttemptsOptions = {}) {
    this.#now = options.now ?? (() => performance.now());
    this.#pause = options.pause ?? ((milliseconds, signal) => sleep(milliseconds, undefined, { signal, ref: false }));
  }

  /**
   * Waits until a token of this address may be looked at; false: too many wait. `token` names a good token, undefined for a wrong one:
   * which it is shows in nothing but for clients that are known. Rejects when the signal fires.
   */
  async turn(address: string | undefined, token: string | undefined, signal: AbortSignal): Promise<boolean> {
    const from = networkOf(address);
    if (token !== undefined && this.#known.has(`${from} ${token}`)) return true;
    const record = this.#records.get(from);
    if (record === undefined) return true;
    const now = this.#now();
    forget(record, now);
    if (record.failures < FREE) return true;
    if (record.waiting >= WAITING) return false;
    record.next = Math.max(now, record.next + PAUSE);
    record.waiting++;
    try {
      if (record.next > now) await this.#pause(record.next - now, signal);
    } finally {
      record.waiting--;
    }
    return true;
  }

  failed(address: string | undefined): void {
    const from = networkOf(address);
    const now = this.#now();
    const record = this.#records.get(from) ?? { failures: 0, last: now, next: now, waiting: 0 };
    forget(record, now);
    record.failures++;
    record.last = now;
    remember(this.#records, from);
    this.#records.set(from, record);
  }

  /** A good token came from this address. */
  met(address: string | undefined, token: string): void {
    const key = `${networkOf(address)} ${token}`;
    if (this.#known.has(key)) return;
    remember(this.#known, key);
    this.#known.add(key);
  }
}

/** Makes room for one more: the oldest goes. */
function remember(held: Map<string, unknown> | Set<string>, key: string): void {
  held.delete(key);
  if (held.size < MOST) return;
  const [oldest] = held.keys();
  if (oldest !== undefined) held.delete(oldest);
}

function forget(record: Record, now: number): void {
  const gone = Math.floor((now - record.last) / FORGET);
  if (gone < 1) return;
  record.failures = Math.max(0, record.failures - gone);
  record.last += gone * FORGET;
}

/** One customer has at least a /64 of IPv6. */
function networkOf(address: string | undefined): string {
  if (address === undefined || isIP(address) !== 6 || address.startsWith('::ffff:')) return address ?? '';
  const [head = '', tail] = address.split('::');
  const front = head === '' ? [] : head.split(':');
  const back = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : 8 - front.length - back.length;
  return [...front, ...Array<string>(Math.max(0, zeros)).fill('0'), ...back].slice(0, 4).join(':');
}
