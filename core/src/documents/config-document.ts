/** The config for programs, without its secrets. */
import { hideUserInfo } from '../config/hide-user-info.ts';
import type { LoadedConfig } from '../config/load.ts';
import { isSecretReference } from '../config/secrets.ts';
import { Secret } from '../contracts/secret.ts';
import type { Registry } from '../plugins/registry.ts';
import { secretsBy, shownSettings, type ShownSetting } from '../plugins/shown-settings.ts';

export interface ConfigDocumentOptions {
  /** Whether the arguments of commands, of secrets and of hooks, are shown: they may hold a secret. Default `shown`. */
  readonly commands?: 'shown' | 'redacted';
}

/**
 * The settings with secrets taken out: those of the config, those of plugins, and what stands before the host in URLs. Where a plugin cannot be asked, none of
 * its options is shown.
 */
export async function configDocument(
  loaded: LoadedConfig,
  registry: Registry,
  { commands = 'shown' }: ConfigDocumentOptions = {},
): Promise<readonly ShownSetting[]> {
  const rows = await shownSettings(loaded, { secretsOf: secretsBy(registry) });
  return rows.map((row) => {
    const value = withoutSecrets(row.value, commands);
    const isCommand = commands === 'redacted' && row.key.endsWith('.command') && Array.isArray(value);
    return { ...row, value: isCommand ? withoutArguments(value) : value };
  });
}

function withoutSecrets(value: unknown, commands: 'shown' | 'redacted'): unknown {
  if (typeof value === 'string') return hideUserInfo(value);
  if (Array.isArray(value)) return value.map((item: unknown) => withoutSecrets(item, commands));
  if (typeof value !== 'object' || value === null || value instanceof Secret) return value;
  if (commands === 'redacted' && isSecretReference(value) && 'command' in value)
    return { command: withoutArguments(value.command) };
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, withoutSecrets(item, commands)]));
}

function withoutArguments([program, ...rest]: readonly unknown[]): readonly unknown[] {
  return [program, ...rest.map(() => '[redacted]')];
}
