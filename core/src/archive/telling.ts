import type { ArchiveError } from '../contracts/errors.ts';
import type { EventGate, EventSink } from '../contracts/hook.ts';
import type { Events } from '../hooks/events.ts';
import { repositoryFailure } from '../repository/repository-failure.ts';

/** Whom a call tells what happens: the caller at once, the hooks beside the work. */
export interface Telling {
  readonly emit: EventSink;
  /** Waits for the hooks that may refuse; see `Events.gate`. */
  readonly gate: EventGate;
}

/** The hooks of the archive, and who has called it. The signal is that of the call: it ends the wait for a gate. */
export function tellingOf(
  events: Pick<Events, 'emit' | 'gate'>,
  { onEvent, signal }: { readonly onEvent?: EventSink | undefined; readonly signal: AbortSignal },
): Telling {
  return {
    emit: (name, data) => {
      onEvent?.(name, data);
      events.emit(name, data);
    },
    gate: async (name, data) => {
      onEvent?.(name, data);
      await events.gate(name, data, { signal });
    },
  };
}

/** Any thrown value as an error of the table. */
export function errorOf(error: unknown): ArchiveError {
  return repositoryFailure('', error).error;
}
