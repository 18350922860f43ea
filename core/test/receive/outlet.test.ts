/** One repository as the receiver uses it: when what waits is tried again. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Faulty, Scene, until } from './shipping-scene.ts';

let scene: Scene;
beforeEach(() => {
  scene = new Scene();
});
afterEach(() => scene.destroy());

test('what waits for an operator to mend the storage is tried when anything else works again', async () => {
  const { signal } = new AbortController();
  const faulty = new Faulty('primary');
  const [outlet] = scene.outlets(faulty.repository);
  const open = (subject: string): Promise<unknown> =>
    outlet.run((repository) => repository.open({ signal }), { subject, signal });
  await open('before');
  faulty.down = 'STORAGE_MISCONFIGURED';
  const waits = open('a segment');
  await until(
    () => scene.named('storage.degraded').length === 1,
    () => scene.logs.join('\n'),
  );
  faulty.down = undefined;
  await open('a slice');
  // Else it would wait for a minute.
  await waits;
  expect(scene.named('storage.recovered')).toHaveLength(1);
});
