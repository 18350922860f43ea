import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import type { PluginKind } from '../contracts/plugin.ts';
import type { Config, PluginSection } from '../config/config.ts';
import type { Registry } from './registry.ts';

/** Every plugin section of a config with the kind of plugin that belongs there. */
export function pluginSections(
  config: Config,
): readonly { readonly kind: PluginKind; readonly section: PluginSection }[] {
  return [
    ...config.repositories.flatMap(({ storage, codecs }) => [
      { kind: 'storage' as const, section: storage },
      ...codecs.map((section) => ({ kind: 'codec' as const, section })),
    ]),
    ...config.hooks.map(({ hook }) => ({ kind: 'hook' as const, section: hook })),
  ];
}

/**
 * Loads every plugin of a config and validates its options.
 *
 * Errors: the one problem as it is, or `CONFIG_INVALID` that lists them all.
 */
export async function checkPlugins(config: Config, registry: Registry): Promise<void> {
  const failures: { readonly path: string; readonly error: ArchiveError }[] = [];
  for (const { kind, section } of pluginSections(config)) {
    try {
      await registry.check(kind, section);
    } catch (error) {
      if (!isArchiveError(error)) throw error;
      failures.push({ path: section.path, error });
    }
  }
  const [first] = failures;
  if (failures.length === 1 && first !== undefined) throw first.error;
  if (first === undefined) return;
  const lines = failures.map(({ path, error }) =>
    error.message.includes(path) ? error.message : `${path}: ${error.message}`,
  );
  throw new ArchiveError('CONFIG_INVALID', `the config has ${failures.length} problems:\n  ${lines.join('\n  ')}`, {
    hint: [...new Set(failures.map(({ error }) => error.hint))].join(' '),
    details: { problems: failures.map(({ path, error }) => ({ path, code: error.code, message: error.message })) },
  });
}
