import { ArchiveError } from '@pgark/sdk';

/** `CODEC_CORRUPT`, with the library's error as its cause. */
export function corrupt(message: string, cause?: unknown): ArchiveError {
  const detail = cause instanceof Error ? `: ${cause.message}` : '';
  return new ArchiveError('CODEC_CORRUPT', `${message}${detail}`, { cause });
}
