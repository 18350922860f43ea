/**
 * The contract of a plugin: an npm package (or a file) whose default export is a {@link Plugin}.
 */
import type { Codec } from './codec.ts';
import type { Hook } from './hook.ts';
import type { Secret } from './secret.ts';
import type { Storage } from './storage.ts';

/** The version of these contracts. A plugin of another one is refused with `PLUGIN_INCOMPATIBLE`. */
export const API_VERSION = 1;

/** The kinds of plugin and what `create` gives. */
export interface PluginKinds {
  readonly storage: Storage;
  readonly codec: Codec;
  readonly hook: Hook;
}

export type PluginKind = keyof PluginKinds;

/** Standard Schema v1 (https://standardschema.dev), the part that pgark uses: any validator that has it will do. */
export interface OptionsSchema<Options> {
  readonly '~standard': {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => ValidationResult<Options> | Promise<ValidationResult<Options>>;
    readonly types?: { readonly input: unknown; readonly output: Options } | undefined;
  };
}

export type ValidationResult<Options> =
  { readonly value: Options; readonly issues?: undefined } | { readonly issues: ReadonlyArray<ValidationIssue> };

export interface ValidationIssue {
  readonly message: string;
  readonly path?: ReadonlyArray<PropertyKey | { readonly key: PropertyKey }> | undefined;
}

/** Where a plugin writes what it wants to say. */
export interface Logger {
  debug(fields: Readonly<Record<string, unknown>>, message: string): void;
  info(fields: Readonly<Record<string, unknown>>, message: string): void;
  warn(fields: Readonly<Record<string, unknown>>, message: string): void;
  error(fields: Readonly<Record<string, unknown>>, message: string): void;
}

/** What a plugin is given beside its options. */
export interface PluginContext {
  readonly logger: Logger;
  /** The folder against which relative paths in options are resolved: that of the config file. */
  readonly directory: string;
  /** The keys that open encrypted objects (`restore.identities`): for codecs, when they decode. */
  readonly identities?: () => Promise<readonly Secret[]>;
}

/**
 * A plugin's manifest. The same `kind`, `name`, `apiVersion` (and `suffix` of a codec) stand in the package's
 * `package.json` under `"pgark"`, so that plugins can be listed without loading them.
 *
 * - PLUGIN-01 Importing the module does nothing but define the manifest.
 * - PLUGIN-02 `create` opens nothing: the first call of the object does.
 */
export interface Plugin<Kind extends PluginKind = PluginKind, Options = unknown> {
  readonly name: string;
  readonly kind: Kind;
  readonly apiVersion: number;
  /** For codecs: the suffix of object names, as in {@link Codec}. */
  readonly suffix?: string;
  /**
   * Names of options that are secrets: they are wrapped before the plugin gets them and never printed. `keys[].key` is the `key` of every
   * item of the list `keys`.
   */
  readonly secrets?: readonly string[];
  readonly options: OptionsSchema<Options>;
  create(options: Options, context: PluginContext): PluginKinds[Kind] | Promise<PluginKinds[Kind]>;
}
