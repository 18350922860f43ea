/**
 * Each block of code on a page is checked by something: a kind that nothing checks, and one that is marked for another reader without saying
 * for whom, fail here.
 *
 * A comment before a block says what is special about it: `run by PATH`, `of PROGRAM` (not pgark's), `not run: WHY`, `not compiled: WHY`,
 * `is: PATH` (a file of the plugin that test/docs/plugin-author makes, compares and compiles).
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import type { Config } from '../../core/src/config/config.ts';
import { loadConfigs } from '../../core/src/config/load.ts';
import { keyTree } from '../../core/src/config/keys.ts';
import { checkPlugins } from '../../core/src/plugins/check.ts';
import { Registry } from '../../core/src/plugins/registry.ts';
import { silentLogger } from '../support/silent-logger.ts';
import { PROJECT, readPages, type Block, type Page } from './pages.ts';

const pages = readPages();
const folder = mkdtempSync(join(tmpdir(), 'pgark-snippets-'));
afterAll(() => rmSync(folder, { recursive: true }));

type Check = (block: Block, page: Page) => unknown;

/** By language. Command lines in sh, ini, conf and cron are checked by pages.test.ts, too. */
const CHECKS: Readonly<Record<string, Check>> = {
  yaml: checkYaml,
  json: ({ text }) => void JSON.parse(text),
  sh: ({ text }) => runs('/bin/sh', ['-n'], text),
  js: ({ text }) => runs(process.execPath, ['--check', '--input-type=module', '-'], text),
  ts: ({ mark }) => expect(mark ?? '').not.toMatch(/^not compiled: *$/), // compiled below
  sql: () => expect(existsSync(join(PROJECT, 'test/integration/docs-sql.test.ts'))).toBe(true), // runs each
  ini: checkSettings,
  conf: checkSettings,
  cron: ({ text }) => {
    for (const line of text.split('\n').filter((each) => each !== '' && !each.startsWith('#'))) {
      const command = /^(?:[\d*][\d*,/-]* +){5}(.+)$/.exec(line)?.[1];
      expect(command, line).toBeDefined();
      runs('/bin/sh', ['-n'], command ?? '');
    }
  },
  // What is printed, drawn or typed in its form. What could be run does not belong into it.
  text: ({ text }) => expect(text).not.toMatch(/^\$ /m),
};

describe.each(pages.filter(({ blocks }) => blocks.length > 0))('$path', (page) => {
  test.each(page.blocks)('the block of line $line, $language', async (block) => {
    const by = /^run by (\S+)$/.exec(block.mark ?? '')?.[1];
    if (by !== undefined) expect(readFileSync(join(PROJECT, by), 'utf8')).toContain(page.path.split('/').at(-1));
    const check = CHECKS[block.language];
    expect(check, `nothing checks "${block.language}": see CHECKS in test/docs/snippets.test.ts`).toBeDefined();
    await check?.(block, page);
  });
});

/** A config, a section of one, or what is marked as the file of another program. */
async function checkYaml({ text, mark }: Block): Promise<void> {
  const content = parse(text) as Readonly<Record<string, unknown>>;
  if (/^of \S/.test(mark ?? '')) return;
  const config = wholeConfig(content);
  expect(config, 'neither a config nor a section of one: mark it with <!-- of PROGRAM -->').toBeDefined();
  const path = join(folder, 'pgark.yaml');
  const env = {};
  writeFileSync(path, stringify(config));
  await loadConfigs({ path, env, directory: folder });
  // The files, variables and programs of its secrets are not here.
  writeFileSync(path, stringify(withoutReferences(config)));
  for (const loaded of await loadConfigs({ path, env, directory: folder }))
    await checkPlugins(withoutOwn(loaded.config), new Registry({ directory: PROJECT, env, logger: silentLogger }));
}

const OF_REPOSITORY = ['storage', 'codecs', 'prefix', 'lock'];

/** What may stand alone on a page gets the rest of a config. */
function wholeConfig(content: Readonly<Record<string, unknown>>): object | undefined {
  const keys = Object.keys(content);
  if (keys.includes('clusters') || keys.includes('repositories')) return content;
  if (keys.every((key) => OF_REPOSITORY.includes(key))) return { repositories: [content] };
  if (!keys.every((key) => keyTree().children.has(key))) return undefined;
  return { repositories: [{ storage: { use: 'fs', path: '/backups' } }], ...content };
}

/** Hooks that the readers have written themselves are not here. */
function withoutOwn(config: Config): Config {
  return { ...config, hooks: config.hooks.filter(({ hook }) => !hook.use.startsWith('./')) };
}

/** Secrets of which a plugin wants more than 32 bytes in base64. */
const SHAPES: Readonly<Record<string, string>> = { url: 'https://example.org/secret', routingKey: 'a'.repeat(32) };

/** A secret that every plugin takes; another one for each reference. */
const secretFor = (name: string, reference: object): string =>
  SHAPES[name] ?? createHash('sha256').update(JSON.stringify(reference)).digest('base64');

function withoutReferences(value: unknown, name = ''): unknown {
  if (Array.isArray(value)) return value.map((each) => withoutReferences(each, name));
  if (typeof value !== 'object' || value === null) return value;
  const [only, ...others] = Object.entries(value);
  if (only !== undefined && others.length === 0 && ['file', 'env', 'command'].includes(only[0]))
    return secretFor(name, value);
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, withoutReferences(each, key)]));
}

/** Files of systemd, sshd, PostgreSQL: comments, sections, and what is set. */
function checkSettings({ text }: Block): void {
  for (const line of text.split('\n')) {
    if (!/^(?:\s*|#.*|\[\w+\]|\s*[a-z]\w*\s*(?:=\s*|\s)\S.*)$/i.test(line)) throw new Error(`no setting: ${line}`);
  }
}

function runs(program: string, args: readonly string[], input: string): void {
  const { status, stderr } = spawnSync(program, args, { input, encoding: 'utf8' });
  expect(status, stderr).toBe(0);
}

test('every block of TypeScript compiles, each as a module of its own', { timeout: 120_000 }, () => {
  const files = pages.flatMap((page) =>
    page.blocks
      .filter(({ language, mark }) => language === 'ts' && !/^(?:not compiled|is): \S/.test(mark ?? ''))
      .map(({ text, line }) => {
        const name = `${page.path.replaceAll(/[/.]/g, '-')}-${line}.ts`;
        // Paths are meant from the page.
        const from = (path: string): string => join(realpathSync(PROJECT), dirname(page.path), path);
        const code = text.replaceAll(
          /(from |import\()'(\.{1,2}\/[^']*)'/g,
          (_, by: string, path: string) => `${by}'${from(path)}'`,
        );
        writeFileSync(join(folder, name), `${code}\nexport {};\n`);
        return name;
      }),
  );
  expect(files.length).toBeGreaterThan(0);
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  symlinkSync(join(PROJECT, 'node_modules'), join(folder, 'node_modules'));
  const config = {
    extends: join(PROJECT, 'test/tsconfig.json'),
    compilerOptions: { rootDir: '/', typeRoots: [join(PROJECT, 'node_modules/@types')], noUnusedLocals: false },
    files,
    include: [],
  };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config));
  const { status, stdout } = spawnSync(process.execPath, [join(PROJECT, 'node_modules/.bin/tsc'), '-p', folder], {
    encoding: 'utf8',
  });
  expect(status, stdout).toBe(0);
});
