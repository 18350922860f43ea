/** Writes the scoreboard into a folder: `result.json`, the page and its pictures. */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { format } from 'prettier';
import { drawAll } from './draw.ts';
import type { Result } from './result.ts';
import { scoreboard } from './table.ts';

export async function publish(result: Result, folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  for (const name of readdirSync(folder).filter((name) => name.endsWith('.svg'))) rmSync(join(folder, name));
  for (const [name, content] of Object.entries(pages(result))) writeFileSync(join(folder, name), content);
  const json = await format(JSON.stringify(result), { parser: 'json', printWidth: 120 });
  writeFileSync(join(folder, 'result.json'), json);
}

/** What is made of a result: contents by file name. */
export function pages(result: Result): Readonly<Record<string, string>> {
  const pictures = drawAll(result);
  const files = Object.fromEntries(Object.keys(pictures).map((name) => [name, `${name}.svg`]));
  const drawn = Object.entries(pictures).map(([name, svg]) => [`${name}.svg`, svg]);
  return { ...Object.fromEntries(drawn), 'README.md': scoreboard(result, files) };
}
