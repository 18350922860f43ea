/** `pgark expire`, `pin` and `gc` as an operator runs them, on archives without a server. */
import fs from '@pgark/storage-fs';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { runCli, type CliResult } from '../../../test/support/cli.ts';
import { pluginContext } from '../repository/repository.ts';
import { putBackup, putWal, range, repositoryOn, segmentsIn, SYSTEM } from '../retention/small-archive.ts';
import type { Repository } from '../../src/repository/repository.ts';

interface Place {
  readonly near: Repository;
  readonly ids: readonly string[];
  readonly run: (args: readonly string[]) => Promise<CliResult>;
}

/** Two repositories, of which one cannot be used, and three backups in the other. */
async function place(): Promise<Place> {
  const folder = mkdtempSync(join(tmpdir(), 'pgark-expire-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, 'near'));
  writeFileSync(join(folder, 'far'), 'not a folder');
  const storage = (name: string): object => ({ name, storage: { use: 'fs', path: join(folder, name) } });
  const config = { cluster: 'main', repositories: [storage('far'), storage('near')], retention: { keep: 1 } };
  writeFileSync(join(folder, 'pgark.json'), JSON.stringify(config));
  const near = repositoryOn(await fs.create({ path: join(folder, 'near') }, pluginContext), 'near');
  await near.open({ create: true });
  await putWal(near, 1, range(1, 9));
  const ids: string[] = [];
  for (const day of [3, 2, 1])
    ids.push(await putBackup(near, { time: Date.now() - day * 86_400_000, from: 10 - 3 * day, to: 11 - 3 * day }));
  return { near, ids, run: (args) => runCli(['--config', join(folder, 'pgark.json'), ...args], { cwd: folder }) };
}

test(
  'H-73 one repository that fails does not keep the others from it; pins hold; exit codes tell',
  { timeout: 120_000 },
  async () => {
    const { near, ids, run } = await place();
    const [first = '', second = '', third = ''] = ids;
    const pinned = await run(['pin', first, '--reason', 'audit', '--until', '30d', '--repository', 'near']);
    expect(pinned, pinned.stderr).toMatchObject({ code: 0 });
    expect(pinned.stdout).toMatch(new RegExp(`^pinned until .*: ${first} in near\n$`));
    const list = await run(['list']);
    expect(list.stdout).toMatch(/PINNED\n/);
    expect(list.stdout).toMatch(new RegExp(`${first}.* audit \\(until `));

    const plan = await run(['expire', '--repository', 'near']);
    expect(plan, plan.stderr).toMatchObject({ code: 0 });
    expect(plan.stdout).toMatch(new RegExp(`${first}.* kept because it is pinned until .*: audit`));
    expect(plan.stdout).toMatch(new RegExp(`${second}.* removed because it stopped 2d ago: is not among the newest 1`));
    expect(plan.stdout).toContain('nothing was removed: this was the plan; --confirm carries it out');
    expect(await segmentsIn(near)).toEqual(range(1, 9));

    const both = await run(['expire', '--confirm', '--json']);
    expect(both.code).toBe(2);
    expect(JSON.parse(both.stderr.trim().split('\n').at(-1) ?? '')).toMatchObject({
      error: { details: { repository: 'far' } },
    });
    expect(JSON.parse(both.stdout)).toMatchObject([
      { repository: 'near', confirmed: true, done: { removed: [second] } },
    ]);
    expect((await near.backups(SYSTEM).list()).map(({ id }) => id)).toEqual([first, third]);

    expect(await run(['expire', '--repository', 'near', '--remove', second])).toMatchObject({ code: 1 });
    const gc = await run(['gc', '--repository', 'near', '--json']);
    expect(JSON.parse(gc.stdout)).toMatchObject([{ repository: 'near', confirmed: false, found: [] }]);
  },
);

test('a pin needs a reason', async () => {
  const { run, ids } = await place();
  expect(await run(['pin', ids[0] ?? '', '--until', '30d'])).toMatchObject({ code: 3 });
});
