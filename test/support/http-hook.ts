/** A hook that posts events as JSON, right by default, and with one fault where a test of the suite wants it. */
import { ArchiveError, isArchiveError, type ArchiveEvent, type Hook, type HookContext } from '@pgark/sdk';

export interface HttpHookFaults {
  /** Resolves although the event was not delivered. */
  readonly swallows?: boolean;
  /** Sends and resolves at once. */
  readonly isHasty?: boolean;
  /** Tries twice. */
  readonly retries?: boolean;
  /** Sends everything twice. */
  readonly doubles?: boolean;
  /** Sends what failed again with the next event. */
  readonly hoards?: boolean;
  /** Takes one event, and forgets those that come meanwhile. */
  readonly isBusy?: boolean;
  readonly ignoresSignal?: boolean;
  readonly sendsAfterAbort?: boolean;
  readonly isBrokenByAbort?: boolean;
  readonly rejectsForGood?: boolean;
  readonly neverRejectsForGood?: boolean;
  readonly throwsPlainErrors?: boolean;
  readonly showsSecret?: boolean;
  readonly hasNewIds?: boolean;
  readonly throwsAtUnknown?: boolean;
  readonly leavesOut?: string;
  /** As if its message had room for so much and no more. */
  readonly refusesLong?: boolean;
  readonly hasShortTexts?: boolean;
  readonly pastesText?: boolean;
  readonly hangsAtClose?: boolean;
  readonly forgetsUnderWay?: boolean;
  readonly leavesTimer?: boolean;
  readonly connectsAtOnce?: boolean;
}

/** Milliseconds: as long as anybody looks. */
const LATE = 50;

export class HttpHook implements Hook {
  readonly #url: string;
  readonly #secret: string;
  readonly #faults: HttpHookFaults;
  readonly #end = new AbortController();
  #hoard: ArchiveEvent[] = [];
  #busy = false;
  #broken = false;

  constructor(url: string, secret: string, faults: HttpHookFaults = {}) {
    this.#url = url;
    this.#secret = secret;
    this.#faults = faults;
    if (faults.connectsAtOnce === true) void fetch(url).catch(() => undefined);
    if (faults.leavesTimer === true) setInterval(() => undefined, 60_000);
  }

  async handle(event: ArchiveEvent, { signal }: HookContext): Promise<void> {
    const faults = this.#faults;
    if (faults.throwsAtUnknown === true && !/^[a-z]+\.[a-z_]+$/.test(event.name.replace('later', '!')))
      throw new ArchiveError('HOOK_REJECTED', `unknown event ${event.name}`);
    if (faults.leavesOut === event.name) return;
    if (faults.refusesLong === true && event.summary.length > 4096)
      throw new ArchiveError('HOOK_REJECTED', `${event.name} is too long`);
    if (this.#broken) throw new ArchiveError('HOOK_FAILED', 'was aborted once');
    if (faults.isBusy === true && this.#busy) return;
    this.#busy = true;
    try {
      if (faults.isHasty === true) void this.#send(event, signal).catch(() => undefined);
      else await this.#send(event, signal);
      if (faults.doubles === true) await this.#send(event, signal);
      for (const old of this.#hoard.splice(0)) await this.#send(old, signal);
    } catch (error) {
      if (faults.isBrokenByAbort === true && signal.aborted) this.#broken = true;
      if (faults.sendsAfterAbort === true && signal.aborted)
        setTimeout(() => void this.#send(event, new AbortController().signal).catch(() => undefined), LATE);
      if (faults.hoards === true && !this.#hoard.includes(event)) this.#hoard.push(event);
      if (faults.swallows === true) return;
      if (faults.retries === true) return await this.#send(event, signal);
      throw error;
    } finally {
      this.#busy = false;
    }
  }

  async close(): Promise<void> {
    if (this.#faults.hangsAtClose === true) await new Promise(() => undefined);
    if (this.#faults.forgetsUnderWay !== true) this.#end.abort();
  }

  async #send(event: ArchiveEvent, signal: AbortSignal): Promise<void> {
    const faults = this.#faults;
    const { hasNewIds, hasShortTexts, pastesText } = faults;
    const shown = {
      ...event,
      ...(hasNewIds === true && { id: crypto.randomUUID() }),
      ...(hasShortTexts === true && { summary: event.summary.slice(0, 10) }),
    };
    const body =
      pastesText === true
        ? `{"id":"${shown.id}","summary":"${shown.summary.replaceAll('\u0000', '')}"}`
        : JSON.stringify(shown);
    const either = faults.ignoresSignal === true ? this.#end.signal : AbortSignal.any([signal, this.#end.signal]);
    try {
      const response = await fetch(this.#url, {
        method: 'POST',
        body,
        headers: { authorization: `Bearer ${this.#secret}`, connection: 'close' },
        signal: either,
      });
      await response.arrayBuffer();
      if (response.ok) return;
      const isRefusal = response.status === 400 ? faults.neverRejectsForGood !== true : faults.rejectsForGood === true;
      throw new ArchiveError(isRefusal ? 'HOOK_REJECTED' : 'HOOK_FAILED', `the receiver answered ${response.status}`, {
        details: faults.showsSecret === true ? { authorization: `Bearer ${this.#secret}` } : {},
      });
    } catch (error) {
      if (faults.throwsPlainErrors === true) throw new Error('did not work', { cause: error });
      if (isArchiveError(error)) throw error;
      throw new ArchiveError('HOOK_FAILED', `cannot post to ${this.#url}`, { cause: error });
    }
  }
}
