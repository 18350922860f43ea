import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { main } from '../src/main.ts';
import { checkName } from '../src/plugin-name.ts';
import { KINDS, parseRequest, type Kind } from '../src/request.ts';
import { writePlugin } from '../src/write-plugin.ts';

const PROJECT = fileURLToPath(new URL('../../..', import.meta.url));
const json = (path: string): Readonly<Record<string, Readonly<Record<string, unknown>>>> =>
  JSON.parse(readFileSync(path, 'utf8')) as Readonly<Record<string, Readonly<Record<string, unknown>>>>;

const folders: string[] = [];
afterEach(() => {
  vi.restoreAllMocks();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), 'pgark-create-'));
  folders.push(made);
  return made;
}

/** Every file below a folder with its content. */
function contents(directory: string): ReadonlyMap<string, string> {
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return new Map(
    entries.map((entry) => {
      const path = join(entry.parentPath, entry.name);
      return [path.slice(directory.length + 1), readFileSync(path, 'utf8')];
    }),
  );
}

/** What the program says on standard error, and its exit code. */
function run(...args: readonly string[]): { readonly code: number; readonly stderr: string; readonly stdout: string } {
  const texts = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    vi.spyOn(process[name], 'write').mockImplementation((text) => {
      texts[name] += String(text);
      return true;
    });
  }
  const code = main(args, {});
  vi.restoreAllMocks();
  return { code, ...texts };
}

describe('a plugin is written', () => {
  test.each(KINDS)('whole, with its names in it: %s', (kind) => {
    const directory = join(folder(), 'new');
    const name = kind === 'codec' ? 'squeeze' : 'cold-shelf';
    const { code, stdout } = run(kind, name, '--directory', directory);
    expect(code).toBe(0);
    const files = contents(directory);
    for (const path of files.keys()) expect(stdout).toContain(`  ${path}\n`);
    expect([...files.keys()]).toEqual(
      expect.arrayContaining([
        '.github/workflows/test.yml',
        '.gitignore',
        'LICENSE',
        'README.md',
        'package.json',
        'src/index.ts',
        `src/${name}-${kind}.ts`,
        `test/${name}-${kind}.test.ts`,
        'test/manifest.test.ts',
        'tsconfig.json',
      ]),
    );
    for (const [path, text] of files) expect(`${path}\n${text}`).not.toMatch(/__\w+__/);
    const { pgark, exports } = json(join(directory, 'package.json'));
    expect(pgark).toEqual({ kind, name, apiVersion: 1, ...(kind === 'codec' ? { suffix: 'squeeze' } : {}) });
    expect(exports).toHaveProperty(['.', 'default'], './dist/index.js');
  });

  test('for the pgark that it comes with, by the tools that pgark is built with', () => {
    const directory = join(folder(), 'new');
    writePlugin({ kind: 'storage', name: 'shelf', package: 'pgark-storage-shelf', directory });
    const written = json(join(directory, 'package.json'));
    const root = json(join(PROJECT, 'package.json'));
    const core = json(join(PROJECT, 'core/package.json'));
    const { version } = JSON.parse(readFileSync(join(PROJECT, 'core/package.json'), 'utf8')) as {
      readonly version: string;
    };
    const pgark = `^${version}`;
    expect(written['peerDependencies']).toEqual({ '@pgark/sdk': pgark, pgark });
    expect(written['dependencies']).toEqual({ zod: core['dependencies']?.['zod'] });
    for (const name of ['@types/node', 'typescript', 'vitest']) {
      expect(written['devDependencies']?.[name], name).toBe(root['devDependencies']?.[name]);
    }
    expect(written['engines']).toEqual(root['engines']);
  });

  test('into a folder that is there and empty but for .git', () => {
    const directory = folder();
    mkdirSync(join(directory, '.git'));
    expect(run('codec', 'squeeze', '--directory', directory).code).toBe(0);
    expect(existsSync(join(directory, 'package.json'))).toBe(true);
  });
});

