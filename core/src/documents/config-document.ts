/** The config for programs, without its secrets. */
import type { ConfigSetting, Origin } from '../config/explain.ts';
import type { LoadedConfig } from '../config/load.ts';
import { isSecretReference } from '../config/secrets.ts';
import { Secret } from '../contracts/secret.ts';
import type { Registry } from '../plugins/registry.ts';
import { mapSecrets } from '../plugins/secret-options.ts';

/** A key of the config. */
export interface ExplainedSetting {
  readonly key: string;
  readonly value: unknown;
  readonly origin: Origin;
}

export interface ConfigDocumentOptions {
  /** Whether the arguments of commands that print a secret are shown: they may hold another one. Default `shown`. */
  readonly commands?: 'shown' | 'redacted';
}

/**
 * The settings with secrets taken out: those of the config, those of plugins, and passwords in URLs. Where a plugin cannot be asked, none of
 * its options is shown.
 */
export async function configDocument(
  loaded: LoadedConfig,
  registry: Registry,
  { commands = 'shown' }: ConfigDocumentOptions = {},
): Promise<readonly ExplainedSetting[]> {
  const { config } = loaded;
  const kinds = new Map<string, { readonly kind: 'storage' | 'codec' | 'hook'; readonly use: string }>([
    ...config.repositories.flatMap(({ storage, codecs }) => [
      [storage.path, { kind: 'storage', use: storage.use }] as const,
      ...codecs.map(({ path, use }) => [path, { kind: 'codec', use }] as const),
    ]),
    ...config.hooks.map(({ hook }) => [hook.path, { kind: 'hook', use: hook.use }] as const),
  ]);
  const secretsOf = async (section: string): Promise<readonly string[] | undefined> => {
    const found = kinds.get(section);
    if (found === undefined) return undefined;
    return registry.plugin(found.kind, found.use).then(
      (plugin) => plugin.secrets ?? [],
      () => undefined,
    );
  };
  const rows = await Promise.all(
    loaded.settings.map(async ({ path, value, origin, option }: ConfigSetting) => {
      const shown = { key: path, value: path === 'concurrency' ? config.concurrency : value, origin };
      if (option === undefined) return shown;
      const secrets = await secretsOf(option.section);
      const hide = (secret: unknown): unknown => (isSecretReference(secret) ? secret : '[redacted]');
      const hidden = { secret: hide, misplaced: hide };
      const open = await mapSecrets({ [option.name]: value }, secrets ?? [option.name], hidden);
      return { ...shown, value: open[option.name] };
    }),
  );
  return rows.map((row) => ({ ...row, value: withoutSecrets(row.value, commands) }));
}

/** A password within a URL. */
const USER_INFO = /^([a-z][a-z0-9+.-]*:\/\/[^\s/:@?#]*):[^\s/?#]*@/i;

function withoutSecrets(value: unknown, commands: 'shown' | 'redacted'): unknown {
  if (typeof value === 'string') return value.replace(USER_INFO, '$1:[redacted]@');
  if (Array.isArray(value)) return value.map((item: unknown) => withoutSecrets(item, commands));
  if (typeof value !== 'object' || value === null || value instanceof Secret) return value;
  if (commands === 'redacted' && isSecretReference(value) && 'command' in value)
    return { command: [...value.command.slice(0, 1), ...value.command.slice(1).map(() => '[redacted]')] };
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, withoutSecrets(item, commands)]));
}
