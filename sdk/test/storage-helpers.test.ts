import { assert, asyncProperty, integer, property, string } from 'fast-check';
import { checkedBody, checkKey, compareKeys, resolveRange } from '@pgark/sdk';
import { describe, expect, test } from 'vitest';

const unicode = string({ unit: 'binary', maxLength: 8 });

describe('compareKeys', () => {
  test('orders as the bytes of UTF-8', () => {
    assert(
      property(unicode, unicode, (left, right) => {
        const bytes = Buffer.compare(Buffer.from(left), Buffer.from(right));
        expect(Math.sign(compareKeys(left, right))).toBe(bytes);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('checkKey', () => {
  test('takes every string that has only whole characters, plain parts and a length that fits', () => {
    assert(
      property(unicode, (text) => {
        const parts = text.split('/');
        const good =
          text !== '' &&
          !parts.some((part) => part === '' || part === '.' || part === '..') &&
          !Array.from(text).some((character) => character === '\\' || /\p{Cc}/u.test(character));
        const check = (): string => checkKey(text);
        if (good) expect(check()).toBe(text);
        else expect(check).toThrow(expect.objectContaining({ code: 'STORAGE_INVALID_KEY' }));
      }),
      { numRuns: 2000 },
    );
  });

  test('counts bytes, not characters', () => {
    expect(checkKey('é'.repeat(450))).toHaveLength(450);
    expect(() => checkKey('é'.repeat(451))).toThrow('902 bytes');
  });
});

describe('resolveRange', () => {
  test('gives what slice gives, or refuses', () => {
    assert(
      property(
        integer({ min: 0, max: 20 }),
        integer({ min: 0, max: 20 }),
        integer({ min: 0, max: 20 }),
        (size, from, to) => {
          const bytes = Buffer.alloc(size);
          const call = (): number => {
            const { start, end } = resolveRange('key', { start: from, end: to }, size);
            return end - start;
          };
          if (to < from || (from >= size && !(from === 0 && size === 0))) expect(call).toThrow();
          else expect(call()).toBe(bytes.subarray(from, to).byteLength);
        },
      ),
    );
  });
});

describe('checkedBody', () => {
  /** A source that tells when it was ended. */
  function source(chunks: number): AsyncIterable<Uint8Array> & { ended: boolean } {
    const body = {
      ended: false,
      async *[Symbol.asyncIterator]() {
        try {
          for (let index = 0; index < chunks; index++) yield Buffer.of(index);
        } finally {
          body.ended = true;
        }
      },
    };
    return body;
  }

  test('ends its source on every way out', async () => {
    await assert(
      asyncProperty(
        integer({ min: 0, max: 5 }),
        integer({ min: 0, max: 6 }),
        integer({ min: 0, max: 6 }),
        async (length, size, leave) => {
          const body = source(length);
          const abort = new AbortController();
          let seen = 0;
          const read = async (): Promise<void> => {
            for await (const chunk of checkedBody(body, { key: 'key', size, signal: abort.signal })) {
              expect(chunk).toEqual(Buffer.of(seen));
              if (seen++ === leave) abort.abort();
            }
          };
          const code = await read().then(
            () => 'read',
            (error: { code: string }) => error.code,
          );
          const aborted = leave < Math.min(length, size);
          expect(code).toBe(aborted ? 'ABORTED' : length === size ? 'read' : 'STORAGE_CORRUPT');
          expect(body.ended).toBe(true);
        },
      ),
    );
  });

  test('an abort does not wait for a source that is silent, and still ends it', async () => {
    let ended = false;
    const abort = new AbortController();
    const silent: AsyncIterable<Uint8Array> = {
      [Symbol.asyncIterator]: () => ({
        next: () => new Promise(() => undefined),
        return: async () => {
          ended = true;
          return { done: true, value: undefined };
        },
      }),
    };
    const next = checkedBody(silent, { key: 'key', signal: abort.signal }).next();
    setTimeout(() => abort.abort(), 5);
    await expect(next).rejects.toMatchObject({ code: 'ABORTED' });
    expect(ended).toBe(true);
  });

  test("the source's error comes as it was thrown, even if its clean-up fails too", async () => {
    const thrown = new Error('the source failed');
    const failing: AsyncIterable<Uint8Array> = {
      [Symbol.asyncIterator]: () => ({
        next: () => Promise.reject(thrown),
        return: () => Promise.reject(new Error('the clean-up failed')),
      }),
    };
    await expect(checkedBody(failing, { key: 'key' }).next()).rejects.toBe(thrown);
  });
});
