/** `${NAME}` inside string values. */
import type { KeyPath } from './keys.ts';

/** A value with its variables replaced, and what went on. */
export interface Expanded {
  readonly value: unknown;
  readonly problems: readonly { readonly path: KeyPath; readonly message: string }[];
  /** Paths of values that are nothing but one variable: they stand for any type. */
  readonly whole: readonly KeyPath[];
  /** Names of the variables that the values use. */
  readonly names: ReadonlySet<string>;
}

/**
 * Replaces `${NAME}` in every string of a parsed tree by the variable's value. It never sees the text of the file, so a
 * value cannot become structure. `$${NAME}` gives `${NAME}`; every other `$` stays as it is.
 */
export function expand(tree: unknown, env: NodeJS.ProcessEnv): Expanded {
  const problems: { path: KeyPath; message: string }[] = [];
  const whole: KeyPath[] = [];
  const names = new Set<string>();
  const walk = (value: unknown, path: KeyPath): unknown => {
    if (typeof value === 'string') return expandText(value, path);
    if (Array.isArray(value)) return value.map((item, at) => walk(item, [...path, at]));
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, walk(item, [...path, key])]));
  };
  const expandText = (text: string, path: KeyPath): string => {
    if (/^\$\{[A-Za-z_]\w*\}$/.test(text)) whole.push(path);
    return text.replaceAll(/\$(\$?)\{([^{}]*)\}/g, (match: string, escape: string, name: string) => {
      if (escape !== '') return match.slice(1);
      if (!/^[A-Za-z_]\w*$/.test(name)) {
        problems.push({ path, message: `"${match}" does not name a variable; write "$${match}" for the text itself` });
        return match;
      }
      names.add(name);
      const found = env[name];
      if (found === undefined) problems.push({ path, message: `the environment variable ${name} is not set` });
      return found ?? '';
    });
  };
  return { value: walk(tree, []), problems, whole, names };
}
