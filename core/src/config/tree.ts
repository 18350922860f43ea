/** Small walks over a parsed config before the schema sees it. */
import { formatPath, nodeAt, type KeyNode, type KeyPath } from './keys.ts';

/** Takes out keys without a value (`receive:` with every line below commented out): they count as not written. */
export function dropNulls(value: unknown, node: KeyNode | undefined): unknown {
  if (node === undefined || typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((item) => dropNulls(item, node.item));
  const kept = Object.entries(value).filter(([key, item]) => item !== null || !node.children.has(key));
  return Object.fromEntries(kept.map(([key, item]) => [key, dropNulls(item, node.children.get(key))]));
}

/** Reads numbers and booleans that came as text from a variable; what does not read as one is left for the schema to refuse. */
export function coerceTexts(tree: unknown, texts: readonly KeyPath[]): unknown {
  const wanted = new Set(texts.map(formatPath));
  const walk = (value: unknown, path: KeyPath): unknown => {
    if (typeof value === 'string' && wanted.has(formatPath(path))) return coerce(value, nodeAt(path)?.kind);
    if (Array.isArray(value)) return value.map((item, at) => walk(item, [...path, at]));
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, walk(item, [...path, key])]));
  };
  return walk(tree, []);
}

function coerce(text: string, kind: KeyNode['kind'] | undefined): unknown {
  if (kind === 'number' && /^-?\d+(?:\.\d+)?$/.test(text)) return Number(text);
  if (kind === 'boolean' && (text === 'true' || text === 'false')) return text === 'true';
  return text;
}

/** The variables that secrets refer to as `{env: NAME}`, anywhere in a file. */
export function environmentReferences(tree: unknown): readonly string[] {
  if (typeof tree !== 'object' || tree === null) return [];
  const entries = Object.entries(tree);
  const [first] = entries;
  if (entries.length === 1 && first?.[0] === 'env' && typeof first[1] === 'string') return [first[1]];
  return entries.flatMap(([, value]) => environmentReferences(value));
}
