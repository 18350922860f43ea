/** Durations and sizes as people write them in the config and on the command line. */
import { ArchiveError } from '../contracts/errors.ts';

const MILLISECONDS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 } as const;
const BYTES = {
  B: 1,
  kB: 1e3,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
} as const;

/** What a duration looks like: one or more of a number and a unit, `90s`, `1h30m`. */
export const DURATION: RegExp = /^(?:\d+(?:\.\d+)?(?:ms|s|m|h|d|w))+$/;

/** What a size looks like: a number and a unit, `256MiB`, `1.5 GB`, or bytes alone. */
export const SIZE: RegExp = /^\d+(?:\.\d+)?(?: ?(?:B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB))?$/;

/** Milliseconds of a duration such as `10s`, `5m`, `1h30m`. Errors: `USAGE`. */
export function parseDuration(text: string): number {
  if (!DURATION.test(text)) {
    throw new ArchiveError('USAGE', `not a duration: "${text}"`, { hint: 'Write for example 10s, 5m, 1h30m or 14d.' });
  }
  let total = 0;
  for (const [, number, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|[smhdw])/g)) {
    total += Number(number) * MILLISECONDS[unit as keyof typeof MILLISECONDS];
  }
  return Math.round(total);
}

/** Bytes of a size such as `256MiB` (1024 based), `1GB` (1000 based) or `4096`. Errors: `USAGE`. */
export function parseSize(text: string): number {
  if (!SIZE.test(text)) {
    throw new ArchiveError('USAGE', `not a size: "${text}"`, { hint: 'Write for example 256MiB, 1GB or 512kB.' });
  }
  const unit = (/[A-Za-z]+$/.exec(text)?.[0] ?? 'B') as keyof typeof BYTES;
  return Math.round(Number.parseFloat(text) * BYTES[unit]);
}
