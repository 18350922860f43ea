import type { Finding } from '../check/finding.ts';

/** The ends of the lines of Node that are supported for long (nodejs.org, "Releases"). */
const ENDS: ReadonlyMap<number, string> = new Map([
  [22, '2027-04-30'],
  [24, '2028-04-30'],
  [26, '2029-04-30'],
]);

/** The least minor version of a line that pgark runs on. */
const LEAST: ReadonlyMap<number, number> = new Map([
  [22, 18],
  [24, 11],
]);

/** Days before the end from which it is told. */
const SOON = 90;

const HINT = 'Install Node 24 or 26, then start pgark anew.';

/** What to think of a version of Node such as `24.21.0`. `now` in epoch milliseconds. */
export function nodeSupport(version: string, now: number): Omit<Finding, 'subject' | 'check'> {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major < 22 || major === 23 || minor < (LEAST.get(major) ?? 0))
    return { state: 'failed', message: `Node ${version} is too old for pgark`, hint: HINT };
  const end = ENDS.get(major);
  if (end === undefined) {
    if (major > Math.max(...ENDS.keys()) && major % 2 === 0)
      return { state: 'ok', message: `Node ${version}, which is newer than this pgark` };
    return { state: 'warning', message: `Node ${version} is of a line that is not supported for long`, hint: HINT };
  }
  const days = (Date.parse(end) - now) / 86_400_000;
  if (days < 0)
    return { state: 'warning', message: `Node ${version} has had no security fixes since ${end}`, hint: HINT };
  if (days < SOON) return { state: 'warning', message: `Node ${version} gets no fixes after ${end}`, hint: HINT };
  return { state: 'ok', message: `Node ${version}, supported until ${end}` };
}
