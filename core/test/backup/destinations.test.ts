import { expect, test } from 'vitest';
import { Destinations } from '../../src/backup/destinations.ts';
import { isArchiveError, throwIfAborted } from '../../src/contracts/errors.ts';
import { ByteQueue } from '../../src/pipeline/queue.ts';
import type { BackupObject } from '../../src/repository/backup-record.ts';
import type { Repository } from '../../src/repository/repository.ts';
import { memoryRepository, pluginContext } from '../repository/repository.ts';

const MIB = 1024 * 1024;
const BLOCK = Buffer.alloc(MIB, 7);

type Put = (source: AsyncIterable<Uint8Array>, name: string) => Promise<void>;

interface Scene {
  readonly destinations: Destinations;
  readonly repositories: readonly Repository[];
  readonly warnings: string[];
  /** How often it was said that none is left. */
  noneLeft: number;
}

/** A repository for each way to store an object. */
async function scene(puts: Readonly<Record<string, Put>>, signal?: AbortSignal): Promise<Scene> {
  const repositories = await Promise.all(Object.keys(puts).map((name) => memoryRepository({ name })));
  const warnings: string[] = [];
  const made: Scene = {
    repositories,
    warnings,
    noneLeft: 0,
    destinations: new Destinations(repositories, {
      put: async (repository, name, source): Promise<BackupObject> => {
        await puts[repository.name]?.(source, name);
        return { name, plainSize: 0, storedSize: 0, storedSha256: '' };
      },
      onNoneLeft: () => made.noneLeft++,
      logger: { ...pluginContext.logger, warn: (_fields, message) => warnings.push(message) },
      ...(signal === undefined ? {} : { signal }),
    }),
  };
  return made;
}

/** Takes all bytes. */
class Taker {
  size = 0;
  readonly put: Put = async (source) => {
    for await (const chunk of source) this.size += chunk.byteLength;
  };
}

/** A promise that is settled from outside. */
function outside(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let settle = (): void => undefined;
  const promise = new Promise<void>((resolve) => (settle = resolve));
  return { promise, resolve: () => settle() };
}

const names = (list: readonly { readonly repository: Repository }[]): readonly string[] =>
  list.map(({ repository }) => repository.name);

test('one repository gets the bytes without anything in between', async () => {
  const { destinations } = await scene({ a: new Taker().put });
  const sink = destinations.begin('x');
  expect(sink).toBeInstanceOf(ByteQueue);
  sink.end();
  await destinations.each(async ({ uploads }) => void (await uploads.finish()));
});

test('every repository gets every byte', async () => {
  const takers = { a: new Taker(), b: new Taker(), c: new Taker() };
  const { destinations } = await scene({ a: takers.a.put, b: takers.b.put, c: takers.c.put });
  const sink = destinations.begin('x');
  for (let round = 0; round < 20; round++) {
    sink.write(BLOCK);
    await destinations.pressure();
  }
  sink.end();
  await destinations.each(async ({ uploads }) => void (await uploads.finish()));
  expect(Object.values(takers).map(({ size }) => size)).toEqual([20 * MIB, 20 * MIB, 20 * MIB]);
});

test('the slowest one is waited for, and no longer once it has failed', async () => {
  const taker = new Taker();
  const failing = outside();
  const { destinations, warnings } = await scene({
    a: taker.put,
    b: async () => {
      await failing.promise;
      throw new Error('no space');
    },
  });
  const sink = destinations.begin('x');
  let written = 0;
  while (destinations.pressure() === undefined) {
    sink.write(BLOCK);
    written++;
  }
  // What b holds is bounded, although a takes all it gets.
  expect(written).toBeLessThan(8);
  await expect.poll(() => taker.size).toBe(written * MIB);
  const pressure = destinations.pressure();
  let relieved = false;
  void pressure?.then(() => (relieved = true));
  await new Promise(setImmediate);
  expect(relieved).toBe(false);
  failing.resolve();
  await pressure;
  expect(names(destinations.live)).toEqual(['a']);
  expect(warnings).toEqual(['repository b does not get this backup: no space']);
  sink.write(BLOCK);
  sink.end();
  await destinations.each(async ({ uploads }) => void (await uploads.finish()));
  await destinations.settled();
  expect(taker.size).toBe((written + 1) * MIB);
});

test('one whose reader leaves is given up at once, with the error that comes after', async () => {
  const taker = new Taker();
  const telling = outside();
  const { destinations } = await scene({
    a: async (source) => {
      for await (const chunk of source) if (chunk.byteLength > 0) break; // leaves
      await telling.promise;
      throw new Error('the connection was reset');
    },
    b: taker.put,
  });
  const sink = destinations.begin('x');
  sink.write(BLOCK);
  await expect.poll(() => taker.size).toBe(MIB);
  sink.write(BLOCK);
  expect(names(destinations.live)).toEqual(['b']);
  expect(destinations.all[0]?.failure).toBeUndefined();
  telling.resolve();
  sink.end();
  await destinations.each(async ({ uploads }) => void (await uploads.finish()));
  await destinations.settled();
  expect(destinations.all[0]?.failure?.error).toMatchObject({ message: 'the connection was reset' });
  expect(taker.size).toBe(2 * MIB);
});

test('when the last one fails, the error is that of the first, and nothing is written any more', async () => {
  const fail = (message: string) => async (): Promise<void> => {
    throw new Error(message);
  };
  const made = await scene({ a: fail('a is full'), b: fail('b is gone') });
  const { destinations } = made;
  const sink = destinations.begin('x');
  await new Promise(setImmediate);
  expect(made.noneLeft).toBe(1);
  expect(() => sink.write(BLOCK)).toThrow();
  expect(() => destinations.begin('y')).toThrow('a is full');
  expect(await destinations.fail(new Error('the connection was destroyed'))).toMatchObject({ message: 'a is full' });
});

test('a stream that breaks is the error, unless every repository has failed by itself', async () => {
  const lost = new Error('connection lost');
  const { destinations } = await scene({
    a: async () => {
      throw new Error('a is full');
    },
    b: new Taker().put,
  });
  destinations.begin('x').write(BLOCK);
  await new Promise(setImmediate);
  expect(await destinations.fail(lost)).toBe(lost);
  expect(destinations.live).toEqual([]);
});

test('work that fails in one repository gives up that one; an abort is told as such and warns of nothing', async () => {
  const controller = new AbortController();
  const { destinations, warnings } = await scene(
    { a: new Taker().put, b: new Taker().put, c: new Taker().put },
    controller.signal,
  );
  await destinations.each(async ({ repository }) => {
    if (repository.name === 'b') throw new Error('cannot be opened');
  });
  expect(names(destinations.live)).toEqual(['a', 'c']);
  expect(warnings).toHaveLength(1);
  controller.abort();
  await expect(
    destinations.each(async ({ repository }) => {
      if (repository.name === 'a') throw new Error('failed at that moment');
      throwIfAborted(controller.signal, 'the backup');
    }),
  ).rejects.toSatisfy((error) => isArchiveError(error, 'ABORTED'));
  expect(warnings).toHaveLength(1);
});
