/** The config for programs, without its secrets. */
import type { LoadedConfig } from '../config/load.ts';
import { isSecretReference } from '../config/secrets.ts';
import { Secret } from '../contracts/secret.ts';
import type { Registry } from '../plugins/registry.ts';
import { secretsBy, shownSettings, type ShownSetting } from '../plugins/shown-settings.ts';

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
): Promise<readonly ShownSetting[]> {
  const rows = await shownSettings(loaded, { secretsOf: secretsBy(registry) });
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
