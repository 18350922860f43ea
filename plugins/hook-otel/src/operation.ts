/** What an event says of a work that takes time: the beginning of it or its end. */
import type { ArchiveEvent } from '@pgark/sdk';

export interface OperationStep {
  /** `backup` */
  readonly operation: string;
  /** Which one: its events have the same. */
  readonly key: string;
  readonly step: 'started' | 'finished' | 'failed';
  /** How long it took, where the event itself says so. */
  readonly seconds?: number;
}

const OPERATIONS: ReadonlySet<string> = new Set(['backup', 'restore', 'verify', 'drill']);

/** Undefined for an event that is of no operation. */
export function operationStep(event: ArchiveEvent): OperationStep | undefined {
  const [, operation = '', step] = /^([a-z]+)\.(started|finished|failed)$/.exec(event.name) ?? [];
  if (!OPERATIONS.has(operation)) return undefined;
  const { id, backup, repository, directory, seconds } = event.data as Readonly<Record<string, unknown>>;
  return {
    operation,
    key: JSON.stringify([operation, id, backup, repository, directory]),
    step: step as OperationStep['step'],
    ...(typeof seconds === 'number' ? { seconds } : {}),
  };
}
