/** Finds and parses the config file, and remembers on which line each key stands. */
import { readFile } from 'node:fs/promises';
import { relative, resolve } from 'node:path';
import {
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  type Document,
  type ErrorCode,
  type Node,
} from 'yaml';
import { ArchiveError, errnoOf } from '../contracts/errors.ts';
import type { KeyPath } from './keys.ts';
import { configInvalid } from './problems.ts';
import { searched } from './search.ts';

export interface ConfigSource {
  /** Absolute; absent for a config that is a value of the program. */
  readonly path?: string;
  readonly tree: unknown;
  /** The line of the deepest part of `path` that the file has. */
  lineOf(path: KeyPath): number | undefined;
}

/**
 * Reads the file that `path` names, else the first of `pgark.yaml`, `pgark.yml` and `pgark.json` in `directory`,
 * then in `/etc/pgark`. Undefined when none was named and none is there.
 *
 * Errors: `CONFIG_NOT_FOUND` for a named file that does not exist, `CONFIG_INVALID` for one that cannot be read or parsed.
 */
export async function findSource(path: string | undefined, directory: string): Promise<ConfigSource | undefined> {
  if (path !== undefined) {
    const absolute = resolve(directory, path);
    const content = await read(absolute);
    if (content === undefined) throw new ArchiveError('CONFIG_NOT_FOUND', `there is no config file ${absolute}`);
    return parse(absolute, content, directory);
  }
  for (const candidate of searched(directory)) {
    const content = await read(candidate);
    if (content !== undefined) return parse(candidate, content, directory);
  }
  return undefined;
}

/** A config that a program gives as a value. Errors: `CONFIG_INVALID` for one that is no map. */
export function valueSource(value: unknown): ConfigSource {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw configInvalid([{ source: 'config', message: 'must be a map of keys' }]);
  return { tree: value, lineOf: () => undefined };
}

async function read(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'ENOENT' || errno === 'ENOTDIR') return undefined;
    throw new ArchiveError('CONFIG_INVALID', `cannot read the config file ${path}: ${errno ?? String(error)}`, {
      cause: error,
      hint: 'Make it a file that the user who runs pgark may read, or name another with --config.',
    });
  }
}

function parse(path: string, content: string, directory: string): ConfigSource {
  const lines = new LineCounter();
  // YAML contains JSON, so one parser reads both and knows the lines of both.
  const document = parseDocument(content, { lineCounter: lines, merge: true, prettyErrors: false });
  const problems = [...document.errors, ...document.warnings].map((error) => ({
    source: displayPath(path, directory),
    line: lines.linePos(error.pos[0]).line,
    message: QUOTING[error.code] ?? error.message.toLowerCase().replace(/\.$/, ''),
  }));
  if (problems.length > 0) throw configInvalid(problems);
  const tree: unknown = valueOf(document, displayPath(path, directory)) ?? {};
  if (typeof tree !== 'object' || Array.isArray(tree)) {
    throw configInvalid([{ source: displayPath(path, directory), line: 1, message: 'must be a map of keys' }]);
  }
  return { path, tree, lineOf: (keys) => lineOf(document, lines, keys) };
}

/** In place of messages of the parser that quote what it does not take: it may be a password that was not quoted. */
const QUOTING: Readonly<Partial<Record<ErrorCode, string>>> = {
  BAD_DIRECTIVE: 'a line begins with "%": quote the value',
  BAD_DQ_ESCAPE: 'a backslash within double quotes begins no escape sequence: take single quotes',
  BAD_COLLECTION_TYPE: 'a tag belongs to another kind of value',
  TAG_RESOLVE_FAILED: 'a value begins with "!" and is no tag: quote the value',
  UNEXPECTED_TOKEN:
    'something stands where it cannot stand: look at quotes, brackets, colons and indentation before it',
};

/** The name of an alias is not told: it may be a password that was not quoted. */
function valueOf(document: Document, source: string): unknown {
  try {
    return document.toJS();
  } catch (error) {
    const message =
      'a value begins with "*" and names no anchor before it, or anchors are used too often: quote the value';
    throw configInvalid([{ source, message }], { cause: error });
  }
}

function lineOf(document: Document, lines: LineCounter, path: KeyPath): number | undefined {
  let node = document.contents as Node | null | undefined;
  let offset: number | undefined;
  for (const part of path) {
    if (isAlias(node)) node = node.resolve(document) as Node | undefined;
    if (isMap(node)) {
      const pair = node.items.find((item) => isPair(item) && isScalar(item.key) && String(item.key.value) === part);
      if (pair === undefined) break;
      offset = (pair.key as Node).range?.[0] ?? offset;
      node = pair.value as Node | null;
    } else if (isSeq(node) && typeof part === 'number') {
      node = node.items[part] as Node | undefined;
      offset = node?.range?.[0] ?? offset;
    } else break;
  }
  return offset === undefined ? undefined : lines.linePos(offset).line;
}

/** A path as people would write it: relative when it lies below `directory`. */
export function displayPath(path: string, directory: string): string {
  const below = relative(directory, path);
  return below.startsWith('..') ? path : below;
}
