import { ArchiveError } from '@pgark/sdk';

/** `CODEC_CORRUPT`, with the library's error as its cause. */
export function corrupt(
  message: string,
  options: { readonly cause?: unknown; readonly hint?: string } = {},
): ArchiveError {
  return new ArchiveError('CODEC_CORRUPT', message, options);
}
