import { decodeThrough, encodeThrough, type Codec } from 'pgark/contracts';

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
    encode: (source, context) => encodeThrough(codecs, source, context),
    decode: (source, context) => decodeThrough(codecs, source, context),
  };
}
