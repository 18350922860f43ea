import type { ArchiveEvent } from '@pgark/sdk';
import { operationStep, type OperationStep } from './operation.ts';

/** Operations that were begun and never ended are forgotten in the end. */
const MOST_STARTS = 100;

/** An operation that has ended. */
export interface EndedOperation {
  readonly operation: string;
  readonly outcome: Exclude<OperationStep['step'], 'started'>;
  /** Epoch milliseconds; absent when nobody has said when it began. */
  readonly start?: number;
  readonly end: number;
}

/** Remembers when operations began, until long after their end: the end may have to be told again. */
export class Starts {
  readonly #starts = new Map<string, number>();

  /** Takes note of a beginning; of an end it says what is known. */
  take(event: ArchiveEvent): EndedOperation | undefined {
    const found = operationStep(event);
    if (found === undefined) return undefined;
    const { operation, key, step, seconds } = found;
    if (step === 'started') {
      this.#starts.set(key, event.time);
      const [oldest] = this.#starts.keys();
      if (this.#starts.size > MOST_STARTS && oldest !== undefined) this.#starts.delete(oldest);
      return undefined;
    }
    const start = seconds === undefined ? this.#starts.get(key) : event.time - seconds * 1000;
    return {
      operation,
      outcome: step,
      end: event.time,
      ...(start === undefined ? {} : { start: Math.min(start, event.time) }),
    };
  }
}
