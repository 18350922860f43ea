/**
 * The contract of a codec: a reversible transformation of a byte stream in a standard format. Each promise has an
 * id; the conformance suite (`@pgark/sdk/testing`) has a test under each id.
 */

export interface CodecContext {
  /** How many blocks may be worked on at once, at least 1. */
  readonly concurrency: number;
  readonly signal?: AbortSignal;
}

/** For which keys an encoded stream was written, as far as its header tells. */
export interface KeyUse {
  /** Keys or recipients that are known, by the names of {@link Codec.keyIds}. */
  readonly keyIds: readonly string[];
  /** Further keys that open it, and of which the header does not say whose they are. */
  readonly unknown: number;
  /** Whether a key at hand opens it. */
  readonly readable: boolean;
}

/**
 * - CODEC-01 `decode(encode(x))` is `x` for any bytes in any chunking, the empty stream included.
 * - CODEC-02 The output is of a standard format: the well-known tool of that format reads it.
 * - CODEC-03 Truncated, altered or foreign input is `CODEC_CORRUPT` on decoding, never short data, never a hang.
 *   (A stream cut exactly between two of its self-contained units is found by the digest around the codec.)
 * - CODEC-04 An error of the source comes back as it was thrown; an abort is `ABORTED`.
 * - CODEC-05 Memory is bounded by `concurrency`, whatever the length of the stream and the speed of the reader.
 * - CODEC-06 Leaving the loop early ends the source and leaves nothing running.
 * - CODEC-07 Chunks of the source are not changed; chunks given out are not changed afterwards, unless their reader
 *   releases them (`lease.ts`).
 * - CODEC-08 What was written for other keys is `CODEC_KEY` on decoding, and not readable for `inspect`, which reads the header of a
 *   stream only. A codec with keys has both `keyIds` and `inspect`; where it has no key to write for, `keyIds` is empty and encoding
 *   is `CODEC_KEY`.
 */
export interface Codec {
  /** Short name, as in the config. */
  readonly id: string;
  /** What it appends to an object's name, without the dot: `zst`. */
  readonly suffix: string;
  /** Which keys it writes for, for `backup.json`; absent for codecs without keys. */
  readonly keyIds?: readonly string[];
  encode(source: AsyncIterable<Uint8Array>, context: CodecContext): AsyncIterable<Uint8Array>;
  decode(source: AsyncIterable<Uint8Array>, context: CodecContext): AsyncIterable<Uint8Array>;
  /** Says for which keys an encoded stream was written. `CODEC_CORRUPT` when it has no header of this format. */
  inspect?(source: AsyncIterable<Uint8Array>, context: Pick<CodecContext, 'signal'>): Promise<KeyUse>;
}
