import assert from 'node:assert/strict';
import { isArchiveError } from 'pgark/contracts';
import { assertBytes, type CodecClause, type CodecClauseContext } from './clause.ts';
import { foreignStreams } from './foreign-streams.ts';
import { outputBorders } from './units.ts';

/** What is not a whole stream of the format: CODEC-03. */
export const DAMAGE_CLAUSES: readonly CodecClause[] = [
  {
    id: 'CODEC-03/truncated',
    title: 'CODEC-03 a small stream that is cut anywhere is CODEC_CORRUPT',
    async run(context) {
      for (const bytes of [Buffer.alloc(0), context.content(200)]) {
        const encoded = await context.encode(bytes);
        assert.ok(encoded.byteLength > 0, 'an encoded stream has bytes');
        for (let length = 0; length < encoded.byteLength; length++) {
          await context.rejectsAsCorrupt(encoded.subarray(0, length), `${length} of ${encoded.byteLength} bytes`);
        }
      }
    },
  },
  {
    id: 'CODEC-03/truncated-large',
    title: 'CODEC-03 a large stream that is cut is CODEC_CORRUPT, unless exactly between two units',
    async run(context) {
      const { blockSize } = context;
      const bytes = context.content(2 * blockSize + 5000);
      const encoded = await context.encode(bytes);
      const borders = [...(await outputBorders(context, bytes)), encoded.byteLength];
      const nearBorders = borders.flatMap((border) => [-9, -4, -1, 0, 1, 2, 4, 9].map((distance) => border + distance));
      const anywhere = Array.from({ length: 20 }, () => context.random.integer(encoded.byteLength));
      const cuts = [...nearBorders, ...anywhere].filter((at) => at >= 0 && at < encoded.byteLength);
      let between = 0;
      for (const at of cuts) {
        const outcome = await context.tryDecode(encoded.subarray(0, at));
        if ('error' in outcome) continue;
        between++;
        const length = outcome.bytes.byteLength;
        const whole = context.options.concatenates === true && length > 0 && length % blockSize === 0;
        assert.ok(whole, `a stream cut at ${at} of ${encoded.byteLength} gave ${length} bytes without an error`);
        assertBytes(outcome.bytes, bytes.subarray(0, length), `what a stream cut at ${at} gave`);
      }
      assert.ok(between <= 2, `${between} cuts passed, there are 2 places between blocks`);
    },
  },
  {
    id: 'CODEC-03/flipped',
    title: 'CODEC-03 a small stream with any one bit flipped is CODEC_CORRUPT, or gives the same bytes',
    async run(context) {
      const bytes = context.content(80);
      const encoded = await context.encode(bytes);
      let found = 0;
      for (let bit = 0; bit < encoded.byteLength * 8; bit++) {
        found += await decodesToSameOrFails(context, flipped(encoded, bit), bytes, `bit ${bit} flipped`);
      }
      assert.ok(found > encoded.byteLength * 4, `only ${found} of ${encoded.byteLength * 8} flipped bits were found`);
    },
  },
  {
    id: 'CODEC-03/flipped-large',
    title: 'CODEC-03 a large stream with one bit flipped is CODEC_CORRUPT, or gives the same bytes',
    async run(context) {
      const bytes = context.content(context.blockSize + 100_000);
      const encoded = await context.encode(bytes);
      let found = 0;
      for (let round = 0; round < 40; round++) {
        const bit = context.random.integer(encoded.byteLength * 8);
        found += await decodesToSameOrFails(context, flipped(encoded, bit), bytes, `bit ${bit} flipped`);
      }
      assert.ok(found > 0, 'no flipped bit was found');
    },
  },
  {
    id: 'CODEC-03/foreign',
    title: 'CODEC-03 data of another kind is CODEC_CORRUPT',
    async run(context) {
      const foreign: readonly (readonly [string, Uint8Array])[] = [
        ['one zero byte', new Uint8Array(1)],
        ['zero bytes', new Uint8Array(100_000)],
        ['text', Buffer.from('<Error><Code>AccessDenied</Code></Error>\n'.repeat(100))],
        ['random bytes', context.random.bytes(100_000)],
        ['a WAL segment', Buffer.concat([Buffer.from([0x16, 0xd1, 7, 0, 1, 0, 0, 0]), context.content(50_000)])],
        ...foreignStreams(await context.encode([]), context.content(50_000)),
      ];
      for (const [what, bytes] of foreign) {
        const { error } = await context.tryDecode(bytes);
        // There is no key that could be missing: nobody ever encoded this.
        assert.ok(isArchiveError(error, 'CODEC_CORRUPT'), `${what} should be CODEC_CORRUPT, it was ${String(error)}`);
      }
    },
  },
  {
    id: 'CODEC-03/garbage',
    title: 'CODEC-03 bytes before or behind a stream are CODEC_CORRUPT',
    async run(context) {
      const encoded = await context.encode(context.content(5000));
      const garbage = [new Uint8Array(1), new Uint8Array(512), context.random.bytes(3), context.content(4096)];
      for (const [index, extra] of garbage.entries()) {
        await context.rejectsAsCorrupt([encoded, extra], `a stream and garbage ${index} in two chunks`);
        await context.rejectsAsCorrupt(Buffer.concat([encoded, extra]), `a stream and garbage ${index}`);
        await context.rejectsAsCorrupt([extra, encoded], `garbage ${index} and a stream`);
        if (context.options.concatenates === true) {
          await context.rejectsAsCorrupt([encoded, extra, encoded], `garbage ${index} between two streams`);
        }
      }
      // A flag that is the first byte of a next stream, and no more of it.
      await context.rejectsAsCorrupt([encoded, encoded.subarray(0, 1)], 'a stream and the first byte of another');
    },
  },
  {
    id: 'CODEC-03/concatenated',
    title: 'CODEC-03 two streams, one after the other, are both read if the format concatenates, else CODEC_CORRUPT',
    async run(context) {
      const first = context.content(context.blockSize + 1);
      const second = context.content(70_000);
      const parts = [await context.encode(first), await context.encode([]), await context.encode(second)];
      for (const chunks of [parts, Buffer.concat(parts)]) {
        if (context.options.concatenates === true) {
          assertBytes(await context.decode(chunks), Buffer.concat([first, second]), 'the streams together');
        } else {
          await context.rejectsAsCorrupt(chunks, 'three streams, one after the other, of a format that is one stream');
        }
      }
      if (context.options.concatenates === true) return;
      const small = await context.encode(context.content(300));
      await context.rejectsAsCorrupt([small, small], 'a small stream and the same once more');
    },
  },
];

/** 1 when the damage was found, 0 when it changed nothing; throws when it changed the bytes. */
async function decodesToSameOrFails(
  context: CodecClauseContext,
  encoded: Uint8Array,
  bytes: Uint8Array,
  what: string,
): Promise<number> {
  const outcome = await context.tryDecode(encoded);
  if ('error' in outcome) return 1;
  assertBytes(outcome.bytes, bytes, what);
  return 0;
}

function flipped(bytes: Uint8Array, bit: number): Uint8Array {
  const copy = Buffer.from(bytes);
  copy[bit >> 3]! ^= 1 << (bit & 7);
  return copy;
}
