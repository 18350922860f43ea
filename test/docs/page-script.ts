/** Runs the shell blocks of a page as one script, and compares what they print with what the page shows. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect } from 'vitest';
import type { Block } from './pages.ts';

export interface ScriptOptions {
  /** What the reader has to put in: `export NAME=...` of the page gets another value. Each name must be there. */
  readonly values: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly user?: { readonly uid: number; readonly gid: number } | undefined;
  /** Called with what ends everything that the script has left running. */
  readonly onStart: (end: () => void) => void;
}

const BORDER = '--- block ';

/** The blocks that are typed into a shell: all but those that are marked `not run`. */
export function shellBlocks(blocks: readonly Block[]): readonly Block[] {
  return blocks.filter(({ language, mark }) => language === 'sh' && mark?.startsWith('not run') !== true);
}

/** Runs the blocks in one shell, which ends at the first failure, and gives what each printed. */
export async function runBlocks(scripts: readonly Block[], options: ScriptOptions): Promise<readonly string[]> {
  const { code, output } = await shell(script(scripts, options.values), options);
  const printed = output.split(new RegExp(`^${BORDER}\\d+\n`, 'm')).slice(1);
  expect(code, output).toBe(0);
  expect(printed).toHaveLength(scripts.length);
  return printed;
}

/** One script: what a reader types, with the values of the reader's machine. */
function script(scripts: readonly Block[], values: Readonly<Record<string, string>>): string {
  let text = scripts.map((block, index) => `echo '${BORDER}${index}'\n${block.text}`).join('');
  for (const [name, value] of Object.entries(values)) {
    const line = new RegExp(`^export ${name}=\\S+`, 'm');
    expect(text).toMatch(line);
    text = text.replace(line, `export ${name}='${value}'`);
  }
  return text;
}

/** Runs a script in a process group of its own. */
async function shell(
  text: string,
  { cwd, env, user, onStart }: ScriptOptions,
): Promise<{ readonly code: number | null; readonly output: string }> {
  const child = spawn('/bin/sh', ['-eu', '-c', `exec 2>&1\n${text}`], {
    ...user,
    cwd,
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { LC_ALL: 'C', TZ: 'UTC', ...env },
  });
  const ended = once(child, 'close');
  onStart(() => {
    try {
      process.kill(-(child.pid ?? 0), 'SIGKILL');
    } catch {
      // All of it has ended, as it should.
    }
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (output += chunk));
  const [code] = (await ended) as [number | null];
  return { code, output };
}

/**
 * What stands below a block of commands was printed by it, but for numbers. `clean` takes out of what was printed what is not the same on every
 * machine; blocks for which `isInput` is true are to be written, not read.
 */
export function expectPrinted(
  blocks: readonly Block[],
  scripts: readonly Block[],
  printed: readonly string[],
  {
    clean = (text) => text,
    isInput = () => false,
  }: { clean?: (text: string) => string; isInput?: (block: Block) => boolean } = {},
): void {
  for (const [index, block] of scripts.entries()) {
    const next = blocks[blocks.indexOf(block) + 1];
    if (next?.language !== 'text' || isInput(next)) continue;
    const actual = new Set(
      clean(printed[index] ?? '')
        .split('\n')
        .map(withoutNumbers),
    );
    const shown = next.text.split('\n').filter((line) => line.trim() !== '...');
    expect(
      shown.filter((line) => !actual.has(withoutNumbers(line))),
      `line ${next.line}, printed was:\n${printed[index]}`,
    ).toEqual([]);
  }
}

/** A line with what differs from run to run taken out: numbers with their units, ids, the width of columns. */
function withoutNumbers(line: string): string {
  return line
    .replaceAll(/\b[0-9A-F]+\/[0-9A-F]+\b/g, '#')
    .replaceAll(/\b[0-9a-f]{32}\b/g, '#')
    .replaceAll(/\b\d[\dA-Za-z:.+-]*(?: (?:B|KiB|MiB|ms|s)\b)?/g, '#')
    .replaceAll(/-{2,}/g, '--')
    .replaceAll(/ +/g, ' ')
    .trim();
}