describe('nothing is overwritten', () => {
  test('a folder with a file in it is refused and stays as it is', () => {
    const directory = folder();
    writeFileSync(join(directory, 'README.md'), 'mine');
    const { code, stderr } = run('storage', 'shelf', '--directory', directory);
    expect(code).toBe(3);
    expect(stderr).toContain(`${directory} is not empty: it has README.md`);
    expect([...contents(directory)]).toEqual([['README.md', 'mine']]);
  });

  test('a second run is refused', () => {
    const directory = join(folder(), 'new');
    run('storage', 'shelf', '--directory', directory);
    writeFileSync(join(directory, 'src/index.ts'), 'mine');
    const before = contents(directory);
    expect(run('codec', 'squeeze', '--directory', directory).code).toBe(3);
    expect(contents(directory)).toEqual(before);
  });

  test('a file is no folder', () => {
    const file = join(folder(), 'file');
    writeFileSync(file, 'mine');
    const { code, stderr } = run('storage', 'shelf', '--directory', file);
    expect(code).toBe(3);
    expect(stderr).toContain('ENOTDIR');
    expect(readFileSync(file, 'utf8')).toBe('mine');
  });
});

describe('what is refused', () => {
  test.each<[args: readonly string[], message: string]>([
    [[], 'the kind of plugin is missing'],
    [['store', 'x'], '"store" is no kind of plugin'],
    [['storage'], 'the name of the storage is missing'],
    [['storage', 'a', 'b'], '"b" is too much'],
    [['storage', 'Shelf'], '"Shelf" cannot be the name'],
    [['storage', '../shelf'], '"../shelf" cannot be the name'],
    [['storage', '@me/shelf'], '"@me/shelf" cannot be the name'],
    [['storage', 'a--b'], '"a--b" cannot be the name'],
    [['storage', 'x'.repeat(41)], 'is too long'],
    [['storage', 'pgark-storage-shelf'], 'begins with pgark'],
    [['storage', 's3'], "one of pgark's own"],
    [['codec', 'cold-shelf'], 'cannot be the suffix'],
    [['codec', 'tar'], 'means something else'],
    [['codec', 'gz'], 'means something else'],
    [['storage', 'x', '--dir', 'y'], "unknown option '--dir'"],
    [['storage', 'x', '--directory'], "option '--directory <value>' argument missing"],
  ])('%j: %s', (args, message) => {
    const { code, stderr, stdout } = run(...args);
    expect({ code, stdout }).toEqual({ code: 3, stdout: '' });
    expect(stderr).toContain(message);
    expect(stderr).toMatch(/^create-pgark-plugin: error: .+\ncreate-pgark-plugin: hint: [^a-z].+\.\n$/);
  });

  test('an option that npm has kept for itself', () => {
    const env = { npm_config_directory: 'true' };
    expect(() => parseRequest(['storage', 'x', 'place'], env)).toThrow('npm has taken --directory');
  });

  test.each(KINDS)("names of pgark's own plugins, all of them: %s", (kind: Kind) => {
    const own = readdirSync(join(PROJECT, 'plugins')).filter((name) => name.startsWith(`${kind}-`));
    for (const plugin of own) {
      const name = plugin.slice(kind.length + 1);
      expect(() => checkName(kind, name), name).toThrow("one of pgark's own");
      const { pgark } = json(join(PROJECT, 'plugins', plugin, 'package.json'));
      const suffix = pgark?.['suffix'];
      if (typeof suffix === 'string') expect(() => checkName('codec', suffix), suffix).toThrow();
    }
  });

  test('--help writes nothing', () => {
    const { code, stdout } = run('storage', 'x', '--help');
    expect(code).toBe(0);
    expect(stdout).toContain('Usage: npm create pgark-plugin');
    expect(existsSync('pgark-storage-x')).toBe(false);
  });
});
