import assert from 'node:assert/strict';
import { isArchiveError, type Codec, type KeyUse } from 'pgark/contracts';
import { CodecClauseSkipped, inChunks, type CodecClause, type CodecClauseContext } from './clause.ts';
import { foreignStreams } from './foreign-streams.ts';
import { WatchedSource } from './watched-source.ts';

/** A codec that has keys, as CODEC-08 wants it. */
export type KeyedCodec = Codec & Required<Pick<Codec, 'keyIds' | 'inspect'>>;

/** Bytes of a stream within which every header ends, even one for many recipients. */
const HEADER_LIMIT = 128 * 1024;

/** What the header of a stream says: CODEC-08, the part of `inspect`. */
export const INSPECT_CLAUSES: readonly CodecClause[] = [
  {
    id: 'CODEC-08/pair',
    title: 'CODEC-08 a codec has both keyIds and inspect, or neither',
    async run({ codec }) {
      const has = codec.keyIds !== undefined;
      const without = has ? 'keyIds without inspect' : 'inspect without keyIds';
      assert.equal(codec.inspect !== undefined, has, `the codec has ${without}`);
      if (codec.keyIds === undefined) return;
      assert.ok(codec.keyIds.length > 0, 'a codec that has a key to write for has no keyIds');
      assert.equal(new Set(codec.keyIds).size, codec.keyIds.length, `keyIds twice: ${codec.keyIds.join(', ')}`);
      for (const id of codec.keyIds) assert.ok(/^[\x20-\x7e]+$/.test(id), `not the id of a key: ${JSON.stringify(id)}`);
    },
  },
  {
    id: 'CODEC-08/inspect',
    title: 'CODEC-08 inspect says for which keys a stream was written, and reads its header only',
    async run(context) {
      const codec = keyed(context.codec);
      const encoded = await context.encode(context.random.bytes(4 * HEADER_LIMIT));
      for (const length of [1, 700, 65_536]) {
        const source = new WatchedSource(inChunks(encoded, length));
        const use = await context.settled(codec.inspect(source, {}), 'inspecting');
        assertWrittenFor(use, codec);
        assert.equal(use.readable, true, 'a codec says that it cannot read what it writes');
        assert.ok(
          source.bytes <= HEADER_LIMIT + length,
          `inspect read ${source.bytes} bytes of a stream for its header`,
        );
        await source.assertQuiet('inspect');
      }
      const small = new WatchedSource([await context.encode([])]);
      assertWrittenFor(await context.settled(codec.inspect(small, {}), 'inspecting'), codec);
      await small.assertQuiet('inspect');
    },
  },
  {
    id: 'CODEC-08/inspect-damaged',
    title: 'CODEC-08 inspect of what has no whole header of this format is CODEC_CORRUPT',
    async run(context) {
      const codec = keyed(context.codec);
      const encoded = await context.encode(context.content(100));
      const without = [['nothing', Buffer.alloc(0)] as const, ...foreignStreams(encoded, context.content(50_000))];
      for (const [what, bytes] of [...without, ['random bytes', context.random.bytes(300_000)] as const]) {
        const source = new WatchedSource(inChunks(bytes, 1000));
        const error = await context.failureOf(codec.inspect(source, {}), `inspecting ${what}`);
        assert.ok(isArchiveError(error, 'CODEC_CORRUPT'), `${what}: ${String(error)}`);
        await source.assertQuiet('inspect');
      }
      // Cut within the header it is an error; cut behind it, nothing is missing.
      let whole = false;
      for (let length = 0; length <= encoded.byteLength; length++) {
        const found = await tryInspect(
          context,
          codec,
          encoded.subarray(0, length),
          `${length} of ${encoded.byteLength} bytes`,
        );
        assert.ok(found !== undefined || !whole, `inspect knows less of ${length} bytes than of fewer`);
        whole = found !== undefined;
        if (found !== undefined) assert.equal(found.readable, true, `${length} of ${encoded.byteLength} bytes`);
      }
      assert.ok(whole, 'inspect finds no header in what the codec writes');
      for (let round = 0; round < 300; round++) {
        const bit = context.random.integer(encoded.byteLength * 8);
        const damaged = Buffer.from(encoded);
        damaged[bit >> 3]! ^= 1 << (bit & 7);
        await tryInspect(context, codec, damaged, `bit ${bit} flipped`);
      }
    },
  },
  {
    id: 'CODEC-08/inspect-flow',
    title: 'CODEC-08 inspect gives errors of its source back as they were thrown, and an abort is ABORTED',
    async run(context) {
      const codec = keyed(context.codec);
      const begin = (await context.encode(context.content(300))).subarray(0, 5);
      const thrown = new Error('the source failed');
      const failing = new WatchedSource([begin], { error: thrown });
      assert.equal(await context.failureOf(codec.inspect(failing, {}), 'inspecting a source that fails'), thrown);

      const unread = new WatchedSource([begin]);
      const before = codec.inspect(unread, { signal: AbortSignal.abort(new Error('before')) });
      assertAborted(await context.failureOf(before, 'inspecting after an abort'));

      const silent = new WatchedSource([begin], { silent: true });
      const abort = new AbortController();
      const inspecting = codec.inspect(silent, { signal: abort.signal });
      inspecting.catch(() => undefined);
      await context.settled(silent.reachedEnd, 'inspect reading its source');
      abort.abort();
      assertAborted(await context.failureOf(inspecting, 'inspecting a silent source'));
      await silent.assertQuiet('inspect');
    },
  },
];

/** The codec, if it has keys; else the clause says nothing. That it has both or none is a clause of its own. */
export function keyed(codec: Codec): KeyedCodec {
  if (codec.keyIds === undefined || codec.inspect === undefined) throw new CodecClauseSkipped('the codec has no keys');
  return codec as KeyedCodec;
}

/** Asserts that the header tells as many keys as `codec` writes for, and none that it does not. */
export function assertWrittenFor(use: KeyUse, codec: KeyedCodec): void {
  const text = `${use.keyIds.join(', ')} and ${use.unknown} more`;
  assert.equal(
    use.keyIds.length + use.unknown,
    codec.keyIds.length,
    `written for ${codec.keyIds.join(', ')}, said to be for ${text}`,
  );
  for (const id of use.keyIds)
    assert.ok(codec.keyIds.includes(id), `said to be for ${id}, of which the codec does not know`);
}

async function tryInspect(
  context: CodecClauseContext,
  codec: KeyedCodec,
  bytes: Uint8Array,
  what: string,
): Promise<KeyUse | undefined> {
  try {
    return await context.settled(codec.inspect(new WatchedSource([bytes]), {}), `inspecting ${what}`);
  } catch (error) {
    assert.ok(isArchiveError(error, 'CODEC_CORRUPT'), `${what}: expected CODEC_CORRUPT, got ${String(error)}`);
    return undefined;
  }
}

function assertAborted(error: unknown): void {
  assert.ok(isArchiveError(error, 'ABORTED'), `inspect: expected ABORTED, got ${String(error)}`);
}
