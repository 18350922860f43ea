import { ArchiveError, type GetOptions } from 'pgark/contracts';

/**
 * The bytes of an object of `size` bytes that `range` means, cut at the end of the object.
 *
 * Throws `STORAGE_INVALID_KEY` for a range that starts at or past the end, start 0 of an empty object excepted, and for
 * one that is no range (STOR-10).
 */
export function resolveRange(
  key: string,
  range: GetOptions['range'],
  size: number,
): { readonly start: number; readonly end: number } {
  const start = range?.start ?? 0;
  const end = range?.end ?? size;
  if (
    !Number.isSafeInteger(start) ||
    !Number.isSafeInteger(end) ||
    start < 0 ||
    (end < start && range?.end !== undefined)
  ) {
    throw new ArchiveError('STORAGE_INVALID_KEY', `${start} to ${end} is not a range of ${key}`);
  }
  if (start >= size && !(start === 0 && size === 0)) {
    throw new ArchiveError('STORAGE_INVALID_KEY', `a range of ${key} starts at ${start}, the object has ${size} bytes`);
  }
  return { start, end: Math.min(end, size) };
}
