import assert from 'node:assert/strict';
import { inspect as show } from 'node:util';
import { isArchiveError, type Codec } from 'pgark/contracts';
import {
  assertBytes,
  CodecClauseSkipped,
  inChunks,
  type CodecClause,
  type CodecClauseContext,
  type CodecKeys,
} from './clause.ts';
import { keyed, type KeyedCodec } from './inspect-clauses.ts';
import { WatchedSource } from './watched-source.ts';

/** Other keys, no keys, later versions: CODEC-08, and what CODEC-03 says of versions. */
export const KEY_CLAUSES: readonly CodecClause[] = [
  {
    id: 'CODEC-03/future',
    title: 'CODEC-03 a stream of a later version of the format is CODEC_CORRUPT',
    async run(context) {
      const { future } = context.options;
      if (future === undefined) throw new CodecClauseSkipped('the suite was given no "future"');
      for (const content of [Buffer.alloc(0), context.content(3000), context.content(context.blockSize + 1)]) {
        const encoded = await context.encode(content);
        const later = future(Buffer.from(encoded));
        assert.notEqual(Buffer.compare(later, encoded), 0, '"future" changed nothing');
        for (const chunks of [later, inChunks(later, Math.max(1, Math.ceil(later.byteLength / 500)))]) {
          const outcome = await context.tryDecode(chunks);
          assertCode('CODEC_CORRUPT', outcome.error, 'a stream of a later version');
        }
        if (context.codec.inspect === undefined) continue;
        const inspecting = context.codec.inspect(new WatchedSource([later]), {});
        assertCode('CODEC_CORRUPT', await context.failureOf(inspecting, 'inspecting a later version'), 'inspect');
      }
    },
  },
  {
    id: 'CODEC-08/other-key',
    title: 'CODEC-08 what was written for other keys is CODEC_KEY on decoding, and not readable for inspect',
    async run(context) {
      const codec = keyed(context.codec);
      const other = keyed(await made(context, 'other'));
      for (const content of [Buffer.alloc(0), context.content(2 * context.blockSize + 5)]) {
        const encoded = await context.encode(content);
        await assertClosedTo(context, other, encoded, codec);
        const theirs = await context.encode(content, 2, other);
        await assertClosedTo(context, codec, theirs, other);
        assertBytes(await context.decode(theirs, 2, other), content, 'what the other one wrote');
      }
    },
  },
  {
    id: 'CODEC-08/read-only',
    title: 'CODEC-08 without a key to write for, keyIds is empty and encoding is CODEC_KEY; reading works',
    async run(context) {
      const codec = keyed(context.codec);
      const reader = keyed(await made(context, 'readOnly'));
      assert.deepEqual(reader.keyIds, [], 'keyIds of a codec that has no key to write for');
      const content = context.content(context.blockSize + 5);
      for (const chunks of [[], [content.subarray(0, 300)], inChunks(content, 100_000)]) {
        let written = 0;
        const source = new WatchedSource(chunks);
        const writing = async (): Promise<void> => {
          for await (const chunk of reader.encode(source, { concurrency: 2 })) written += chunk.byteLength;
        };
        assertCode('CODEC_KEY', await context.failureOf(writing(), 'encoding without a key'), 'encoding without a key');
        assert.equal(written, 0, 'encoding without a key gave bytes');
        // Whoever makes the content must learn that nobody takes it.
        await source.assertQuiet('encode');
      }
      const encoded = await context.encode(content);
      assertBytes(
        await context.decode(inChunks(encoded, 100_000), 2, reader),
        content,
        'read by a codec that only reads',
      );
      const use = await context.settled(reader.inspect(new WatchedSource([encoded]), {}), 'inspecting');
      assert.equal(use.readable, true, 'a codec that only reads says that it cannot read');
      assert.equal(use.keyIds.length + use.unknown, codec.keyIds.length, 'how many keys open the stream');
    },
  },
  {
    id: 'CODEC-08/write-only',
    title: 'CODEC-08 a codec without a key to read with writes for others, and says that it cannot read',
    async run(context) {
      const codec = keyed(context.codec);
      const writer = keyed(await made(context, 'writeOnly'));
      assert.ok(writer.keyIds.length > 0, 'a codec that writes has no keyIds');
      const content = context.content(context.blockSize + 5);
      const encoded = await context.encode(content, 2, writer);
      await assertClosedTo(context, writer, encoded, writer);
      assertBytes(await context.decode(encoded), content, 'what a codec wrote that cannot read');
      const use = await context.settled(codec.inspect(new WatchedSource([encoded]), {}), 'inspecting');
      assert.equal(use.readable, true, 'a codec with the key says that it cannot read');
    },
  },
  {
    id: 'CODEC-08/secrets',
    title: 'CODEC-08 secrets are in no error, no id of a key, and not to be seen in the codec itself',
    async run(context) {
      const { secrets } = context.options.keys ?? {};
      if (secrets === undefined || secrets.length === 0)
        throw new CodecClauseSkipped('the suite was given no "secrets"');
      const { codec } = context;
      const encoded = await context.encode(context.content(50));
      const errors = [
        ...(await failuresOf(context, codec, [encoded.subarray(0, -1), Buffer.alloc(500), context.random.bytes(500)])),
        ...(await failuresOf(context, codec, everyByteChanged(encoded))),
      ];
      for (const which of ['other', 'readOnly', 'writeOnly'] as const) {
        const one = await context.options.keys?.[which]?.();
        if (one === undefined) continue;
        errors.push(...(await failuresOf(context, one, [encoded])));
        if (which === 'readOnly')
          errors.push(await context.failureOf(context.encode([], 2, one), 'encoding without a key'));
        assertShowsNone(secrets, [one, one.keyIds], `the codec "${which}"`);
      }
      assert.ok(errors.length > 0, 'nothing failed, so that no error was looked at');
      assertShowsNone(secrets, errors, 'an error');
      assertShowsNone(secrets, [codec, codec.keyIds], 'the codec');
    },
  },
];

