/** One repository as the receiver uses it: when what waits is tried again. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Faulty, Scene, until } from './shipping-scene.ts';

let scene: Scene;
beforeEach(() => {
  scene = new Scene();
});
afterEach(() => scene.destroy());

/** A repository that works, and what opens it again for a subject. */
async function opened(): Promise<{ readonly faulty: Faulty; readonly open: (subject: string) => Promise<unknown> }> {
  const { signal } = new AbortController();
  const faulty = new Faulty('primary');
  const [outlet] = scene.outlets(faulty.repository);
  const open = (subject: string): Promise<unknown> =>
    outlet.run((repository) => repository.open({ signal }), { subject, signal });
  await open('before');
  return { faulty, open };
}

test('what waits for an operator to mend the storage is tried when anything else works again', async () => {
  const { faulty, open } = await opened();
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

test('a first wait, which is shorter than the least one, is none that Node warns of', async () => {
  const warnings: string[] = [];
  const take = ({ name }: Error): void => void warnings.push(name);
  process.on('warning', take);
  const { faulty, open } = await opened();
  faulty.down = 'STORAGE_UNAVAILABLE';
  const waits = open('a segment');
  await until(
    () => scene.named('storage.degraded').length === 1,
    () => scene.logs.join('\n'),
  );
  await sleep(50);
  faulty.down = undefined;
  await waits;
  process.off('warning', take);
  expect(warnings).toEqual([]);
});
