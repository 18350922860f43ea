import assert from 'node:assert/strict';
import { assertBytes, inChunks, type CodecClause, type CodecClauseContext } from './clause.ts';
import { freedChunk } from '../freed-chunk.ts';
import { outputBorders, slowly } from './units.ts';

/** The two directions together: CODEC-01 and CODEC-07. */
export const ROUND_TRIP_CLAUSES: readonly CodecClause[] = [
  {
    id: 'CODEC-01/empty',
    title: 'CODEC-01 an empty stream comes back empty, however it is empty',
    async run(context) {
      const nothing = new Uint8Array(0);
      for (const chunks of [[], [nothing], [nothing, nothing, nothing]]) {
        const encoded = await context.encode(chunks);
        assert.equal((await context.decode(encoded)).byteLength, 0, `${chunks.length} empty chunks`);
      }
    },
  },
  {
    id: 'CODEC-01/content',
    title: 'CODEC-01 any content of any length comes back',
    async run(context) {
      const { blockSize } = context;
      for (const length of [1, 2, 255, 4096, 65_535, 131_073, blockSize - 1, blockSize, blockSize + 1, 2 * blockSize]) {
        for (const [kind, bytes] of contents(context, length)) {
          const encoded = await context.encode(inChunks(bytes, 65_536));
          assertBytes(await context.decode(inChunks(encoded, 65_536)), bytes, `${length} bytes of ${kind}`);
        }
      }
    },
  },
  {
    id: 'CODEC-01/chunks',
    title: 'CODEC-01 the chunking of either stream means nothing',
    async run(context) {
      const bytes = context.content(600);
      const encoded = await context.encode(bytes);
      assertBytes(await context.decode(inChunks(await context.encode(inChunks(bytes, 1)), 1)), bytes, 'single bytes');
      for (let at = 0; at <= encoded.byteLength; at++) {
        const halves = [encoded.subarray(0, at), encoded.subarray(at)];
        assertBytes(await context.decode(halves), bytes, `encoded bytes split at ${at}`);
      }
      for (let round = 0; round < 20; round++) {
        const again = await context.encode(randomChunks(context, bytes, 500));
        assertBytes(await context.decode(randomChunks(context, again, 500)), bytes, 'random chunks');
      }
    },
  },
  {
    id: 'CODEC-07/leased',
    title: 'CODEC-07 leased chunks, whose memory is freed as soon as they are released, are all there',
    async run(context) {
      const { blockSize } = context;
      const bytes = context.content(3 * blockSize + 1000);
      for (const length of [blockSize, 100_000, blockSize + 35]) {
        const encoded = await context.encode(freedChunks(bytes, length));
        assertBytes(await context.decode(freedChunks(encoded, length)), bytes, `leased chunks of ${length}`);
      }
    },
  },
  {
    id: 'CODEC-01/borders',
    title: 'CODEC-01 splits at and around the borders of blocks mean nothing',
    async run(context) {
      const { blockSize } = context;
      const bytes = context.content(2 * blockSize + 1000);
      const encoded = await context.encode(bytes);
      assertBytes(await context.decode(encoded), bytes, 'one chunk');
      for (const distance of [-2, -1, 0, 1, 2]) {
        const at = blockSize + distance;
        const parts = [bytes.subarray(0, at), bytes.subarray(at, 2 * at), bytes.subarray(2 * at)];
        assertBytes(await context.decode(await context.encode(parts)), bytes, `content split at ${at}`);
      }
      const borders = await outputBorders(context, bytes);
      for (const at of borders.flatMap((border) => [border - 1, border, border + 1, border + 5])) {
        const parts = [encoded.subarray(0, at), encoded.subarray(at)];
        assertBytes(await context.decode(parts), bytes, `encoded bytes split at ${at}`);
      }
    },
  },
  {
    id: 'CODEC-01/concurrency',
    title: 'CODEC-01 the order of the bytes holds, however many blocks are worked on at once',
    async run(context) {
      const bytes = context.content(5 * context.blockSize + 77);
      for (const concurrency of [1, 3, 16]) {
        const encoded = await context.encode(inChunks(bytes, 1_000_000), concurrency);
        assertBytes(await context.decode(inChunks(encoded, 100_000), concurrency), bytes, `concurrency ${concurrency}`);
      }
    },
  },
  {
    id: 'CODEC-07/source',
    title: 'CODEC-07 chunks of the source are not changed',
    async run(context) {
      const bytes = context.content(context.blockSize + 5000);
      const before = Buffer.from(bytes);
      const encoded = await context.encode(inChunks(bytes, 300_000));
      assertBytes(bytes, before, 'the chunks given to encode');
      const encodedBefore = Buffer.from(encoded);
      await context.decode(inChunks(encoded, 300_000));
      assertBytes(encoded, encodedBefore, 'the chunks given to decode');
    },
  },
  {
    id: 'CODEC-07/output',
    title: 'CODEC-07 chunks given out are not changed afterwards',
    async run(context) {
      const { codec } = context;
      const bytes = context.content(6 * context.blockSize);
      const encoded = await keepAll(codec.encode(slowly(inChunks(bytes, 500_000)), { concurrency: 2 }));
      const decoded = await keepAll(codec.decode(slowly(encoded), { concurrency: 2 }));
      assertBytes(Buffer.concat(decoded), bytes, 'the round trip');
    },
  },
];

function contents(context: CodecClauseContext, length: number): readonly (readonly [string, Buffer])[] {
  return [
    ['random bytes', Buffer.from(context.random.bytes(length))],
    ['zero bytes', Buffer.alloc(length)],
    ['mixed runs', context.content(length)],
  ];
}

function* randomChunks(
  context: CodecClauseContext,
  bytes: Uint8Array,
  most: number,
): Generator<Uint8Array, void, undefined> {
  for (let start = 0; start < bytes.byteLength;) {
    const end = start + context.random.integer(most);
    yield bytes.subarray(start, end);
    start = end;
  }
}

function* freedChunks(bytes: Uint8Array, length: number): Generator<Uint8Array, void, undefined> {
  for (let start = 0; start < bytes.byteLength; start += length)
    yield freedChunk(bytes.subarray(start, start + length));
}

/** All chunks of a stream; asserts that none of them changed between its arrival and the end. */
async function keepAll(source: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const chunks: Uint8Array[] = [];
  const copies: Buffer[] = [];
  for await (const chunk of source) {
    chunks.push(chunk);
    copies.push(Buffer.from(chunk));
  }
  for (const [index, chunk] of chunks.entries()) assertBytes(chunk, copies[index]!, `chunk ${index} given out`);
  return chunks;
}
