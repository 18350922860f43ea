/** Codecs without keys that each break some promise of the contract: the conformance suite has to find every one of them. */
import { GzipCodec } from '@pgark/codec-gzip';
import { releaseChunk, type Codec, type CodecContext } from '@pgark/sdk';
import { gunzipSync, gzipSync } from 'node:zlib';

type Stream = AsyncIterable<Uint8Array>;
type Step = (source: Stream, context: CodecContext) => Stream;

/** What the codecs work on at once. */
export const MIB = 1024 * 1024;
/** The one that is right. */
export const good = new GzipCodec({ level: 1 });

/** A codec that is right but for what is replaced. */
export function codec(replaced: { readonly encode?: Step; readonly decode?: Step }): Codec {
  return {
    id: 'broken',
    suffix: 'broken',
    encode: replaced.encode ?? ((source, context) => good.encode(source, context)),
    decode: replaced.decode ?? ((source, context) => good.decode(source, context)),
  };
}

async function* same(source: Stream): Stream {
  yield* source;
}

async function* only(chunk: Uint8Array): Stream {
  yield chunk;
}

async function joined(source: Stream): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of source) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** `step` on what both directions give. */
function both(step: (source: Stream) => Stream): Codec {
  return codec({
    encode: (source, context) => step(good.encode(source, context)),
    decode: (source, context) => step(good.decode(source, context)),
  });
}

/** `step` on what both directions are given. */
function before(step: (source: Stream) => Stream): Codec {
  return codec({
    encode: (source, context) => good.encode(step(source), context),
    decode: (source, context) => good.decode(step(source), context),
  });
}

export interface BrokenCodec {
  readonly fault: string;
  readonly broken: Codec;
  /** The clauses that must find it. */
  readonly clauses: readonly string[];
  /** As declared to the suite; default true. */
  readonly concatenates?: boolean;
}

export const BROKEN_CODECS: readonly BrokenCodec[] = [
  {
    fault: 'changes nothing, so that nothing can be noticed',
    broken: codec({ encode: same, decode: same }),
    clauses: [
      'CODEC-02/tool-reads',
      'CODEC-02/tool-writes',
      'CODEC-03/truncated',
      'CODEC-03/truncated-large',
      'CODEC-03/flipped',
      'CODEC-03/flipped-large',
      'CODEC-03/foreign',
      'CODEC-03/garbage',
      'CODEC-04/aborted',
      'CODEC-04/abort-running',
      'CODEC-04/abort-silent',
    ],
  },
  {
    fault: 'writes nothing for an empty stream',
    broken: codec({
      async *encode(source, context) {
        const bytes = await joined(source);
        if (bytes.byteLength > 0) yield* good.encode(only(bytes), context);
      },
    }),
    clauses: ['CODEC-01/empty', 'CODEC-03/truncated'],
  },
  {
    fault: 'forgets what is behind the last whole block',
    broken: codec({
      async *encode(source) {
        const bytes = await joined(source);
        for (let at = 0; at + MIB <= bytes.byteLength; at += MIB) yield gzipSync(bytes.subarray(at, at + MIB));
        if (bytes.byteLength < MIB) yield gzipSync(bytes);
      },
    }),
    clauses: ['CODEC-01/content', 'CODEC-01/borders'],
  },
  {
    fault: 'takes every chunk for a whole stream',
    broken: codec({
      async *decode(source) {
        for await (const chunk of source) yield gunzipSync(chunk);
      },
    }),
    clauses: ['CODEC-01/chunks'],
  },
  {
    fault: 'gives blocks out as they are ready',
    broken: codec({
      async *encode(source, context) {
        const chunks = [];
        for await (const chunk of good.encode(source, context)) chunks.push(chunk);
        yield* context.concurrency > 1 ? chunks.toReversed() : chunks;
      },
    }),
    clauses: ['CODEC-01/concurrency'],
  },
  {
    fault: 'stops at the end of the first member',
    broken: codec({
      async *decode(source) {
        const bytes = await joined(source);
        const second = bytes.indexOf(Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0]), 10);
        yield gunzipSync(second < 0 ? bytes : bytes.subarray(0, second));
      },
    }),
    clauses: ['CODEC-03/concatenated'],
  },
  {
    fault: 'is a row of streams and is said to be one',
    broken: good,
    clauses: ['CODEC-03/concatenated', 'CODEC-03/reordered', 'CODEC-03/spliced'],
    concatenates: false,
  },
  {
    fault: 'leaves out a member that it has just read',
    broken: codec({
      async *decode(source, context) {
        const blocks = await joined(good.decode(source, context));
        for (let at = 0; at < blocks.byteLength; at += MIB) {
          const block = blocks.subarray(at, at + MIB);
          if (at === 0 || Buffer.compare(block, blocks.subarray(at - MIB, at)) !== 0) yield block;
        }
      },
    }),
    clauses: ['CODEC-03/reordered'],
  },
  {
    fault: 'wraps errors of the source',
    broken: before(async function* (source) {
      try {
        yield* source;
      } catch (error) {
        throw new Error('wrapped', { cause: error });
      }
    }),
    clauses: ['CODEC-04/source'],
  },
  {
    fault: 'reads ahead of its reader without a limit',
    broken: before(async function* (source) {
      yield await joined(source);
    }),
    clauses: ['CODEC-05/slow-reader', 'CODEC-06/leave'],
  },
  {
    fault: 'keeps all that it has given out',
    broken: both(async function* (source) {
      const kept: Uint8Array[] = [];
      for await (const chunk of source) {
        kept.push(chunk);
        yield kept.at(-1)!;
      }
    }),
    clauses: ['CODEC-05/released'],
  },
  {
    fault: 'leaves its source open',
    broken: before((source) => {
      const iterator = source[Symbol.asyncIterator]();
      return { [Symbol.asyncIterator]: () => ({ next: () => iterator.next() }) };
    }),
    clauses: ['CODEC-06/leave', 'CODEC-06/corrupt', 'CODEC-04/abort-running'],
  },
  {
    fault: 'works in the buffers of its source',
    broken: before(async function* (source) {
      for await (const chunk of source) {
        yield Buffer.from(chunk);
        chunk.fill(0);
      }
    }),
    clauses: ['CODEC-07/source'],
  },
  {
    fault: 'releases a chunk before it is done with it',
    broken: before(async function* (source) {
      for await (const chunk of source) {
        releaseChunk(chunk);
        yield Buffer.from(chunk);
      }
    }),
    clauses: ['CODEC-07/leased'],
  },
  {
    fault: 'uses its output buffer again',
    broken: both(async function* (source) {
      const buffer = Buffer.alloc(8 * MIB);
      for await (const chunk of source) {
        buffer.set(chunk);
        yield buffer.subarray(0, chunk.byteLength);
      }
    }),
    clauses: ['CODEC-07/output'],
  },
];
