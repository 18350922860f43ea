import assert from 'node:assert/strict';
import { isArchiveError } from 'pgark/contracts';
import { assertBytes, type CodecClause, type CodecClauseContext } from './clause.ts';
import { encodeInUnits, type Units } from './units.ts';

/**
 * The units of a stream in another order, and of two streams in one: CODEC-03. Of a format that concatenates, whole units in any order are
 * another whole stream, which no decoder can tell from the first: the digest around the codec does. Keys forbid it: with them nothing but
 * what was written may be read.
 */
export const ORDER_CLAUSES: readonly CodecClause[] = [
  {
    id: 'CODEC-03/reordered',
    title:
      'CODEC-03 units swapped, left out or doubled are CODEC_CORRUPT, or another whole stream where units are streams',
    async run(context) {
      const made = await encodeInUnits(context, context.content(3 * context.blockSize + 70_000));
      const last = made.units.length - 1;
      const places = made.units.map((_, index) => index);
      const middle = 1 + context.random.integer(last - 1);
      const orders: readonly (readonly [string, readonly number[]])[] = [
        ...someOf(context, places.slice(0, -1)).map(
          (at) => [`${at} and its next swapped`, swapped(places, at)] as const,
        ),
        ['first and last swapped', [last, ...places.slice(1, -1), 0]],
        ['all reversed', places.toReversed()],
        ...[0, middle, last].map((at) => [`${at} left out`, places.filter((place) => place !== at)] as const),
        ...[0, middle, last].map(
          (at) => [`${at} doubled`, places.flatMap((place) => (place === at ? [at, at] : [place]))] as const,
        ),
      ];
      for (const [what, order] of orders) {
        const parts = order.map((at) => part(made, at));
        // The first unit may hold the header, without which nobody can say what is wrong.
        await assertFound(context, made.content, parts, `unit ${what} of ${places.length}`, order[0] === 0);
      }
    },
  },
  {
    id: 'CODEC-03/spliced',
    title: 'CODEC-03 units of two streams in one are CODEC_CORRUPT, or another whole stream where units are streams',
    async run(context) {
      const content = context.content(3 * context.blockSize + 70_000);
      const first = await encodeInUnits(context, content);
      const second = await encodeInUnits(context, context.content(content.byteLength));
      const others = [second];
      // With keys no two streams are alike, and no part of the one stands in for that part of the other.
      if (context.codec.keyIds !== undefined) others.push(await encodeInUnits(context, content));
      for (const other of others) {
        const shorter = Math.min(first.units.length, other.units.length);
        for (const at of someOf(
          context,
          Array.from({ length: shorter - 1 }, (_, index) => index + 1),
        )) {
          const head = first.units.slice(0, at).map((_, index) => part(first, index));
          const tail = (of: Units, from: number): Part[] => of.units.map((_, index) => part(of, index)).slice(from);
          await assertFound(
            context,
            content,
            [...head, ...tail(other, at)],
            `a stream that is another one from unit ${at} on`,
          );
          const one = [...head, part(other, at), ...tail(first, at + 1)];
          await assertFound(context, content, one, `a stream with unit ${at} of another one`);
        }
      }
    },
  },
];

interface Part {
  readonly bytes: Uint8Array;
  readonly content: Uint8Array | undefined;
}

function part({ units, contents }: Units, at: number): Part {
  return { bytes: units[at]!, content: contents?.[at] };
}

/** Asserts that a stream of other units than were written is an error, or, of units that are streams, just what these are together. */
async function assertFound(
  context: CodecClauseContext,
  written: Uint8Array,
  parts: readonly Part[],
  what: string,
  hasHeader = true,
): Promise<void> {
  const hasKeys = context.codec.keyIds !== undefined;
  const outcome = await context.tryDecode(Buffer.concat(parts.map(({ bytes }) => bytes)));
  const contents = parts.flatMap(({ content }) => (content === undefined ? [] : [content]));
  const areStreams = context.options.concatenates === true && contents.length === parts.length && !hasKeys;
  const error: unknown = outcome.error;
  if (error !== undefined) {
    assert.ok(!areStreams, `${what}, each a stream of its own: ${told(error)}`);
    if (hasKeys && hasHeader) assert.ok(isArchiveError(error, 'CODEC_CORRUPT'), `${what}: ${told(error)}`);
    return;
  }
  assert.ok('bytes' in outcome);
  assert.ok(areStreams, `${what} was decoded without an error, to ${outcome.bytes.byteLength} bytes`);
  const expected = Buffer.concat(contents);
  assertBytes(outcome.bytes, expected, what);
  assert.notEqual(Buffer.compare(expected, written), 0, `${what} is what was written, so that nothing was tried`);
}

function told(error: unknown): string {
  return isArchiveError(error) ? `${error.code}: ${error.message}` : String(error);
}

/** At most five of the places, whichever. */
function someOf(context: CodecClauseContext, places: readonly number[]): readonly number[] {
  return context.random.shuffled(places).slice(0, 5);
}

function swapped(places: readonly number[], at: number): readonly number[] {
  return [...places.slice(0, at), at + 1, at, ...places.slice(at + 2)];
}
