/** The TypeScript on the pages compiles, as a program would that has installed pgark. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { PROJECT, readPages } from './pages.ts';

const snippets = readPages().flatMap(({ path, blocks }) =>
  blocks
    .filter(({ language, mark }) => language === 'ts' && mark?.startsWith('not run') !== true)
    .map(({ text, line }) => ({ text, name: `${path.replaceAll(/[/.]/g, '-')}-${line}.ts` })),
);

test('the TypeScript on the pages compiles', { timeout: 120_000 }, () => {
  expect(snippets.length).toBeGreaterThan(5);
  const folder = mkdtempSync(join(tmpdir(), 'pgark-snippets-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  symlinkSync(join(PROJECT, 'node_modules'), join(folder, 'node_modules'));
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  const compilerOptions = {
    target: 'es2023',
    module: 'nodenext',
    types: ['node'],
    strict: true,
    exactOptionalPropertyTypes: true,
    noEmit: true,
    allowImportingTsExtensions: true,
    customConditions: ['@pgark/source'],
    skipLibCheck: true,
  };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*.ts'] }));
  for (const { name, text } of snippets) writeFileSync(join(folder, name), text);
  // A name that is none is found, so the snippets are really looked at.
  writeFileSync(join(folder, 'wrong.ts'), `import { openArchives } from 'pgark';\nopenArchives();\n`);
  const errors = compile(folder)
    .split('\n')
    .filter((line) => line.includes('error TS'));
  expect(errors).toHaveLength(1);
  expect(errors[0]).toMatch(/^wrong\.ts.*openArchives/);
});

function compile(folder: string): string {
  const tsc = join(PROJECT, 'node_modules/typescript/bin/tsc');
  const { stdout, stderr } = spawnSync(process.execPath, [tsc, '-p', folder, '--pretty', 'false'], {
    cwd: folder,
    encoding: 'utf8',
  });
  return stdout + stderr;
}