async function made(context: CodecClauseContext, which: Exclude<keyof CodecKeys, 'secrets'>): Promise<Codec> {
  const make = context.options.keys?.[which];
  if (make === undefined) throw new CodecClauseSkipped(`the suite was given no "keys.${which}"`);
  return make();
}

/** Asserts that `reader` cannot read what `writer` wrote, and says so. */
async function assertClosedTo(
  context: CodecClauseContext,
  reader: KeyedCodec,
  encoded: Uint8Array,
  writer: KeyedCodec,
): Promise<void> {
  const source = new WatchedSource(inChunks(encoded, 10_000));
  const error = await context.failureOf(context.decode(source, 2, reader), 'decoding without the key');
  assertCode('CODEC_KEY', error, 'decoding without the key');
  await source.assertQuiet('decode');
  const inspected = new WatchedSource(inChunks(encoded, 10_000));
  const use = await context.settled(reader.inspect(inspected, {}), 'inspecting without the key');
  assert.equal(use.readable, false, 'inspect says that it is readable without the key');
  assert.equal(use.keyIds.length + use.unknown, writer.keyIds.length, 'how many keys open the stream');
  await inspected.assertQuiet('inspect');
}

async function failuresOf(
  context: CodecClauseContext,
  codec: Codec,
  streams: Iterable<Uint8Array>,
): Promise<readonly unknown[]> {
  const errors: unknown[] = [];
  for (const bytes of streams) {
    const failed = (error: unknown): number => errors.push(error);
    await context.decode(bytes, 2, codec).catch(failed);
    await codec.inspect?.(new WatchedSource([bytes]), {}).catch(failed);
  }
  return errors;
}

function* everyByteChanged(bytes: Uint8Array): Generator<Uint8Array, void, undefined> {
  for (let at = 0; at < bytes.byteLength; at++) {
    const changed = Buffer.from(bytes);
    changed[at]! ^= 0x55;
    yield changed;
  }
}

/** Asserts that no way of printing the values shows a secret, as text, hexadecimal or base64. */
function assertShowsNone(secrets: readonly (string | Uint8Array)[], values: readonly unknown[], what: string): void {
  const forms = secrets.flatMap((secret) =>
    typeof secret === 'string'
      ? [secret]
      : (['hex', 'base64', 'latin1'] as const).map((form) => Buffer.from(secret).toString(form)),
  );
  for (const value of values) {
    const text = `${show(value, { depth: Infinity, showHidden: true, maxArrayLength: null })}\n${JSON.stringify(value)}\n${String(value)}`;
    // Buffers are printed with a space between each two digits.
    const shown = [text, text.replaceAll(/\s/g, '')];
    const found = forms.findIndex((form) => shown.some((one) => one.includes(form)));
    assert.equal(found, -1, `${what} shows a secret`);
  }
}

function assertCode(code: 'CODEC_CORRUPT' | 'CODEC_KEY', error: unknown, what: string): void {
  assert.ok(isArchiveError(error, code), `${what}: expected ${code}, got ${String(error)}`);
}
