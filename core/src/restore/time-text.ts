/** Moments as people write them, to the microsecond: PostgreSQL compares commit times at that precision. */
import { ArchiveError } from '../contracts/errors.ts';

const RELATIVE_UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };
const RELATIVE_TERM = /(\d+)\s*(weeks?|w|days?|d|hours?|hrs?|h|minutes?|mins?|m|seconds?|secs?|s)(?![a-z])/y;
const ABSOLUTE = /^(\d{4})-(\d{2})-(\d{2})[T ](\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,6})\d*)?)?\s*(.*)$/i;
const FIRST = BigInt(Date.parse('0001-01-01T00:00:00Z')) * 1000n;
const LAST = BigInt(Date.parse('9999-12-31T23:59:59Z')) * 1000n;
const OFFSET = /^([+-])(\d{1,2})(?::?(\d{2})(?::?(\d{2}))?)?$/;

/**
 * Reads a moment, microseconds since 1970: `2026-11-21T06:00:00Z`, `2026-11-21 06:00:00.5+02`, `2026-11-21 06:00 Europe/Berlin`,
 * `2h 30min ago`. `now` is epoch milliseconds, `hostZone` the zone that a text without one might mean.
 *
 * Errors: `USAGE` for anything else; for a time without a zone, which another host would read as another moment, with both
 * readings; for a local time that a change of clocks makes ambiguous or skips.
 */
export function parseMoment(
  text: string,
  options: { readonly now: number; readonly hostZone?: string } = { now: Date.now() },
): bigint {
  const trimmed = text.trim();
  const relative = parseRelative(trimmed);
  if (relative !== undefined) return readable(BigInt(Math.round(options.now)) * 1000n - relative, text);
  const match = ABSOLUTE.exec(trimmed);
  if (match === null) throw unreadable(text);
  const [, year, month, day, hour, minute, second = '0', fraction = '', zone = ''] = match;
  const fields = [year, month, day, hour, minute, second].map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const local = Date.UTC(fields[0], fields[1] - 1, ...(fields.slice(2) as [number, number, number, number]));
  if (!isCalendar(local, fields)) throw unreadable(text);
  const micros = BigInt(local) * 1000n + BigInt(fraction.padEnd(6, '0'));
  return readable(micros - BigInt(offsetOf(zone, local, text, options)) * 1000n, text);
}

/** A moment that has a year of four digits. */
function readable(micros: bigint, text: string): bigint {
  if (micros < FIRST || micros > LAST) throw unreadable(text);
  return micros;
}

/** As PostgreSQL and people read it: `2026-11-21 06:00:00.123456+00`. */
export function formatMoment(micros: bigint): string {
  const rest = ((micros % 1_000_000n) + 1_000_000n) % 1_000_000n;
  const seconds = Number((micros - rest) / 1_000_000n);
  const fraction = rest === 0n ? '' : `.${String(rest).padStart(6, '0').replace(/0+$/, '')}`;
  return `${new Date(seconds * 1000).toISOString().slice(0, 19).replace('T', ' ')}${fraction}+00`;
}

function parseRelative(text: string): bigint | undefined {
  if (!/\bago$/.test(text)) return undefined;
  const terms = text.replace(/\s*ago$/, '');
  let total = 0;
  let at = 0;
  while (at < terms.length) {
    RELATIVE_TERM.lastIndex = at;
    const term = RELATIVE_TERM.exec(terms);
    if (term === null) return undefined;
    total += Number(term[1]) * (RELATIVE_UNITS[term[2]?.[0] ?? ''] ?? 0);
    at =
      RELATIVE_TERM.lastIndex +
      (/^(?:\s*,?\s*(?:and\s+)?)/.exec(terms.slice(RELATIVE_TERM.lastIndex))?.[0].length ?? 0);
  }
  return at === 0 || !Number.isSafeInteger(total) ? undefined : BigInt(total) * 1_000_000n;
}

