/** A large archive on the file system: its map, with and without what is remembered. Figures are printed; memory is bounded. */
import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CLI } from '../support/cli.ts';
import { makeLargeArchive } from '../support/large-archive.ts';
import { removeFolder, temporaryFolder } from '../support/postgres.ts';
import { SCALE } from '../support/scale.ts';

const SIZE = SCALE === 'full' ? { segments: 1_000_003, backups: 500 } : { segments: 20_003, backups: 20 };
/** Bytes that the process may take at most, whatever the size of the archive. */
const MEMORY = 300 * 1024 * 1024;

let folder = '';
let config = '';

beforeAll(() => {
  folder = temporaryFolder('large');
  config = join(folder, 'pgark.json');
  const half = Math.floor(SIZE.segments / 2);
  makeLargeArchive(join(folder, 'repository'), { ...SIZE, missing: new Set([half, half + 1, half + 1000]) });
  const storage = { use: 'fs', path: join(folder, 'repository') };
  writeFileSync(config, JSON.stringify({ repositories: [{ storage }], status: { cache: join(folder, 'cache') } }));
}, 900_000);

afterAll(() => removeFolder(folder));

interface Drawn {
  readonly map: {
    readonly systems: readonly {
      readonly segments: number;
      readonly timelines: readonly { readonly windows: readonly unknown[] }[];
      readonly backups: readonly { readonly state: string }[];
    }[];
    readonly repositories: readonly { readonly listed: string; readonly since: string }[];
  };
  readonly memory: number;
}

/** Runs `pgark map`, and reads the most memory that it took from its own resource usage. */
function draw(what: string, args: readonly string[] = []): Drawn {
  const [program, ...first] = CLI;
  const usage = join(folder, 'usage');
  const tell = `process.on('exit', () => require('fs').writeFileSync(${JSON.stringify(usage)}, String(process.resourceUsage().maxRSS * 1024)))`;
  const preload = join(folder, 'tell.cjs');
  writeFileSync(preload, tell);
  const begun = performance.now();
  const result = spawnSync(program, ['--require', preload, ...first, '--config', config, '--json', 'map', ...args], {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  const milliseconds = Math.round(performance.now() - begun);
  if (result.status !== 0) throw new Error(result.stderr);
  const memory = Number(readFileSync(usage, 'utf8'));
  console.log(`${what}: ${SIZE.segments} segments, ${milliseconds} ms, ${Math.round(memory / 1024 / 1024)} MiB`);
  return { map: JSON.parse(result.stdout) as Drawn['map'], memory };
}

test('the map of a large archive takes bounded memory, and what is remembered gives the same map', () => {
  const cold = draw('without what is remembered');
  const [system] = cold.map.systems;
  expect(system?.segments).toBe(SIZE.segments - 3);
  expect(system?.backups).toHaveLength(SIZE.backups);
  // The oldest backups end at the first hole; nothing begins between the holes; the others reach the end.
  expect(system?.timelines[0]?.windows.length).toBeGreaterThanOrEqual(2);
  expect(cold.memory).toBeLessThan(MEMORY);

  const warm = draw('with it');
  expect(warm.map.systems).toEqual(cold.map.systems);
  expect(warm.map.repositories[0]?.since).toBe(cold.map.repositories[0]?.since);
  expect(warm.map.repositories[0]?.listed).not.toBe(cold.map.repositories[0]?.listed);
  expect(warm.memory).toBeLessThan(MEMORY);

  const fresh = draw('fresh', ['--fresh']);
  expect(fresh.map.systems).toEqual(cold.map.systems);
  rmSync(join(folder, 'cache'), { recursive: true });
}, 900_000);
