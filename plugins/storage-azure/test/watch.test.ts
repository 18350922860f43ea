import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { isArchiveError } from '@pgark/sdk';
import { expect, test } from 'vitest';
import { Watch } from '../src/watch.ts';

const never = (): Promise<never> => new Promise(() => undefined);
const code = (wanted: string): unknown => expect.toSatisfy((error) => isArchiveError(error) && error.code === wanted);

test('what came is not kept until the end of the call', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const watch = new Watch({ what: 'reading', timeout: 60_000 });
  const held: WeakRef<Uint8Array>[] = [];
  while (held.length < 50) {
    held.push(new WeakRef(await watch.during(() => Promise.resolve(new Uint8Array(100_000)))));
  }
  await sleep(0);
  collect();
  expect(held.filter((chunk) => chunk.deref() !== undefined).length).toBeLessThan(5);
  watch.end();
});

test('an abort ends a request that is waited for, and one that begins later', async () => {
  for (const moment of ['during', 'between'] as const) {
    const caller = new AbortController();
    const watch = new Watch({ what: 'reading', timeout: 60_000, signal: caller.signal });
    await watch.during(() => Promise.resolve());
    if (moment === 'between') caller.abort();
    const request = watch.during(never);
    caller.abort();
    await expect(request).rejects.toEqual(code('ABORTED'));
    expect(watch.signal.aborted).toBe(true);
    watch.end();
  }
});

test.each(['signal', 'stop'])('nothing is begun when the %s has fired before', (name) => {
  const options = { what: 'storing', timeout: 60_000, [name]: AbortSignal.abort() };
  expect(() => new Watch(options)).toThrow(expect.toSatisfy((error) => isArchiveError(error, 'ABORTED')));
});

test('a request that stands still ends when its time is up, and so does what comes after it', async () => {
  const watch = new Watch({ what: 'reading', timeout: 20 });
  await expect(watch.during(never)).rejects.toEqual(code('STORAGE_UNAVAILABLE'));
  await expect(watch.during(never)).rejects.toEqual(code('STORAGE_UNAVAILABLE'));
  watch.end();
});

test('what cannot be begun is the error of the request', async () => {
  const watch = new Watch({ what: 'reading', timeout: 60_000 });
  const broken = (): Promise<never> => {
    throw new TypeError('no such thing');
  };
  await expect(watch.during(broken)).rejects.toSatisfy((error) => isArchiveError(error));
  watch.end();
});
