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

/** The time, where a plugin asks for it: tests set their own. */
export interface Clock {
  /** Epoch milliseconds. */
  now(): number;
}

export type MetricLabels = Readonly<Record<string, string>>;

/**
 * Where a plugin counts and measures. Whoever runs pgark may listen; if nobody does, a call does nothing at all.
 *
 * A name is `[a-z][a-z0-9_]*` with its unit at the end (`upload_seconds`, `sent_bytes`), and is the plugin's own: a listener gets it together with
 * kind and name of the plugin. A name is used in one way only. A label has few values: no LSN, no file name, no id. No call throws.
 */
export interface Metrics {
  /** Adds to a counter, which never falls; default 1. */
  add(name: string, amount?: number, labels?: MetricLabels): void;
  /** Sets a gauge. */
  set(name: string, value: number, labels?: MetricLabels): void;
  /** Puts a value into a histogram. */
  observe(name: string, value: number, labels?: MetricLabels): void;
}

/** What a plugin said to its {@link Metrics}. */
export interface MetricSample {
  readonly plugin: { readonly kind: PluginKind; readonly name: string };
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly name: string;
  readonly value: number;
  readonly labels: MetricLabels;
}

/** What a plugin is given beside its options: this and nothing else of pgark. */
export interface PluginContext {
  /** Its lines carry kind and name of the plugin. */
  readonly logger: Logger;
  /** The folder against which relative paths in options are resolved: that of the config file. */
  readonly directory: string;
  /**
   * Fires when all that the plugin was loaded for is cancelled. Each call has a signal of its own, which fires then too; but that of a hook does
   * not, as it is still to be told of the end: a hook looks at the signal of its call alone.
   */
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly metrics: Metrics;
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
