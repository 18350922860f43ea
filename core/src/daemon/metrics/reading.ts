import type { SetName } from './families.ts';
import type { MetricLabel } from './table.ts';

export type Labels = Readonly<Partial<Record<MetricLabel, string>>>;

/** The value of one series at one moment, in the unit of its metric. */
export interface Reading {
  readonly name: SetName;
  /** Without `cluster`. */
  readonly labels: Labels;
  readonly value: number;
}

/** A reading; none for what is not known. */
export function* reading(
  name: Reading['name'],
  value: number | bigint | boolean | undefined,
  labels: Labels = {},
): Generator<Reading> {
  const number = Number(value);
  if (value !== undefined && Number.isFinite(number)) yield { name, labels, value: number };
}

/** Of milliseconds, also since 1970, or of a time as ISO text. */
export function seconds(time: number | string | undefined): number | undefined {
  if (time === undefined) return undefined;
  return (typeof time === 'string' ? Date.parse(time) : time) / 1000;
}

/** One reading for each of the states, 1 for the one that holds. */
export function* oneOf(
  name: Reading['name'],
  label: MetricLabel,
  states: readonly string[],
  current: string,
): Generator<Reading> {
  for (const state of states) yield* reading(name, state === current, { [label]: state });
}
