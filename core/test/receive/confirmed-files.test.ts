import { appendFileSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { MemoryStorage } from '@pgark/storage-memory';
import { ConfirmedFiles } from '../../src/receive/confirmed-files.ts';
import { KnownRepositories } from '../../src/receive/known-repositories.ts';
import { Faulty, Scene, SYSTEM, until } from './shipping-scene.ts';

let scene: Scene;
beforeEach(() => {
  scene = new Scene();
});
afterEach(() => {
  scene.destroy();
});

const confirmed = (): ConfirmedFiles => new ConfirmedFiles(scene.spool, scene.logger);
const path = (): string => join(scene.spool.folder, 'confirmed');
const near = { name: 'near', id: 'a1' };

test('H-23 a copy that carries the id of its original has not confirmed what the original has: nothing leaves the spool that it lacks', async () => {
  const near = new MemoryStorage();
  const far = new MemoryStorage();
  const first = new Faulty('near', near);
  await first.repository.open({ create: true });
  for await (const { key } of near.list('')) await far.put(key, near.get(key), { ifAbsent: true });
  const places = [first, new Faulty('far', far), new Faulty('third')] as const;
  const [, copy, third] = places;
  const outlets = scene.outlets(...places.map(({ repository }) => repository));
  const shipper = scene.shipper(outlets);
  shipper.add(scene.put(1));
  await until(
    () => scene.spooled.length === 0,
    () => scene.logs.join('\n'),
  );
  expect(new Set(outlets.slice(0, 2).map(({ id }) => id)).size).toBe(1);
  expect(scene.logs.filter((line) => /^warn: repository (near|far) has the id of repository/.test(line))).toHaveLength(
    1,
  );
  copy.down = third.down = 'STORAGE_UNAVAILABLE';
  shipper.add(scene.put(2));
  await until(
    () => first.files.length === 2,
    () => first.files.join(' '),
  );
  for (const outlet of outlets) outlet.finish();
  expect(await shipper.finish(10_000)).toBe(1);

  copy.down = third.down = undefined;
  const again = scene.outlets(...places.map(({ repository }) => repository));
  const second = scene.shipper(again);
  const calls = first.calls;
  second.addLeftovers();
  expect(again.map((outlet) => second.left(outlet))).toEqual([0, 1, 1]);
  expect(await second.finish(10_000)).toBe(0);
  expect(first.calls).toBe(calls);
  for (const { files } of places) expect(files).toHaveLength(2);
  expect(scene.spooled).toEqual([]);
});

test('what a repository was called before is no copy of it', () => {
  const known = new KnownRepositories(scene.spool.folder);
  known.remember('old', 'a1');
  known.remember('new', 'a1');
  expect(known.use('new')).toBeUndefined();
  known.remember('copy', 'a1');
  expect(known.use('copy')).toBe('new');
});

describe('the file', () => {
  test('does not grow with what has left the spool, and keeps what has not', () => {
    const made = confirmed();
    const stays = scene.put(1);
    made.add(SYSTEM, stays, near);
    let most = 0;
    for (let number = 0; number < 5000; number++) {
      const name = number.toString(16).toUpperCase().padStart(24, '0');
      made.add(SYSTEM, name, near);
      made.drop(SYSTEM, name);
      most = Math.max(most, statSync(path()).size);
    }
    expect(most).toBeLessThan(100_000);
    expect(most).toBeGreaterThan(50_000);
    expect(made.has(SYSTEM, stays, near)).toBe(true);
    const next = confirmed();
    expect(next.has(SYSTEM, stays, near)).toBe(true);
    expect(next.has(SYSTEM, stays, { name: 'near', id: 'b2' })).toBe(false);
    expect(next.has(SYSTEM, stays, { name: 'far', id: 'a1' })).toBe(false);
    expect(next.has(SYSTEM, stays, { name: 'near', id: undefined })).toBe(false);
    expect(readFileSync(path(), 'utf8').split('\n')).toHaveLength(2);
    next.drop(SYSTEM, stays);
    confirmed();
    expect(next.has(SYSTEM, stays, near)).toBe(false);
  });

  test('is gone when nothing waits at the start', () => {
    confirmed().add(SYSTEM, '0'.repeat(24), near);
    expect(existsSync(path())).toBe(true);
    confirmed();
    expect(existsSync(path())).toBe(false);
  });

  test('of any length is read piece by piece, across the borders of the pieces', () => {
    const name = scene.put(1);
    const others = Array.from({ length: 40_000 }, (_, at) => `${SYSTEM} ${String(at).padStart(24, '0')} a1 near\n`);
    appendFileSync(path(), `${others.join('')}${SYSTEM} ${name} a1 near\n${others.join('')}${SYSTEM} ${name} a1 far`);
    expect(statSync(path()).size).toBeGreaterThan(4 * 1024 * 1024);
    const read = confirmed();
    expect(read.has(SYSTEM, name, near)).toBe(true);
    // Cut by a crash.
    expect(read.has(SYSTEM, name, { name: 'far', id: 'a1' })).toBe(false);
    expect(statSync(path()).size).toBeLessThan(100);
  });

  test.each<[string, () => unknown]>([
    ['a folder', () => mkdirSync(path())],
    ['one line without an end', () => writeFileSync(path(), Buffer.alloc(3 * 1024 * 1024, 'a'))],
  ])('that is %s costs a comparison, never the start', async (_, spoil) => {
    spoil();
    const up = new Faulty('up');
    const [outlet] = scene.outlets(up.repository);
    scene.put(1);
    const shipper = scene.shipper([outlet]);
    expect(scene.logs).toContainEqual(expect.stringMatching(/^warn: what is in the spool is compared .*confirmed/));
    shipper.addLeftovers();
    expect(await shipper.finish(10_000)).toBe(0);
    expect(up.files).toHaveLength(1);
  });

  test('of an earlier version, without names, says nothing', () => {
    const name = scene.put(1);
    writeFileSync(path(), `${SYSTEM} ${name} a1\n`);
    expect(confirmed().has(SYSTEM, name, near)).toBe(false);
  });
});
