import { oneLine, type ArchiveEvent } from '@pgark/sdk';

/** Characters of one fact: a mail is read by people. */
const LONGEST = 10_000;

type Row = readonly [name: string, value: string];

/** The text of an event's mail: what has happened, then the facts as two tables. */
export function bodyOf(event: ArchiveEvent): string {
  const { summary, cluster, host, name, severity, time, condition, id } = event;
  const facts: Row[] = [
    ['cluster', cluster],
    ['host', host],
    ['event', name],
    ['severity', severity],
    ['time', new Date(time).toISOString()],
    ...(condition === undefined ? [] : [['condition', conditionText(condition)] as const]),
    ['id', id],
  ];
  const data = Object.entries(event.data).map(([key, value]): Row => [key, valueText(value)]);
  const width = Math.max(...[...facts, ...data].map(([key]) => oneLine(key, LONGEST).length));
  const table = (rows: readonly Row[]): string =>
    rows.map(([key, value]) => `${oneLine(key, LONGEST).padEnd(width)}  ${oneLine(value, LONGEST)}\n`).join('');
  return `${oneLine(summary, LONGEST)}\n\n${table(facts)}${data.length === 0 ? '' : `\n${table(data)}`}`;
}

function conditionText({ key, state, repeated = 0 }: NonNullable<ArchiveEvent['condition']>): string {
  return `${key} is ${state}${repeated > 0 ? `, ${repeated} more events said the same` : ''}`;
}

function valueText(value: unknown): string {
  if (Array.isArray(value)) return value.length === 0 ? 'none' : value.map(valueText).join(', ');
  if (typeof value === 'object' && value !== null) return JSON.stringify(value);
  return String(value);
}
