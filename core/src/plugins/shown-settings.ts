/** The settings of a config as they may be shown: with the secrets of plugins taken out. */
import type { PluginSection } from '../config/config.ts';
import type { Origin } from '../config/explain.ts';
import type { LoadedConfig } from '../config/load.ts';
import { isSecretReference } from '../config/secrets.ts';
import { Secret } from '../contracts/secret.ts';
import type { PluginKind } from '../contracts/plugin.ts';
import { pluginSections } from './check.ts';
import type { Registry } from './registry.ts';
import { mapSecrets } from './secret-options.ts';

export interface ShownSetting {
  readonly key: string;
  readonly value: unknown;
  readonly origin: Origin;
}

export interface ShownSettingsOptions {
  /** Which options of a plugin are secrets; undefined when it cannot be asked: then none of them is shown. */
  readonly secretsOf: (kind: PluginKind, section: PluginSection) => Promise<readonly string[] | undefined>;
  /** What is shown of a secret. Default: `[redacted]`, and a reference to one as it stands in the config. */
  readonly hide?: (secret: unknown, key: string) => unknown;
}

/** Every key of a config, with its value and where that came from. */
export async function shownSettings(
  { config, settings }: Pick<LoadedConfig, 'config' | 'settings'>,
  { secretsOf, hide = redacted }: ShownSettingsOptions,
): Promise<readonly ShownSetting[]> {
  const sections = new Map(pluginSections(config).map((named) => [named.section.path, named]));
  const secrets = new Map<string, Promise<readonly string[] | undefined>>();
  const ofSection = (path: string): Promise<readonly string[] | undefined> => {
    const named = sections.get(path);
    const known = secrets.get(path) ?? (named === undefined ? none() : secretsOf(named.kind, named.section));
    secrets.set(path, known);
    return known;
  };
  return Promise.all(
    settings.map(async ({ path, value, origin, option }) => {
      if (option === undefined) {
        const isSecret = value instanceof Secret || isSecretReference(value);
        const shown = path === 'concurrency' ? config.concurrency : value;
        return { key: path, value: isSecret ? hide(value, path) : shown, origin };
      }
      const names = (await ofSection(option.section)) ?? [option.name];
      const at = (secret: unknown, below: string): unknown => hide(secret, `${option.section}.${below}`);
      const open = await mapSecrets({ [option.name]: value }, names, { secret: at, misplaced: at });
      return { key: path, value: open[option.name], origin };
    }),
  );
}

const none = (): Promise<undefined> => Promise.resolve(undefined);
const redacted = (secret: unknown): unknown => (isSecretReference(secret) ? secret : '[redacted]');

/** Asks the plugins themselves, which are loaded for it. */
export function secretsBy(registry: Registry): ShownSettingsOptions['secretsOf'] {
  return (kind, { use }) =>
    registry.plugin(kind, use).then(
      ({ secrets = [] }) => secrets,
      () => undefined,
    );
}
