/** Every key of a config with its value and where that came from. */
import { Secret } from '../contracts/secret.ts';
import { formatPath, keyTree, type KeyNode, type KeyPath } from './keys.ts';
import { isSecretReference } from './secrets.ts';

export type Origin =
  | { readonly kind: 'default' }
  | { readonly kind: 'file'; readonly file: string; readonly line?: number }
  | { readonly kind: 'env'; readonly name: string };

export interface ConfigSetting {
  /** `receive.slot` */
  readonly path: string;
  /** As written, not converted; a {@link Secret} where the schema knows that it is one. Undefined when it is not set. */
  readonly value: unknown;
  readonly origin: Origin;
  /** For an option of a plugin: the section it stands in, and its name. Whether it is a secret only the plugin knows. */
  readonly option?: { readonly section: string; readonly name: string };
}

/** Lists the settings of a section in the order of the schema, those that nobody set included. */
export function settingsOf(tree: unknown, originOf: (path: KeyPath) => Origin): readonly ConfigSetting[] {
  const settings: ConfigSetting[] = [];
  const add = (path: KeyPath, value: unknown, origin: Origin, option?: ConfigSetting['option']): void => {
    settings.push({ path: formatPath(path), value, origin, ...(option === undefined ? {} : { option }) });
  };
  const walk = (value: unknown, node: KeyNode, path: KeyPath): void => {
    if (value === undefined && node.kind !== 'section') return add(path, node.default, { kind: 'default' });
    if (node.kind === 'list' && node.item !== undefined && Array.isArray(value) && value.length > 0) {
      for (const [at, item] of value.entries()) walk(item, node.item, [...path, at]);
      return;
    }
    if (node.kind !== 'section') {
      const secret = node.kind === 'secret' && !isSecretReference(value);
      return add(path, secret ? new Secret(String(value)) : value, originOf(path));
    }
    const section = (value ?? {}) as Readonly<Record<string, unknown>>;
    for (const [key, child] of node.children) walk(section[key], child, [...path, key]);
    if (!node.open) return;
    for (const [key, item] of Object.entries(section)) {
      if (node.children.has(key)) continue;
      add([...path, key], item, originOf([...path, key]), { section: formatPath(path), name: key });
    }
  };
  walk(tree, keyTree(), []);
  return settings;
}
