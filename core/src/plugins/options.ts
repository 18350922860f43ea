/** Prepares and validates the options that a config section gives to a plugin. */
import { parse } from 'yaml';
import { ArchiveError } from '../contracts/errors.ts';
import type { Plugin, PluginKind, ValidationIssue } from '../contracts/plugin.ts';
import { Secret } from '../contracts/secret.ts';
import type { PluginSection } from '../config/config.ts';
import { isSecretReference, readSecret, type SecretOptions } from '../config/secrets.ts';
import { mapSecrets } from './secret-options.ts';

/**
 * The options of a section as the plugin takes them: secrets read and wrapped, the rest validated by its schema.
 *
 * A text that came from a variable and that the plugin refuses is given to it as the YAML it reads as, so that `3` can be a number.
 * Errors: `PLUGIN_OPTIONS` with every issue as a config path, `SECRET_UNAVAILABLE`.
 */
export async function prepareOptions<Kind extends PluginKind>(
  plugin: Plugin<Kind>,
  section: PluginSection,
  secrets: Omit<SecretOptions, 'what'>,
): Promise<unknown> {
  const { validate } = plugin.options['~standard'];
  const wrap = (options: Readonly<Record<string, unknown>>): Promise<Record<string, unknown>> =>
    withSecrets(plugin, options, { ...secrets, section: section.path });
  let options = await wrap(section.options);
  let result = await validate(options);
  if (result.issues !== undefined) {
    const refused = new Set(result.issues.map((issue) => optionPath(issue)));
    const texts = section.texts.filter((path) => refused.has(path));
    if (texts.length > 0) {
      // A text may hold a whole list with secrets in it.
      options = await wrap(readTexts(options, new Set(texts), '') as Record<string, unknown>);
      result = await validate(options);
    }
  }
  if (result.issues === undefined) return result.value;
  const lines = result.issues.map((issue) => `${join(section.path, optionPath(issue))}: ${lowerFirst(issue.message)}`);
  throw new ArchiveError(
    'PLUGIN_OPTIONS',
    lines.length === 1
      ? (lines[0] ?? '')
      : `${plugin.kind} ${plugin.name} refuses its options:\n  ${lines.join('\n  ')}`,
    {
      hint: `Correct the options of ${plugin.kind} ${plugin.name} in the config.`,
      details: { plugin: plugin.name, issues: lines },
    },
  );
}

async function withSecrets(
  plugin: Plugin,
  options: Readonly<Record<string, unknown>>,
  { section, ...secrets }: Omit<SecretOptions, 'what'> & { readonly section: string },
): Promise<Record<string, unknown>> {
  const read = async (value: unknown, what: string): Promise<unknown> => {
    if (Array.isArray(value)) return Promise.all(value.map((item, at) => read(item, `${what}[${at}]`)));
    if (typeof value === 'string') return new Secret(value);
    return isSecretReference(value) ? readSecret(value, { ...secrets, what }) : value;
  };
  return mapSecrets(options, plugin.secrets ?? [], { secret: (value, path) => read(value, join(section, path)) });
}

function optionPath(issue: ValidationIssue): string {
  const parts = (issue.path ?? []).map((part) => (typeof part === 'object' ? part.key : part));
  return parts
    .map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`))
    .join('')
    .replace(/^\./, '');
}

function join(section: string, path: string): string {
  if (section === '' || path === '') return section + path;
  return path.startsWith('[') ? `${section}${path}` : `${section}.${path}`;
}

function readTexts(value: unknown, paths: ReadonlySet<string>, at: string): unknown {
  if (typeof value === 'string' && paths.has(at)) return readText(value);
  if (Array.isArray(value)) return value.map((item, index) => readTexts(item, paths, `${at}[${index}]`));
  if (typeof value !== 'object' || value === null || value instanceof Secret) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, readTexts(item, paths, join(at, key))]));
}

function readText(text: string): unknown {
  try {
    return parse(text) as unknown;
  } catch {
    return text; // no YAML: the plugin's own complaint about the text stands
  }
}

function lowerFirst(message: string): string {
  return message.charAt(0).toLowerCase() + message.slice(1);
}
