/** The tree of config keys, read off the schema, and the one rule that names their environment variables. */
import type * as z from 'zod';
import { sectionSchema, typeName } from './schema.ts';

/** Keys and list indexes from the top of a section. */
export type KeyPath = readonly (string | number)[];

/** One key, section or list of the config. */
export interface KeyNode {
  readonly kind: 'section' | 'list' | 'secret' | 'text' | 'number' | 'boolean';
  /** For people: `duration`, `local or remote`. */
  readonly type: string;
  readonly description: string;
  readonly required: boolean;
  /** As one would write it in the file. */
  readonly default?: unknown;
  /** Sections: what it may hold. Secrets: the ways to name a source. */
  readonly children: ReadonlyMap<string, KeyNode>;
  /** Lists: one item. */
  readonly item?: KeyNode;
  /** Whether other keys are allowed too, because they are a plugin's options. */
  readonly open: boolean;
}

let root: KeyNode | undefined;

/** The keys of one cluster's section. */
export function keyTree(): KeyNode {
  root ??= describe(sectionSchema());
  return root;
}

interface Schema extends z.core.$ZodType {
  readonly description?: string | undefined;
}

interface Definition {
  readonly type: string;
  readonly innerType?: Schema;
  readonly in?: Schema;
  readonly defaultValue?: unknown;
  readonly shape?: Readonly<Record<string, Schema>>;
  readonly catchall?: { readonly _zod: { readonly def: { readonly type: string } } };
  readonly element?: Schema;
  readonly options?: readonly Schema[];
  readonly entries?: Readonly<Record<string, string>>;
}

function describe(schema: Schema): KeyNode {
  let description = schema.description ?? '';
  let required = true;
  let fallback: { readonly default?: unknown } = {};
  let type = typeName(schema);
  let at = schema;
  for (;;) {
    const def = at._zod.def as unknown as Definition;
    const inner = def.type === 'pipe' ? def.in : def.innerType;
    if (inner === undefined) break;
    if (def.type !== 'pipe') required = false;
    if (def.type === 'default' || def.type === 'prefault') fallback = { default: def.defaultValue };
    at = inner;
    description ||= at.description ?? '';
    type ??= typeName(at);
  }
  const shared = { description, required, ...fallback, children: new Map<string, KeyNode>(), open: false };
  const def = at._zod.def as unknown as Definition;
  switch (def.type) {
    case 'object': {
      const children = new Map(Object.entries(def.shape ?? {}).map(([key, child]) => [key, describe(child)]));
      const open = def.catchall?._zod.def.type === 'unknown';
      return { ...shared, kind: 'section', type: 'section', children, open };
    }
    case 'array':
      return {
        ...shared,
        kind: 'list',
        type: 'list',
        ...(def.element === undefined ? {} : { item: describe(def.element) }),
      };
    case 'union': {
      const options = (def.options ?? []).map(describe);
      const sections = options.filter((option) => option.kind === 'section');
      if (sections.length === 0) return { ...shared, kind: 'text', type: type ?? 'text' };
      const children = new Map(sections.flatMap((option) => [...option.children]));
      return { ...shared, kind: 'secret', type: 'secret', children };
    }
    case 'enum': {
      const values = Object.values(def.entries ?? {}).map((value) => `\`${value}\``);
      return { ...shared, kind: 'text', type: values.join(', ') };
    }
    case 'number':
      return { ...shared, kind: 'number', type: 'number' };
    case 'boolean':
      return { ...shared, kind: 'boolean', type: '`true` or `false`' };
    default:
      return { ...shared, kind: 'text', type: type ?? 'text' };
  }
}

/** `repositories[0].storage.bucket` */
export function formatPath(path: KeyPath): string {
  return path.map((part, at) => (typeof part === 'number' ? `[${part}]` : at === 0 ? part : `.${part}`)).join('');
}

/** The node of a path, or undefined below a plugin's options. */
export function nodeAt(path: KeyPath): KeyNode | undefined {
  let node: KeyNode | undefined = keyTree();
  for (const part of path) node = typeof part === 'number' ? node?.item : node?.children.get(part);
  return node;
}

/** `partSize` becomes `PART_SIZE`. */
function upperSnake(key: string): string {
  return key.replaceAll(/(?<=[a-z0-9])(?=[A-Z])/g, '_').toUpperCase();
}

/** The environment variable of a key: `PGARK_RECEIVE_SLOT`, `PGARK_REPOSITORIES_0_STORAGE_BUCKET`. */
export function variableOf(path: KeyPath): string {
  return ['PGARK', ...path.map((part) => upperSnake(String(part)))].join('_');
}

/** The key that an environment variable sets, or undefined when there is none of that name. */
export function keyOfVariable(variable: string): KeyPath | undefined {
  if (!/^PGARK(?:_[A-Z0-9]+)+$/.test(variable)) return undefined;
  return resolve(keyTree(), variable.slice('PGARK_'.length));
}

function resolve(node: KeyNode, rest: string): KeyPath | undefined {
  if (node.kind === 'list') {
    const [, index, below] = /^(0|[1-9]\d{0,2})(?:_(.+))?$/.exec(rest) ?? [];
    if (index === undefined || node.item === undefined) return undefined;
    const tail = below === undefined ? (isScalar(node.item) ? [] : undefined) : resolve(node.item, below);
    return tail && [Number(index), ...tail];
  }
  for (const [key, child] of node.children) {
    const name = upperSnake(key);
    if (rest === name && isScalar(child)) return [key];
    const tail = rest.startsWith(`${name}_`) ? resolve(child, rest.slice(name.length + 1)) : undefined;
    if (tail !== undefined) return [key, ...tail];
  }
  return node.open ? optionPath(rest) : undefined;
}

function isScalar(node: KeyNode): boolean {
  return node.kind !== 'section' && node.kind !== 'list';
}

/** Options of plugins are not known here: words make one key in camel case, a number is an index. */
function optionPath(rest: string): KeyPath {
  const path: (string | number)[] = [];
  let words: string[] = [];
  const endKey = (): void => {
    if (words.length > 0)
      path.push(words.map((word, at) => (at === 0 ? word : word.charAt(0).toUpperCase() + word.slice(1))).join(''));
    words = [];
  };
  for (const word of rest.toLowerCase().split('_')) {
    if (/^\d+$/.test(word) && (words.length > 0 || path.length > 0)) {
      endKey();
      path.push(Number(word));
    } else words.push(word);
  }
  endKey();
  return path;
}

/** Every key that holds a value, lists with the index 0: what documentation and suggestions go through. */
export function leaves(
  node: KeyNode = keyTree(),
  path: KeyPath = [],
): readonly { readonly path: KeyPath; readonly node: KeyNode }[] {
  const below =
    node.item === undefined
      ? [...node.children].flatMap(([key, child]) => leaves(child, [...path, key]))
      : leaves(node.item, [...path, 0]);
  return isScalar(node) ? [{ path, node }, ...below] : below;
}
