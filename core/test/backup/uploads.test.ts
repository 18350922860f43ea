import { expect, test } from 'vitest';
import { Uploads } from '../../src/backup/uploads.ts';
import type { BackupObject } from '../../src/repository/backup-record.ts';

/** An object that takes its bytes when it is told to. */
class Slow {
  readonly taken: string[] = [];
  readonly #gates = new Map<string, { promise: Promise<void>; open: () => void }>();

  readonly put = async (
    name: string,
    source: AsyncIterable<Uint8Array>,
    onBytes: (plain: number, stored: number) => void,
  ): Promise<BackupObject> => {
    await this.gate(name).promise;
    let size = 0;
    for await (const chunk of source) {
      size += chunk.byteLength;
      onBytes(size, size);
    }
    this.taken.push(name);
    return { name, plainSize: size, plainSha256: '', storedSize: size, storedSha256: '' };
  };

  gate(name: string): { promise: Promise<void>; open: () => void } {
    let gate = this.#gates.get(name);
    if (gate === undefined) {
      let open = (): void => undefined;
      gate = { promise: new Promise<void>((resolve) => (open = resolve)), open: () => open() };
      this.#gates.set(name, gate);
    }
    return gate;
  }
}

test('a third object on its way is pressure, until one of the others is stored', async () => {
  const slow = new Slow();
  const uploads = new Uploads({ put: slow.put, onFailure: () => undefined });
  for (const name of ['a', 'b']) {
    const queue = uploads.begin(name);
    queue.write(Buffer.from(name));
    queue.end();
    expect(uploads.pressure()).toBeUndefined();
  }
  uploads.begin('c').end();
  const pressure = uploads.pressure();
  expect(pressure).toBeInstanceOf(Promise);
  slow.gate('b').open();
  await pressure;
  expect(slow.taken).toEqual(['b']);
  expect(uploads.pressure()).toBeUndefined();
  slow.gate('a').open();
  slow.gate('c').open();
  expect([...(await uploads.finish()).keys()].sort()).toEqual(['a', 'b', 'c']);
  expect(uploads.storedBytes).toBe(2);
});

test('an object that fails by itself is the cause, told at once, whatever else fails after it', async () => {
  const told: unknown[] = [];
  const cause = new Error('no space');
  const uploads = new Uploads({
    put: async (name, source) => {
      if (name === 'bad') throw cause;
      for await (const chunk of source) void chunk;
      throw new Error('not reached');
    },
    onFailure: (error) => told.push(error),
  });
  uploads.begin('good').write(Buffer.from('x'));
  uploads.begin('bad');
  await new Promise(setImmediate);
  expect(told).toEqual([cause]);
  expect(() => uploads.pressure()).toThrow(cause);
  expect(() => uploads.begin('more')).toThrow(cause);
  expect(await uploads.fail(new Error('the connection was destroyed'))).toBe(cause);
  expect(told).toEqual([cause]);
});

test('a stream that breaks fails every object with its error, and that is the cause', async () => {
  const ends: unknown[] = [];
  const told: unknown[] = [];
  const uploads = new Uploads({
    put: async (_name, source) => {
      try {
        for await (const chunk of source) void chunk;
      } catch (error) {
        ends.push(error);
        throw error;
      }
      throw new Error('a broken stream looked whole');
    },
    onFailure: (error) => told.push(error),
  });
  uploads.begin('a').write(Buffer.from('x'));
  uploads.begin('b');
  const lost = new Error('connection lost');
  expect(await uploads.fail(lost)).toBe(lost);
  expect(ends).toEqual([lost, lost]);
  expect(told).toEqual([]);
});
