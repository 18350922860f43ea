import { expect, test } from 'vitest';
import { chooseSides } from '../../src/cli/commands/copy.ts';
import { CopyProgressText } from '../../src/cli/copy-view.ts';
import { isArchiveError } from '../../src/contracts/errors.ts';
import { archive } from '../copy/archives.ts';

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
