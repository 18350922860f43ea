import { ArchiveError, type Codec, type CodecContext } from '@pgark/sdk';
import { deflateRawSync, gunzipSync, gzipSync, inflateRawSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { fuzzCodec, FuzzFailure, type FuzzOptions } from '../fuzz/fuzz-codec.ts';
import { FUZZ_TARGETS } from '../fuzz/targets.ts';

/** Of each codec. Much more is `npm run fuzz`. */
const CASES = 8;
const seed = Math.floor(Math.random() * 2 ** 32);

describe(`a short fuzz run from seed ${seed} on`, () => {
  test.each(Object.entries(FUZZ_TARGETS))(
    '%s gives back what it was given, or an error',
    { timeout: 120_000 },
    async (name, target) => {
      let found = 0;
      for (let at = 0; at < CASES; at++) {
        const counts = await fuzzCodec(target, (seed + at) % 2 ** 32).catch((error: unknown) => {
          if (error instanceof FuzzFailure) {
            error.message += `\nagain: npm run fuzz -- --codec ${name} --cases 1 --seed ${error.seed}`;
          }
          throw error;
        });
        found += counts.found;
      }
      expect(found, 'damaged streams that were found').toBeGreaterThan(CASES);
    },
  );
});

type Step = (bytes: Buffer) => Uint8Array;

/** A codec that has its whole stream in memory. */
function simple(encode: Step, decode: Step): Codec {
  const direction = (step: Step) =>
    async function* (source: AsyncIterable<Uint8Array>, { signal }: CodecContext): AsyncGenerator<Uint8Array> {
      const chunks: Uint8Array[] = [];
      for await (const chunk of source) {
        if (signal?.aborted === true) throw new ArchiveError('ABORTED', 'cancelled');
        chunks.push(chunk);
      }
      yield step(Buffer.concat(chunks));
    };
  return { id: 'simple', suffix: 'simple', encode: direction(encode), decode: direction(decode) };
}

/** A step whose failures are `CODEC_CORRUPT`. */
function honest(step: Step): Step {
  return (bytes) => {
    try {
      return step(bytes);
    } catch (error) {
      throw new ArchiveError('CODEC_CORRUPT', 'damaged', { cause: error });
    }
  };
}

const gunzip = honest((bytes) => gunzipSync(bytes));
const gzip: Step = (bytes) => gzipSync(bytes, { level: 1 });

describe('H-84 the fuzz run finds a codec that', () => {
  const cases: readonly (readonly [string, Codec, RegExp, FuzzOptions])[] = [
    [
      'has no checksum',
      simple(
        (bytes) => deflateRawSync(bytes),
        honest((bytes) => inflateRawSync(bytes)),
      ),
      /other bytes/,
      {},
    ],
    [
      'throws what is no error of pgark',
      simple(gzip, (bytes) => gunzipSync(bytes)),
      /neither decoded nor CODEC_CORRUPT/,
      {},
    ],
    [
      'loses the last byte of what is large',
      simple(gzip, (bytes) => trimmed(gunzip(bytes))),
      /not what was encoded/,
      {},
    ],
    ['fails on what it wrote', simple((bytes) => gzip(bytes).subarray(0, -1), gunzip), /decoding failed/, {}],
    ['takes an abort for the end', ignoringAborts(simple(gzip, gunzip)), /expected ABORTED/, {}],
    ['hangs on damage', hanging(simple(gzip, gunzip)), /hangs/, { patience: 2000 }],
    ['needs memory for what is damaged', simple(gzip, hungry(gunzip)), /grew by/, { memory: 64 * 1024 * 1024 }],
  ];
  test.each<(typeof cases)[number]>(cases)('%s', { timeout: 120_000 }, async (_what, codec, message, options) => {
    const target = { create: () => codec, blockSize: 64 * 1024, concatenates: true };
    const error: unknown = await (async () => {
      for (let at = 0; at < 300; at++) await fuzzCodec(target, (seed + at) % 2 ** 32, options);
    })().catch((failure: unknown) => failure);
    expect(error, `from seed ${seed} on`).toBeInstanceOf(FuzzFailure);
    expect((error as FuzzFailure).message).toMatch(message);
  });

  test('does the same again from the same seed', async () => {
    const target = FUZZ_TARGETS['gzip']!;
    expect(await fuzzCodec(target, seed)).toEqual(await fuzzCodec(target, seed));
  });
});

function trimmed(bytes: Uint8Array): Uint8Array {
  return bytes.byteLength > 1000 ? bytes.subarray(0, -1) : bytes;
}

function ignoringAborts(codec: Codec): Codec {
  return { ...codec, encode: (source, { concurrency }) => codec.encode(source, { concurrency }) };
}

function hanging(codec: Codec): Codec {
  return {
    ...codec,
    async *decode(source, context) {
      try {
        yield* codec.decode(source, context);
      } catch {
        await new Promise(() => undefined);
      }
    },
  };
}

/** Keeps what it took for damaged streams. */
function hungry(step: Step): Step {
  const kept: Buffer[] = [];
  return (bytes) => {
    try {
      return step(bytes);
    } catch (error) {
      kept.push(Buffer.alloc(32 * 1024 * 1024, 1));
      throw error;
    }
  };
}
