/** Several codecs in a row, as an object's suffixes name them. */
import type { Codec, CodecContext } from './codec.ts';

/** The stream through all codecs, in order of application. The source is ended when the reader leaves, even before its first byte was needed. */
export function encodeThrough(
  codecs: readonly Codec[],
  source: AsyncIterable<Uint8Array>,
  context: CodecContext,
): AsyncIterable<Uint8Array> {
  let stream = source;
  for (const codec of codecs) stream = stage(stream, (input) => codec.encode(input, context));
  return stream;
}

/** What {@link encodeThrough} made, back through the same codecs. */
export function decodeThrough(
  codecs: readonly Codec[],
  source: AsyncIterable<Uint8Array>,
  context: CodecContext,
): AsyncIterable<Uint8Array> {
  let stream = source;
  for (const codec of codecs.toReversed()) stream = stage(stream, (input) => codec.decode(input, context));
  return stream;
}

/**
 * A codec as a part of a chain. The next one may leave before it has asked for anything, such as one that is stopped once its header is
 * written. A generator that never began ends without a word to its source, which then would wait for ever: here it is told.
 */
function stage(
  source: AsyncIterable<Uint8Array>,
  work: (source: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>,
): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
      let begun: AsyncIterator<Uint8Array> | undefined;
      let left = false;
      return {
        next: async () => {
          if (left) return { done: true, value: undefined };
          begun ??= work(source)[Symbol.asyncIterator]();
          return begun.next();
        },
        return: async () => {
          left ||= begun === undefined;
          await (begun ?? source[Symbol.asyncIterator]()).return?.();
          return { done: true, value: undefined };
        },
      };
    },
  };
}
