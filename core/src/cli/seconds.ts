import { ArchiveError } from '../contracts/errors.ts';

/** An option's `90` or `1.5`, in seconds, as milliseconds. Errors: `USAGE`. */
export function seconds(text: string): number {
  if (!/^\d+(?:\.\d+)?$/.test(text)) throw new ArchiveError('USAGE', `not a number of seconds: "${text}"`);
  return Number(text) * 1000;
}
