import { expect, test } from 'vitest';
import { ownCommand } from '../../src/cli/own-command.ts';

test('the program is started again with an absolute path and the flags without which it does not run', () => {
  const argv = ['/usr/bin/node', '/opt/pgark/core/src/cli/bin.ts', 'restore', '/srv/new'];
  expect(ownCommand(argv, ['--conditions=@pgark/source', '--inspect', '--max-old-space-size=200'])).toEqual([
    '/usr/bin/node',
    '--conditions=@pgark/source',
    '/opt/pgark/core/src/cli/bin.ts',
  ]);
  expect(ownCommand(argv, ['--conditions', '@pgark/source', '--import', './hook.mjs', '--test'])).toEqual([
    '/usr/bin/node',
    '--conditions',
    '@pgark/source',
    '--import',
    './hook.mjs',
    '/opt/pgark/core/src/cli/bin.ts',
  ]);
  expect(ownCommand(['/usr/bin/node', 'pgark'], [])[1]).toBe(`${process.cwd()}/pgark`);
});
