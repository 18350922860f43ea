import type { AgeCodec } from '@pgark/codec-age';

export async function* source(...chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

export async function joined(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

export function encode(codec: AgeCodec, ...chunks: readonly Uint8Array[]): Promise<Buffer> {
  return joined(codec.encode(source(...chunks), { concurrency: 2 }));
}

export function decode(codec: AgeCodec, ...chunks: readonly Uint8Array[]): Promise<Buffer> {
  return joined(codec.decode(source(...chunks), { concurrency: 2 }));
}

/** Bytes of the header of an age file. */
export function headerLength(file: Buffer): number {
  return file.indexOf('\n', file.indexOf('\n--- ') + 1) + 1;
}

/** Every text that an error and its causes would show. */
export function textsOf(error: unknown): string {
  const texts: string[] = [];
  for (let one = error; one instanceof Error; one = one.cause)
    texts.push(one.message, one.stack ?? '', JSON.stringify(one), String((one as { hint?: string }).hint));
  return texts.join('\n');
}

/** The item at a place where there is one. */
export function at<Item>(items: readonly Item[], index: number): Item {
  const item = items.at(index);
  if (item === undefined) throw new Error(`there are only ${items.length} items`);
  return item;
}
