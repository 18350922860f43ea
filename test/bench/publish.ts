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
  const pictures = drawAll(result);
  const files = Object.fromEntries(Object.keys(pictures).map((name) => [name, `${name}.svg`]));
  for (const [name, svg] of Object.entries(pictures)) writeFileSync(join(folder, `${name}.svg`), svg);
  writeFileSync(join(folder, 'README.md'), scoreboard(result, files));
  if (result.groups.length > 0)
    writeFileSync(
      join(folder, 'result.json'),
      await format(JSON.stringify(result), { parser: 'json', printWidth: 120 }),
    );
}
