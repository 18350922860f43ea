/** What `pgark completion` prints, in the shells themselves. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { bashCompletion } from '../../src/cli/completion/bash.ts';
import { fishCompletion } from '../../src/cli/completion/fish.ts';
import { allCommands, completedCommand } from '../../src/cli/completion/words.ts';
import { zshCompletion } from '../../src/cli/completion/zsh.ts';
import { createProgram } from '../../src/cli/program.ts';
import { runCli } from '../../../test/support/cli.ts';
import { unavailable } from '../../../test/support/require.ts';
import { folder } from '../config/support.ts';

const program = completedCommand(createProgram());
const commands = allCommands(program);

const has = (shell: string): boolean => spawnSync(shell, ['-c', 'true']).status === 0;
const missing = (shell: string): string | undefined =>
  has(shell) ? undefined : unavailable(shell, `apt-get install ${shell}`);

/** Lines typed, with the cursor at their end, and what is offered. */
const CASES: readonly (readonly [typed: string, offered: readonly string[]])[] = [
  ['ba', ['backup']],
  ['conf', ['config']],
  ['config ', ['check', 'explain', 'schema']],
  ['--cluster backup config ch', ['check']],
  ['config check --clu', ['--cluster']],
  ['check --no-se', ['--no-server']],
  ['backup --lab', ['--label']],
  ['backup --checkpoint ', ['fast', 'spread']],
  ['backup --checkpoint f', ['fast']],
  ['backup --log-level d', ['debug']],
  ['--log-level w', ['warn']],
  // In one command --remove takes a value, in another none.
  ['pin --remove --log-level w', ['warn']],
  ['completion ', ['bash', 'fish', 'zsh']],
  ['config explain --lab', []],
  ['backup --label ', []],
];

const noBash = missing('bash');
describe.skipIf(noBash !== undefined)(`bash${noBash === undefined ? '' : ` (${noBash})`}`, () => {
  /** What bash offers for each line. */
  function offered(lines: readonly string[], cwd: string): readonly (readonly string[])[] {
    writeFileSync(join(cwd, 'completion'), bashCompletion(program));
    const calls = lines.map((line) => {
      // As readline splits it.
      const words = ['pgark', ...line.split(/ |(=)/).filter((word) => word !== undefined)];
      const list = words.map((word) => `'${word}'`).join(' ');
      return `COMP_WORDS=(${list}); COMP_CWORD=${words.length - 1}; COMPREPLY=(); "$function" pgark; printf '%s ' "\${COMPREPLY[@]}"; echo`;
    });
    const script = `set -u\nsource ./completion\nread -r _ _ function _ <<<"$(complete -p pgark)"\n${calls.join('\n')}\n`;
    const { stdout, stderr, status } = spawnSync('bash', ['--norc', '-c', script], { cwd, encoding: 'utf8' });
    expect({
      status,
      stderr: stderr.replaceAll(/.*compopt: not currently executing completion function\n/g, ''),
    }).toEqual({
      status: 0,
      stderr: '',
    });
    return stdout
      .split('\n')
      .slice(0, lines.length)
      .map((line) => line.trim().split(' ').filter(Boolean).toSorted());
  }

  test('offers commands, options and choices', () => {
    const found = offered(
      CASES.map(([typed]) => typed),
      folder(),
    );
    expect(CASES.map(([typed], at) => [typed, found[at]])).toEqual(CASES);
  });

  test('offers every option of every command', () => {
    const leaves = commands.filter((command) => command.commands.length === 0);
    expect(leaves.length).toBeGreaterThan(20);
    const found = offered(
      leaves.map(({ path }) => `${path} --`),
      folder(),
    );
    const everywhere = program.options.flatMap(({ flags }) => flags);
    for (const [at, { path, options }] of leaves.entries()) {
      const expected = [...options.flatMap(({ flags }) => flags), ...everywhere].filter((flag) =>
        flag.startsWith('--'),
      );
      expect(found[at], path).toEqual(expected.toSorted());
    }
  });

  test('offers files where a file is wanted, also after "="', () => {
    const cwd = folder();
    mkdirSync(join(cwd, 'etc'));
    writeFileSync(join(cwd, 'etc', 'my.yaml'), '');
    writeFileSync(join(cwd, 'essay.txt'), '');
    const lines = ['--config e', 'backup --config=etc/', 'wal-push e', 'restore e'];
    expect(offered(lines, cwd)).toEqual([
      ['essay.txt', 'etc'],
      ['etc/my.yaml'],
      ['essay.txt', 'etc'],
      ['essay.txt', 'etc'],
    ]);
  });
});

const noFish = missing('fish');
describe.skipIf(noFish !== undefined)(`fish${noFish === undefined ? '' : ` (${noFish})`}`, () => {
  test('offers commands, options and choices', () => {
    const cwd = folder();
    writeFileSync(join(cwd, 'completion'), fishCompletion(program));
    const calls = CASES.map(([typed]) => `complete -C 'pgark ${typed}'; echo ---`);
    const { stdout, stderr, status } = spawnSync('fish', ['-N', '-c', `source ./completion\n${calls.join('\n')}`], {
      cwd,
      encoding: 'utf8',
      env: { ...process.env, HOME: cwd },
    });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const found = stdout.split('---\n').map((text) => text.split('\n').flatMap((line) => line.split('\t')[0] || []));
    expect(CASES.map(([typed], at) => [typed, found[at]?.toSorted()])).toEqual(CASES);
  });
});

const noZsh = missing('zsh');
describe.skipIf(noZsh !== undefined)(`zsh${noZsh === undefined ? '' : ` (${noZsh})`}`, () => {
  test('is taken, and completes pgark', () => {
    const cwd = folder();
    writeFileSync(join(cwd, '_pgark'), zshCompletion(program));
    const checked = spawnSync('zsh', ['-fn', '_pgark'], { cwd, encoding: 'utf8' });
    expect(checked).toMatchObject({ status: 0, stderr: '' });
    const script =
      'autoload -U compinit && compinit -u -D && source ./_pgark && echo $_comps[pgark] && whence -w _pgark__config_check';
    const { stdout, stderr } = spawnSync('zsh', ['-fc', script], { cwd, encoding: 'utf8' });
    expect({ stdout, stderr }).toEqual({ stdout: '_pgark\n_pgark__config_check: function\n', stderr: '' });
  });
});

test('is printed by the command, and nothing else is', async () => {
  const { code, stdout, stderr } = await runCli(['completion', 'bash']);
  expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: bashCompletion(program), stderr: '' });
  expect(await runCli(['completion', 'tcsh'])).toMatchObject({ code: 3, stdout: '' });
});
