/** The manual pages are what the code says, and the programs that show them take them without a word. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { unavailable } from '../support/require.ts';
import { manPages } from './man-pages.ts';
import { PROJECT } from './pages.ts';

const FOLDER = join(PROJECT, 'core/man');
const pages = manPages();

if (process.env['PGARK_UPDATE_DOCS'] === '1') {
  rmSync(FOLDER, { recursive: true, force: true });
  mkdirSync(FOLDER);
  for (const [name, text] of pages) writeFileSync(join(FOLDER, name), text);
}

describe('core/man', () => {
  test('is what the code says, a page for each command', () => {
    expect(readdirSync(FOLDER).toSorted(), 'run the test with PGARK_UPDATE_DOCS=1 and look at the change').toEqual(
      [...pages.keys()].toSorted(),
    );
    expect(pages.size).toBeGreaterThan(25);
    for (const [name, text] of pages) expect(readFileSync(join(FOLDER, name), 'utf8'), name).toBe(text);
  });

  test('comes along with the package', () => {
    const manifest = JSON.parse(readFileSync(join(PROJECT, 'core/package.json'), 'utf8')) as {
      readonly files: readonly string[];
      readonly directories: { readonly man: string };
    };
    expect(manifest.directories.man).toBe('man');
    expect(manifest.files).toContain('man');
  });

  const has = (program: string, args: readonly string[]): boolean => spawnSync(program, args).status === 0;
  const noGroff = has('groff', ['--version']) ? undefined : unavailable('groff', 'apt-get install groff-base');

  test.skipIf(noGroff !== undefined)(`groff warns of nothing${noGroff === undefined ? '' : ` (${noGroff})`}`, () => {
    for (const name of pages.keys()) {
      const args = ['-man', '-Tutf8', '-P-cbou', '-ww', '-rCHECKSTYLE=3', join(FOLDER, name)];
      const { status, stdout, stderr } = spawnSync('groff', args, { encoding: 'utf8' });
      expect({ name, status, stderr }).toEqual({ name, status: 0, stderr: '' });
      expect(stdout).toContain('EXAMPLES');
    }
  });

  test.skipIf(noGroff !== undefined)('shows commands as they are typed', () => {
    const shown = spawnSync('groff', ['-man', '-Tutf8', '-P-cbou', join(FOLDER, 'pgark-restore.1')], {
      encoding: 'utf8',
    }).stdout;
    expect(shown).toContain('pgark restore --target-time "');
    expect(shown).toMatch(/--plan\b/);
    expect(shown).not.toMatch(/\\[-(e]/);
  });

  const noMandoc =
    has('mandoc', ['-Tlint', '/dev/null']) || has('mandoc', ['-T', 'utf8', '/dev/null'])
      ? undefined
      : 'mandoc is not here';
  test.skipIf(noMandoc !== undefined)(`mandoc finds no error${noMandoc === undefined ? '' : ` (${noMandoc})`}`, () => {
    for (const name of pages.keys()) {
      const { stdout } = spawnSync('mandoc', ['-T', 'lint', '-W', 'warning', join(FOLDER, name)], { encoding: 'utf8' });
      const told = stdout.split('\n').filter((line) => line !== '' && !/missing date|cannot parse date/.test(line));
      expect(told).toEqual([]);
    }
  });
});
