import { AskedOnce } from '@pgark/sdk';
import { expect, test } from 'vitest';

test('a question is asked once for all calls, and again after it has failed', async () => {
  let asked = 0;
  let fails = true;
  const question = new AskedOnce(async () => {
    asked++;
    if (fails) throw new Error('not now');
  });
  const both = await Promise.allSettled([question.get(undefined, 'one'), question.get(undefined, 'two')]);
  expect(both.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  expect(asked).toBe(1);
  fails = false;
  await question.get(undefined, 'three');
  await question.get(undefined, 'four');
  expect(asked).toBe(2);
});

test('a call that is cancelled ends with ABORTED, and the others get the answer', async () => {
  let answer: () => void = () => undefined;
  const question = new AskedOnce(() => new Promise((resolve) => (answer = resolve)));
  const abort = new AbortController();
  const cancelled = question.get(abort.signal, 'storing a');
  const other = question.get(undefined, 'storing b');
  abort.abort();
  answer();
  await expect(cancelled).rejects.toMatchObject({
    code: 'ABORTED',
    message: expect.stringContaining('storing a') as string,
  });
  await other;
});
