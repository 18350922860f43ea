/** Lays `PGARK_*` environment variables over the tree of the config file. */
import { keyOfVariable, leaves, variableOf, type KeyPath } from './keys.ts';
import type { Problem } from './problems.ts';
import { suggest } from './suggest.ts';

/** Variables that are not keys: which file, what tests and their tools use, and what a program is told of an event, which may run pgark. */
const OTHER = /^PGARK_(?:CONFIG$|EVENT_|TEST_|UPDATE_)/;

export interface Setting {
  readonly variable: string;
  readonly path: KeyPath;
  readonly value: string;
}

export interface EnvironmentSettings {
  readonly settings: readonly Setting[];
  readonly problems: readonly Problem[];
}

/**
 * The config keys that variables set. An empty variable counts as not set. A `PGARK_*` variable that is no key is a problem,
 * unless the file itself refers to it (`named`).
 */
export function environmentSettings(env: NodeJS.ProcessEnv, named: ReadonlySet<string>): EnvironmentSettings {
  const settings: Setting[] = [];
  const problems: Problem[] = [];
  for (const [variable, value] of Object.entries(env)) {
    if (!variable.startsWith('PGARK_') || OTHER.test(variable) || named.has(variable)) continue;
    const path = keyOfVariable(variable);
    if (path === undefined) problems.push({ source: variable, message: unknownVariable(variable) });
    else if (value !== undefined && value !== '') settings.push({ variable, path, value });
  }
  return { settings, problems };
}

function unknownVariable(variable: string): string {
  const known = ['PGARK_CONFIG', ...leaves().map(({ path }) => variableOf(path))];
  // List items are suggested with the index that was typed.
  const indexes = variable.match(/(?<=_)\d+(?=_|$)/g) ?? [];
  const nearest = suggest(variable.replaceAll(/(?<=_)\d+(?=_|$)/g, '0'), known);
  let at = 0;
  const shown = nearest?.replaceAll(/(?<=_)0(?=_|$)/g, () => indexes[at++] ?? '0');
  return `no config key has this variable${shown === undefined ? '' : `, did you mean ${shown}?`}`;
}

/** A copy of `tree` with `value` at `path`, or undefined when an index would leave a hole in its list. */
export function withValue(tree: unknown, path: KeyPath, value: unknown): unknown {
  const [part, ...rest] = path;
  if (part === undefined) return value;
  if (typeof part === 'number') {
    const list: unknown[] = Array.isArray(tree) ? [...(tree as unknown[])] : [];
    if (part > list.length) return undefined;
    list[part] = withValue(list[part], rest, value);
    return list[part] === undefined ? undefined : list;
  }
  const section = typeof tree === 'object' && tree !== null && !Array.isArray(tree) ? tree : {};
  const changed = withValue((section as Record<string, unknown>)[part], rest, value);
  return changed === undefined ? undefined : { ...section, [part]: changed };
}
