import { ArchiveError } from '@pgark/sdk';

/** `CODEC_CORRUPT`, with a hint when another than that of the error table helps. */
export function corrupt(message: string, hint?: string): ArchiveError {
  return new ArchiveError('CODEC_CORRUPT', message, hint === undefined ? {} : { hint });
}
