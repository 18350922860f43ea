import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { isArchiveError, type CodecContext } from 'pgark/contracts';
import { inChunks, type CodecClause, type CodecClauseContext } from './clause.ts';
import { WatchedSource } from './watched-source.ts';

type Direction = 'encode' | 'decode';

const DIRECTIONS: readonly Direction[] = ['encode', 'decode'];

/** How the stream runs: CODEC-04, CODEC-05, CODEC-06. */
export const FLOW_CLAUSES: readonly CodecClause[] = [
  {
    id: 'CODEC-04/source',
    title: 'CODEC-04 an error of the source comes back as it was thrown',
    async run(context) {
      for (const direction of DIRECTIONS) {
        const input = await inputOf(context, direction, 2 * context.blockSize);
        for (const length of [0, 1, 1000, Math.floor(input.byteLength / 2), input.byteLength]) {
          const thrown = new Error('the source failed');
          const source = new WatchedSource(inChunks(input.subarray(0, length), 200_000), { error: thrown });
          const error = await context.failureOf(
            drain(context, direction, source, {}),
            `${direction} of a source that fails`,
          );
          assert.equal(error, thrown, `${direction}, after ${length} bytes`);
        }
      }
    },
  },
  {
    id: 'CODEC-04/aborted',
    title: 'CODEC-04 an abort before the start is ABORTED',
    async run(context) {
      for (const direction of DIRECTIONS) {
        const source = new WatchedSource(inChunks(await inputOf(context, direction, 1000), 100));
        const reading = drain(context, direction, source, { signal: AbortSignal.abort(new Error('before')) });
        assertAborted(await context.failureOf(reading, direction), direction);
      }
    },
  },
  {
    id: 'CODEC-04/abort-running',
    title: 'CODEC-04 an abort while the stream runs is ABORTED, and the source is ended',
    async run(context) {
      for (const direction of DIRECTIONS) {
        const input = await inputOf(context, direction, 8 * context.blockSize);
        const source = new WatchedSource(inChunks(input, 100_000));
        const abort = new AbortController();
        const reading = drain(context, direction, source, { signal: abort.signal }, () => abort.abort());
        assertAborted(await context.failureOf(reading, direction), direction);
        // The source is told to end, and not waited for.
        await context.settled(source.whenEnded, `the end of the source after ${direction}`);
        await source.assertQuiet(direction);
        assert.ok(source.bytes < input.byteLength, `${direction} read its source to the end after the abort`);
      }
    },
  },
  {
    id: 'CODEC-04/abort-silent',
    title: 'CODEC-04 an abort while the source is silent is ABORTED',
    async run(context) {
      for (const direction of DIRECTIONS) {
        const input = await inputOf(context, direction, context.blockSize + 100);
        for (const length of [0, 10, input.byteLength - 1]) {
          const source = new WatchedSource(inChunks(input.subarray(0, length), 100_000), { silent: true });
          const abort = new AbortController();
          const reading = drain(context, direction, source, { signal: abort.signal });
          reading.catch(() => undefined);
          await context.settled(source.reachedEnd, `${direction} reading its source`);
          abort.abort();
          assertAborted(await context.failureOf(reading, `${direction} of a silent source`), direction);
        }
      }
    },
  },
  {
    id: 'CODEC-05/slow-reader',
    title: 'CODEC-05 a reader that stands still stops the source',
    async run(context) {
      for (const direction of DIRECTIONS) {
        const concurrency = 2;
        const limit = (4 * concurrency + 2) * context.blockSize;
        const input = await inputOf(context, direction, limit + 8 * context.blockSize);
        const source = new WatchedSource(inChunks(input, 65_536));
        const iterator = context.codec[direction](source, { concurrency })[Symbol.asyncIterator]();
        await context.settled(iterator.next(), direction);
        await source.untilStill();
        assert.ok(source.bytes <= limit, `${direction} took ${source.bytes} bytes for a reader that took one chunk`);
        await context.settled(Promise.resolve(iterator.return?.()), `leaving ${direction}`);
      }
    },
  },
  {
    id: 'CODEC-05/released',
    title: 'CODEC-05 chunks that were passed on are not kept',
    async run(context) {
      const collectGarbage = garbageCollector();
      for (const direction of DIRECTIONS) {
        const blocks = 24;
        const input = await inputOf(context, direction, blocks * context.blockSize);
        const given: WeakRef<Uint8Array>[] = [];
        const source = new WatchedSource(inChunks(input, context.blockSize));
        const { signal } = new AbortController();
        let early: readonly unknown[] | undefined;
        await drain(context, direction, source, { signal }, async (chunk) => {
          given.push(new WeakRef(chunk));
          if (source.bytes < input.byteLength || early !== undefined) return;
          // A WeakRef keeps its target until the turn of the event loop ends.
          await sleep(1);
          collectGarbage();
          // What was given out last may still be on its way; what was given out long before may not.
          early = given.slice(0, Math.floor(given.length / 2)).filter((chunk) => chunk.deref() !== undefined);
        });
        assert.ok(early !== undefined && given.length > 8, `${direction} gave only ${given.length} chunks`);
        assert.ok(early.length <= 2, `${direction} keeps ${early.length} chunks that were given out long before`);
      }
    },
  },
  {
    id: 'CODEC-06/leave',
    title: 'CODEC-06 leaving the loop early ends the source and leaves nothing running',
    async run(context) {
      for (const direction of DIRECTIONS) {
        const input = await inputOf(context, direction, 12 * context.blockSize);
        const source = new WatchedSource(inChunks(input, 100_000));
        const leave = async (): Promise<void> => {
          for await (const chunk of context.codec[direction](source, { concurrency: 3 })) {
            assert.ok(chunk.byteLength >= 0);
            break;
          }
        };
        await context.settled(leave(), `leaving ${direction}`);
        await source.assertQuiet(direction);
        assert.ok(source.bytes < input.byteLength, `${direction} read its source to the end`);
      }
    },
  },
  {
    id: 'CODEC-06/corrupt',
    title: 'CODEC-06 after CODEC_CORRUPT the source is ended too',
    async run(context) {
      const source = new WatchedSource(inChunks(new Uint8Array(20 * 1024 * 1024), 65_536));
      const error = await context.failureOf(drain(context, 'decode', source, {}), 'decoding zero bytes');
      assert.ok(isArchiveError(error), String(error));
      await source.assertQuiet('decode');
    },
  },
];

/** Input for a direction, of about `length` bytes: content, or what the codec makes of content that does not compress. */
async function inputOf(context: CodecClauseContext, direction: Direction, length: number): Promise<Buffer> {
  const piece = context.random.bytes(Math.min(length, context.blockSize));
  const content = Buffer.alloc(length);
  for (let at = 0; at < length; at += piece.byteLength) content.set(piece.subarray(0, length - at), at);
  return direction === 'encode' ? content : context.encode(inChunks(content, 1024 * 1024));
}

async function drain(
  context: CodecClauseContext,
  direction: Direction,
  source: AsyncIterable<Uint8Array>,
  options: Partial<CodecContext>,
  chunkRead?: (chunk: Uint8Array) => unknown,
): Promise<void> {
  for await (const chunk of context.codec[direction](source, { concurrency: 2, ...options })) await chunkRead?.(chunk);
}

function assertAborted(error: unknown, what: string): void {
  assert.ok(isArchiveError(error, 'ABORTED'), `${what}: expected ABORTED, got ${String(error)}`);
}

function garbageCollector(): () => void {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as () => void;
}
