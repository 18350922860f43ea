import { assertBytes, inChunks, type CodecClauseContext } from './clause.ts';

/** The parts of which a codec makes a stream, as far as it shows them: the chunks that it gives out. */
export interface Units {
  readonly content: Uint8Array;
  readonly units: readonly Uint8Array[];
  /** What each unit is by itself, when each is a stream of its own. */
  readonly contents: readonly Uint8Array[] | undefined;
}

/** Encodes and keeps the chunks apart. A codec that gives out fewer than four has its stream cut into four at no border at all. */
export async function encodeInUnits(context: CodecClauseContext, content: Uint8Array): Promise<Units> {
  const given: Uint8Array[] = [];
  const encoding = async (): Promise<void> => {
    for await (const chunk of context.codec.encode(slowly([content]), { concurrency: 2 }))
      if (chunk.byteLength > 0) given.push(Buffer.from(chunk));
  };
  await context.settled(encoding(), 'encoding');
  if (given.length < 4) {
    const encoded = Buffer.concat(given);
    return { content, units: [...inChunks(encoded, Math.ceil(encoded.byteLength / 4))], contents: undefined };
  }
  const contents: Uint8Array[] = [];
  for (const unit of given) {
    const outcome = await context.tryDecode(unit);
    if ('bytes' in outcome) contents.push(outcome.bytes);
  }
  if (contents.length < given.length) return { content, units: given, contents: undefined };
  assertBytes(Buffer.concat(contents), content, 'what the units are, each by itself');
  return { content, units: given, contents };
}

/** Where the chunks that the codec itself gives out end: often the borders of its units. */
export async function outputBorders(context: CodecClauseContext, bytes: Uint8Array): Promise<number[]> {
  const borders: number[] = [];
  let at = 0;
  for await (const chunk of context.codec.encode(slowly([bytes]), { concurrency: 2 })) {
    at += chunk.byteLength;
    borders.push(at);
  }
  return borders.slice(0, -1);
}

export async function* slowly(chunks: Iterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  for (const chunk of chunks) {
    await new Promise((resolve) => setImmediate(resolve));
    yield chunk;
  }
}
