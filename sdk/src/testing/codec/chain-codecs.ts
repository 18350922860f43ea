import type { Codec, CodecContext } from 'pgark/contracts';

/**
 * Several codecs as one, in order of application, as the repository runs them: the suffixes joined by dots, decoding backwards. The keys
 * are those of the last one, whose header is what a stream begins with.
 */
export function chainCodecs(...codecs: readonly [Codec, ...Codec[]]): Codec {
  const last = codecs.at(-1)!;
  const inspect = last.inspect?.bind(last);
  return {
    id: codecs.map(({ id }) => id).join('+'),
    suffix: codecs.map(({ suffix }) => suffix).join('.'),
    ...(last.keyIds === undefined ? {} : { keyIds: last.keyIds }),
    ...(inspect === undefined ? {} : { inspect }),
    encode: (source, context) => through(codecs, 'encode', source, context),
    decode: (source, context) => through(codecs.toReversed(), 'decode', source, context),
  };
}

function through(
  codecs: readonly Codec[],
  direction: 'encode' | 'decode',
  source: AsyncIterable<Uint8Array>,
  context: CodecContext,
): AsyncIterable<Uint8Array> {
  let stream = source;
  for (const codec of codecs) stream = codec[direction](stream, context);
  return stream;
}
