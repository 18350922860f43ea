/** How the stream went over the last hours. */
import { parseLsn } from '../postgres/lsn.ts';
import type { ReceiverState } from '../status/receiver-state.ts';
import type { StreamSample } from './daemon.ts';

/** Milliseconds that are kept, and samples at most: memory must not follow `refresh`. */
const KEPT = 6 * 3_600_000;
const MOST = 1000;

export class StreamSamples {
  #items: readonly StreamSample[] = [];

  /** Oldest first. A list that was given does not change. */
  get items(): readonly StreamSample[] {
    return this.#items;
  }

  take(state: ReceiverState, now: number = Date.now()): void {
    const kept = this.#items.filter(({ time }) => now - time < KEPT);
    // Of the older half every second one goes: the further back, the coarser.
    const thinned = kept.length < MOST ? kept : kept.filter((_, at) => at >= MOST / 2 || at % 2 === 0);
    this.#items = [...thinned, sampleOf(state, now)];
  }
}

function sampleOf(receiver: ReceiverState, time: number): StreamSample {
  if (receiver.state !== 'running') return { time };
  const { position, repositories } = receiver.status;
  const shipped = repositories.flatMap(({ shipped }) => (shipped === undefined ? [] : [parseLsn(shipped)]));
  const [first] = shipped;
  // What one repository has is not known: then it is not known what all have.
  const all = first !== undefined && shipped.length === repositories.length;
  return {
    time,
    ...(position !== undefined && {
      server: parseLsn(position.serverEnd),
      received: parseLsn(position.received),
      flushed: parseLsn(position.flushed),
    }),
    ...(all && { shipped: shipped.reduce((least, one) => (one < least ? one : least), first) }),
  };
}
