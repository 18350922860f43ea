/** `%p` is `pg_wal/RECOVERYXLOG` for every segment, and a wal-fetch may outlive the server that started it. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Storage } from '../../src/contracts/storage.ts';
import { walFetch } from '../../src/wal-command/fetch.ts';
import { takeTurn } from '../../src/wal-command/turn.ts';
import { memoryRepository, memoryStorage, pluginContext } from '../repository/repository.ts';
import { SYSTEM_ID, walSegment } from './segments.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'pgark-place-'));
  mkdirSync(join(folder, 'pg_wal'));
});
afterEach(() => rmSync(folder, { recursive: true }));

test('H-25 a wal-fetch that the server has given up does not write into the file of a later one', async () => {
  const path = join(folder, 'pg_wal', 'RECOVERYXLOG');
  const memory = await memoryStorage();
  let release = (): void => undefined;
  const released = new Promise<void>((resolve) => (release = resolve));
  let halted = (): void => undefined;
  const isHalted = new Promise<void>((resolve) => (halted = resolve));
  const old = walSegment(5n, { fill: 5 });
  const wanted = walSegment(6n, { fill: 6 });
  /** Gives half of the older segment, then nothing for a while, as a slow network does. */
  const storage: Storage = {
    capabilities: memory.capabilities,
    put: (...args) => memory.put(...args),
    stat: (...args) => memory.stat(...args),
    list: (...args) => memory.list(...args),
    remove: (...args) => memory.remove(...args),
    close: () => memory.close(),
    get: async function* (key, options) {
      for await (const chunk of memory.get(key, options)) {
        if (!key.includes(old.name)) {
          yield chunk;
          continue;
        }
        const half = chunk.byteLength / 2;
        yield chunk.subarray(0, half);
        halted();
        await released;
        yield chunk.subarray(half);
      }
    },
  };
  const repository = await memoryRepository({ storage, compressed: false });
  await repository.open({ create: true });
  for (const { name, bytes } of [old, wanted]) await repository.wal(SYSTEM_ID).push(name, { bytes });
  const fetch = (name: string): ReturnType<typeof walFetch> =>
    walFetch({
      name,
      path,
      repositories: [repository],
      systemId: SYSTEM_ID,
      dataDirectories: [folder],
      mode: 'recovery',
      retry: 0,
      logger: pluginContext.logger,
    });
  const orphan = fetch(old.name).catch((error: unknown) => error);
  await isHalted;
  expect(await fetch(wanted.name)).toEqual({ outcome: 'fetched', source: 'archive' });
  expect(Buffer.compare(readFileSync(path), wanted.bytes)).toBe(0);
  release();
  expect(await orphan).toMatchObject({ code: 'ABORTED' });
  // PostgreSQL reads this very file now.
  expect(Buffer.compare(readFileSync(path), wanted.bytes)).toBe(0);
  expect(readdirSync(join(folder, 'pg_wal'))).toEqual(['RECOVERYXLOG']);
});

test('H-25 the latest turn has the place, whenever the earlier ones make their files', () => {
  const path = join(folder, 'pg_wal', 'RECOVERYXLOG');
  const first = takeTurn(path);
  const early = first.temporary();
  writeFileSync(early, 'first');
  const second = takeTurn(path);
  const late = first.temporary();
  writeFileSync(late, 'first');
  expect([first.isLost(), second.isLost()]).toEqual([true, false]);
  for (const file of [early, late]) expect(() => first.put(file)).toThrow('ENOENT');
  const own = second.temporary();
  writeFileSync(own, 'second');
  second.put(own);
  expect(readFileSync(path, 'utf8')).toBe('second');
  for (const turn of [first, second]) turn.end();
  expect(readdirSync(join(folder, 'pg_wal'))).toEqual(['RECOVERYXLOG']);
});

test('what a killed process has left is removed, whatever it was fetching; what another one is at is not', () => {
  const { pid: dead } = spawnSync('true');
  const names = [`RECOVERYHISTORY.pgark-${dead}-a`, `RECOVERYXLOG.pgark-${dead}-b.1.pgark-${dead}-c`];
  const alive = `00000001000000000000000A.pgark-${process.pid}-a`;
  for (const name of [...names, alive, 'RECOVERYXLOG']) writeFileSync(join(folder, 'pg_wal', name), '');
  takeTurn(join(folder, 'pg_wal', 'RECOVERYXLOG')).end();
  expect(readdirSync(join(folder, 'pg_wal')).sort()).toEqual([alive, 'RECOVERYXLOG']);
});