/** Date.UTC takes the 31st of February for a day in March. */
function isCalendar(local: number, [year, month, day, hour, minute, second]: readonly number[]): boolean {
  const date = new Date(local);
  return (
    date.getUTCFullYear() === year &&
    date.getUTCMonth() + 1 === month &&
    date.getUTCDate() === day &&
    date.getUTCHours() === hour &&
    date.getUTCMinutes() === minute &&
    date.getUTCSeconds() === second
  );
}

/** Milliseconds that the local time is ahead of UTC. */
function offsetOf(zone: string, local: number, text: string, options: { readonly hostZone?: string }): number {
  if (/^(?:z|utc|gmt)$/i.test(zone)) return 0;
  const match = OFFSET.exec(zone);
  if (match !== null) {
    const [, sign, hours, minutes = '0', seconds = '0'] = match;
    const size = (Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds)) * 1000;
    if (Number(hours) > 15 || Number(minutes) > 59 || Number(seconds) > 59) throw unreadable(text);
    return sign === '-' ? -size : size;
  }
  if (zone !== '') return offsetIn(zone, local, text);
  const host = options.hostZone ?? Intl.DateTimeFormat().resolvedOptions().timeZone;
  const utc = formatMoment(BigInt(local) * 1000n);
  const here = formatMoment(BigInt(local - (offsetsIn(host, local)[0] ?? 0)) * 1000n);
  throw new ArchiveError(
    'USAGE',
    `the time "${text}" has no zone: it is ${utc} in UTC, and ${here} if ${host} is meant`,
    {
      hint: 'Say which one, by "Z", an offset such as "+02", or a zone such as "Europe/Berlin" at its end.',
    },
  );
}

function offsetIn(zone: string, local: number, text: string): number {
  if (!/^[A-Za-z_]+(?:\/[A-Za-z0-9_+-]+)+$/.test(zone)) throw unreadable(text);
  const offsets = offsetsIn(zone, local, text);
  const [offset] = offsets;
  if (offset !== undefined && offsets.length === 1) return offset;
  if (offset === undefined)
    throw new ArchiveError('USAGE', `the time "${text}" does not exist: the clocks of ${zone} skip it`, {
      hint: 'Give the time in UTC.',
    });
  const readings = offsets.map((each) => formatMoment(BigInt(local - each) * 1000n));
  throw new ArchiveError('USAGE', `the time "${text}" exists twice: ${readings.join(' and ')}`, {
    hint: 'The clocks of the zone are set back then. Give the time in UTC.',
  });
}

/** The offsets, in milliseconds, at which the clocks of a zone show this local time: none, one or two. */
function offsetsIn(zone: string, local: number, text = zone): readonly number[] {
  let format: Intl.DateTimeFormat;
  try {
    format = new Intl.DateTimeFormat('en-US', {
      timeZone: zone,
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    });
  } catch (error) {
    throw new ArchiveError('USAGE', `the time "${text}" has an unknown zone: "${zone}"`, {
      cause: error,
      hint: 'Use a name such as Europe/Berlin, an offset such as +02, or Z.',
    });
  }
  const shown = (moment: number): number => {
    const part = Object.fromEntries(format.formatToParts(moment).map(({ type, value }) => [type, Number(value)]));
    const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = part;
    return Date.UTC(year, month - 1, day, hour, minute, second);
  };
  // Around a change of clocks the offsets of the day before and the day after are the two that can be meant.
  const candidates = [local - 86_400_000, local + 86_400_000].map((moment) => shown(moment) - moment);
  return [...new Set(candidates)].filter((offset) => shown(local - offset) === local);
}

function unreadable(text: string): ArchiveError {
  return new ArchiveError('USAGE', `not a time: "${text}"`, {
    hint: 'Write "2026-11-21 06:00:00+02", "2026-11-21T06:00:00Z", "2026-11-21 06:00 Europe/Berlin" or "5 minutes ago".',
  });
}
