/** The pages of the project that people write, and what is in them. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const PROJECT: string = fileURLToPath(new URL('../..', import.meta.url));

/** A fenced block. */
export interface Block {
  /** What stands behind the fence: `sh`, `yaml`; empty for none. */
  readonly language: string;
  readonly text: string;
  /** Line of the first line of text, from 1. */
  readonly line: number;
  /** The comment before the fence: `<!-- not run: ... -->` is `not run: ...`. */
  readonly mark: string | undefined;
}

/** Code within a line. */
export interface Span {
  readonly text: string;
  readonly line: number;
}

export interface Page {
  /** Relative to the project. */
  readonly path: string;
  readonly blocks: readonly Block[];
  readonly spans: readonly Span[];
  /** Targets of links. */
  readonly links: readonly Span[];
  /** What a link after `#` may name. */
  readonly anchors: ReadonlySet<string>;
}

/** README.md, CHANGELOG.md, all of docs, and the README.md of each example. */
export function readPages(): readonly Page[] {
  const below = readdirSync(join(PROJECT, 'docs'), { recursive: true, encoding: 'utf8' });
  const paths = below.filter((path) => path.endsWith('.md')).map((path) => `docs/${path}`);
  const examples = readdirSync(join(PROJECT, 'examples')).map((name) => `examples/${name}/README.md`);
  const written = examples.filter((path) => existsSync(join(PROJECT, path)));
  return ['README.md', 'CHANGELOG.md', ...paths.sort(), ...written.sort()].map(readPage);
}

export function readPage(path: string): Page {
  const blocks: Block[] = [];
  const spans: Span[] = [];
  const links: Span[] = [];
  const anchors = new Set<string>();
  let open: { language: string; lines: string[]; line: number; indent: number; mark: string | undefined } | undefined;
  let mark: string | undefined;
  for (const [index, text] of readFileSync(join(PROJECT, path), 'utf8').split('\n').entries()) {
    const line = index + 1;
    const fence = /^( *)```(\w*)\s*$/.exec(text);
    if (open !== undefined) {
      if (fence === null) open.lines.push(text.slice(open.indent));
      else {
        blocks.push({ ...open, text: open.lines.map((each) => `${each}\n`).join('') });
        open = undefined;
      }
      continue;
    }
    if (fence !== null) {
      open = { language: fence[2] ?? '', lines: [], line: line + 1, indent: fence[1]?.length ?? 0, mark };
      mark = undefined;
      continue;
    }
    const comment = /^<!-- (.*) -->$/.exec(text)?.[1];
    if (comment !== undefined) mark = comment;
    else if (text !== '') mark = undefined;
    const heading = /^#{1,6} (.*)$/.exec(text)?.[1];
    if (heading !== undefined) anchors.add(anchorOf(heading));
    for (const [, , span] of text.matchAll(/(`+)(.+?)\1(?!`)/g)) spans.push({ text: span ?? '', line });
    for (const [, target] of text.replaceAll(/`[^`]*`/g, '``').matchAll(/\]\(([^)\s]+)\)/g))
      links.push({ text: target ?? '', line });
  }
  if (open !== undefined) throw new Error(`${path}: a block is not closed`);
  return { path, blocks, spans, links, anchors };
}

/** As GitHub makes it of a heading. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-');
}
