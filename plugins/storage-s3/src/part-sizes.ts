import { ArchiveError } from '@pgark/sdk';
import type { Settings } from './options.ts';

const MIB = 1024 * 1024;

/** S3 takes no more parts, and no larger ones. */
const MOST_PARTS = 10_000;
const LARGEST_PART = 5 * 1024 * MIB;

/** So many parts have the same size before it doubles: ten steps from 8 MiB make room for 5 TiB and more. */
const STEP = 1000;

/**
 * Bytes of each part of an object, by its number from 1, so that 10,000 parts suffice. With `size` they are all equal; without it
 * they grow as the object turns out to be large, except where the service wants equal ones.
 */
export function partSizes(
  settings: Pick<Settings, 'partSize' | 'equalParts'>,
  key: string,
  size: number | undefined,
): (number: number) => number {
  const least = size === undefined ? 0 : Math.ceil(size / MOST_PARTS / MIB) * MIB;
  const base = Math.max(settings.partSize, least);
  const grows = size === undefined && !settings.equalParts;
  return (number) => {
    if (number > MOST_PARTS) {
      throw new ArchiveError('STORAGE_FULL', `the object ${key} has more than ${MOST_PARTS} parts`, {
        retriable: false,
        hint: 'Raise "partSize" of the s3 storage, or lower "backup.partSize", in the config.',
      });
    }
    return grows ? Math.min(base * 2 ** Math.floor((number - 1) / STEP), LARGEST_PART) : base;
  };
}
