import assert from 'node:assert/strict';
import { rejectsWith, type StorageClause, type StorageClauseContext } from './clause.ts';
import { LargeContent } from './large-content.ts';
import { MemoryWatch } from './memory-watch.ts';

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

/** At full scale: behind 2^32, and the end is the border of nothing. */
const FULL_SIZE = 6 * GIB + 12_345;
const SMALL_SIZE = 5 * MIB + 12_345;

/** How much the process may grow while an object of 6 GiB goes through it. */
const MOST_MEMORY = 300 * MIB;

export const SCALE_CLAUSES: readonly StorageClause[] = [
  {
    id: 'STOR-09/large',
    title: 'STOR-09 H-56 an object of 6 GiB (small scale: 5 MiB) is the same at each byte, in bounded memory',
    async run(context) {
      const isFull = context.options.scale === 'full';
      const content = new LargeContent(isFull ? FULL_SIZE : SMALL_SIZE, context.random);
      const memory = new MemoryWatch();
      try {
        for (const size of [undefined, content.size]) {
          const key = context.key(size === undefined ? 'of-unknown-size' : 'of-known-size');
          const options = { ifAbsent: true, ...(size !== undefined && { size }) };
          await measured(context, `put, size ${size ?? 'unknown'}`, content.size, memory, () =>
            context.storage.put(key, content.chunks(), options),
          );
          assert.equal((await context.storage.stat(key)).size, content.size);
          const listed: number[] = [];
          for await (const entry of context.storage.list(key)) listed.push(entry.size);
          assert.deepEqual(listed, [content.size]);
          await assertRanges(context, key, content);
          await measured(context, 'get', content.size, memory, () => assertWhole(context, key, content));
          await context.storage.remove([key]);
        }
        // Less than a small object would tell: what is held could be all of it.
        if (isFull) {
          const growth = Math.round(memory.growth / MIB);
          assert.ok(memory.growth < MOST_MEMORY, `the process has grown by ${growth} MiB`);
        }
      } finally {
        memory.end();
      }
    },
  },
];

async function assertWhole(context: StorageClauseContext, key: string, content: LargeContent): Promise<void> {
  let offset = 0;
  for await (const chunk of context.storage.get(key)) {
    content.assertAt(offset, chunk, key);
    offset += chunk.byteLength;
  }
  assert.equal(offset, content.size, `bytes of ${key}`);
}

/** Around what 32 bits hold, with and without a sign, around a border of parts, and at both ends. */
async function assertRanges(context: StorageClauseContext, key: string, content: LargeContent): Promise<void> {
  const { size } = content;
  const borders = [0, MIB, 4 * MIB, Math.floor(size / 2), 2 ** 31, 2 ** 32, size].filter((border) => border <= size);
  const ranges = borders.map((border) => ({
    start: Math.max(0, border - 1000),
    // One that ends behind the object gives what there is.
    end: border + 1000,
  }));
  for (const range of [...ranges, { start: size - 100_000 }, { start: size - 1 }]) {
    const bytes = await context.get(key, { range });
    const what = `range ${JSON.stringify(range)} of ${key}`;
    content.assertAt(range.start, bytes, what);
    assert.equal(range.start + bytes.byteLength, Math.min(size, 'end' in range ? range.end : size), `end of ${what}`);
  }
  await rejectsWith('STORAGE_INVALID_KEY', context.get(key, { range: { start: size } }), 'a range behind the end');
}

/** Notes, at full scale, how long it took, and how much memory there was at most so far. */
async function measured(
  context: StorageClauseContext,
  what: string,
  bytes: number,
  memory: MemoryWatch,
  call: () => Promise<void>,
): Promise<void> {
  const begun = performance.now();
  await call();
  if (context.options.scale !== 'full') return;
  const seconds = (performance.now() - begun) / 1000;
  const rate = Math.round(bytes / MIB / seconds);
  const growth = Math.round(memory.growth / MIB);
  context.note(
    `${what}: ${Math.round(bytes / MIB)} MiB in ${seconds.toFixed(1)} s, ${rate} MiB/s; memory grown by ${growth} MiB`,
  );
}
