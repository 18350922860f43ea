import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runCli, spawnCli } from '../../../test/support/cli.ts';
import { fsRepository } from '../../../test/support/fs-repository.ts';
import { chooseSides } from '../../src/cli/commands/copy.ts';
import { CopyProgressText } from '../../src/cli/copy-view.ts';
import { isArchiveError } from '../../src/contracts/errors.ts';
import { folder } from '../config/support.ts';
import { archive, damage, makeBackup, pushWal, SYSTEM } from '../copy/archives.ts';

const [near, far, vault] = [await archive('near'), await archive('far'), await archive('vault')];

test('with two repositories one name is enough; the direction is never guessed', () => {
  const both = [near, far];
  for (const flags of [{ from: 'near', to: 'far' }, { from: 'near' }, { to: 'far' }])
    expect(chooseSides(both, flags)).toEqual({ source: near, target: far });
  expect(chooseSides([near, far, vault], { from: 'vault', to: 'near' })).toEqual({ source: vault, target: near });
});

test.each([
  [[near], { to: 'near' }, 'the config names one repository only: near', 'Add the other one'],
  [[near, far], {}, 'it was not said which repository to copy: --from and --to', 'near, far'],
  [[near, far], { from: 'nera' }, 'there is no repository "nera", as --from says', 'near, far'],
  [[near, far], { from: 'near', to: 'fra' }, 'there is no repository "fra", as --to says', 'near, far'],
  [[near, far], { from: 'far', to: 'far' }, '--from and --to are one repository: far', 'near, far'],
  [[near, far, vault], { to: 'far' }, 'it was not said which repository to copy: --from', 'near, far, vault'],
  [[near, far, vault], { from: 'far' }, 'it was not said which repository to copy: --to', 'near, far, vault'],
] as const)('of %# the mistake is named, and the names that there are', (repositories, flags, message, hint) => {
  expect(() => chooseSides(repositories, flags)).toThrow(
    expect.toSatisfy(
      (error) => isArchiveError(error, 'USAGE') && error.message === message && error.hint.includes(hint),
    ) as Error,
  );
});

test('progress says which backup, and how far all of it is', () => {
  let now = 0;
  const text = new CopyProgressText({ bar: false, now: () => now });
  expect(text.toString()).toBe('copy: comparing the repositories');
  const MiB = 1 << 20;
  text.update({ stage: 'backup', id: '20261121T060000Z-0001', bytes: 0, totalBytes: 1000 * MiB, wal: 0 });
  now = 1000;
  text.update({ stage: 'backup', id: '20261121T060000Z-0001', bytes: 100 * MiB, totalBytes: 1000 * MiB, wal: 3 });
  expect(text.toString()).toBe(
    'copy: backup 20261121T060000Z-0001: 10% 100.0 MiB of 1000.0 MiB, 100.0 MiB/s, 9.0 s left',
  );
  now = 2000;
  text.update({ stage: 'wal', bytes: 1000 * MiB, totalBytes: 1000 * MiB, wal: 3 });
  expect(text.toString()).toBe('copy: WAL: 100% 1000.0 MiB of 1000.0 MiB, 500.0 MiB/s');
});

const FIRST = '20261121T060000Z-0001';
const SECOND = '20261121T070000Z-0002';

/** Two repositories on disk, of which the first has two backups of which the first is damaged. Gives the folder of the config. */
async function place(rate: string): Promise<string> {
  const root = folder();
  const near = await fsRepository(join(root, 'near'));
  await makeBackup(near, FIRST, { from: 2, to: 3 });
  await makeBackup(near, SECOND, { from: 3, to: 4, partSize: 100_000 });
  await pushWal(near, 1, [2, 3, 4, 5]);
  await damage(near, `main/${SYSTEM}/backups/${FIRST}/base/0001.tar.zst`);
  mkdirSync(join(root, 'far'));
  const far = { name: 'far', storage: { use: 'fs', path: 'far' }, codecs: [{ use: 'gzip' }], maxUploadRate: rate };
  const repositories = [{ name: 'near', storage: { use: 'fs', path: 'near' } }, far];
  writeFileSync(join(root, 'pgark.yaml'), JSON.stringify({ repositories }));
  return root;
}

test('the command says what was copied and what failed, with the exit code of the failure', async () => {
  const cwd = await place('1GiB');
  const plan = await runCli(['copy', '--to', 'far', '--plan'], { cwd });
  expect(plan, plan.stderr).toMatchObject({ code: 0 });
  expect(plan.stdout).toMatch(new RegExp(`^${FIRST} +to copy +.*\\n${SECOND} +to copy `, 'm'));
  expect(plan.stdout).toContain('WAL (following): 4 files to copy (4.0 MiB, stored in ');
  expect(plan.stdout).toContain('nothing was copied from near to far: this was the plan');

  const copied = await runCli(['copy', '--to', 'far'], { cwd });
  expect(copied, copied.stderr).toMatchObject({ code: 4 });
  expect(copied.stdout).toMatch(new RegExp(`^${FIRST} +FAILED +0 +0 +0 B\\n${SECOND} +copied +5 +0 +`, 'm'));
  expect(copied.stdout).toContain('WAL (following): 4 files copied (4.0 MiB), 0 were there already');
  expect(copied.stdout).toMatch(new RegExp(`^failed: ${FIRST}: repository near: .*base/0001.tar.zst`, 'm'));
  expect(copied.stderr).toMatch(/pgark: error: repository near: .*base\/0001\.tar\.zst/);

  const again = await runCli(['copy', '--to', 'far', '--backup', SECOND, '--json'], { cwd });
  expect(again, again.stderr).toMatchObject({ code: 0 });
  expect(JSON.parse(again.stdout)).toMatchObject({
    from: 'near',
    to: 'far',
    finished: true,
    backups: [{ id: SECOND, systemId: SYSTEM, state: 'present', copied: 0, kept: 0 }],
    wal: { mode: 'following', copied: 0, present: 3 },
    failures: [],
  });
  const wrong = await runCli(['copy', '--to', 'far', '--backup', SECOND, '--all'], { cwd });
  expect(wrong).toMatchObject({ code: 3, stdout: '' });
  rmSync(cwd, { recursive: true });
});

test('when it is interrupted it says what is not finished', async () => {
  const cwd = await place('32KiB');
  const copying = spawnCli(['copy', '--to', 'far', '--backup', SECOND], { cwd });
  await copying.waitFor(/copy: backup/);
  copying.kill('SIGTERM');
  const ended = await copying.ended;
  expect(ended, ended.stderr).toMatchObject({ code: 1 });
  expect(ended.stdout).toMatch(new RegExp(`^${SECOND} +unfinished +0 +0 +0 B$`, 'm'));
  expect(ended.stderr).toContain('was cancelled');
  rmSync(cwd, { recursive: true });
});
