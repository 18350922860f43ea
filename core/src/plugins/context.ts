/** Makes what a plugin is given beside its options: parts that lead nowhere else into pgark. */
import type {
  Clock,
  Logger,
  MetricLabels,
  Metrics,
  MetricSample,
  PluginContext,
  PluginKind,
} from '../contracts/plugin.ts';
import type { Secret } from '../contracts/secret.ts';

export interface ContextOptions {
  readonly directory: string;
  readonly logger: Logger;
  readonly signal?: AbortSignal;
  /** Default: that of the machine. */
  readonly clock?: Clock;
  /** Told of what plugins count and measure. Default: nobody is. */
  readonly onMetric?: (sample: MetricSample) => void;
  /** Gives the keys that open encrypted objects, `restore.identities`. */
  readonly identities?: () => Promise<readonly Secret[]>;
}

const SYSTEM_CLOCK: Clock = Object.freeze({ now: () => Date.now() });
const NO_METRICS: Metrics = Object.freeze({ add: () => {}, set: () => {}, observe: () => {} });
const NAME = /^[a-z][a-z0-9_]*$/;

/** The context of one plugin. It is frozen, and so are its parts: plugins of one run cannot change each other's. */
export function pluginContext(kind: PluginKind, name: string, options: ContextOptions): PluginContext {
  const { directory, logger, signal, clock = SYSTEM_CLOCK, onMetric, identities } = options;
  return Object.freeze({
    directory,
    logger: markedLogger(logger, `${kind} ${name}`),
    signal: signal ?? new AbortController().signal,
    clock: clock === SYSTEM_CLOCK ? clock : Object.freeze({ now: () => clock.now() }),
    metrics: onMetric === undefined ? NO_METRICS : metricsOf({ kind, name }, onMetric, logger),
    ...(identities === undefined ? {} : { identities }),
  });
}

function markedLogger(logger: Logger, plugin: string): Logger {
  return Object.freeze<Logger>({
    debug: (fields, message) => logger.debug({ plugin, ...fields }, message),
    info: (fields, message) => logger.info({ plugin, ...fields }, message),
    warn: (fields, message) => logger.warn({ plugin, ...fields }, message),
    error: (fields, message) => logger.error({ plugin, ...fields }, message),
  });
}

function metricsOf(plugin: MetricSample['plugin'], onMetric: (sample: MetricSample) => void, logger: Logger): Metrics {
  const types = new Map<string, MetricSample['type']>();
  const refused = new Set<string>();
  const refuse = (name: string, reason: string): void => {
    // Once: what is measured often would fill the log.
    if (refused.size < 100 && !refused.has(name)) logger.warn({ plugin: `${plugin.kind} ${plugin.name}` }, reason);
    refused.add(name);
  };
  const tell = (type: MetricSample['type'], name: string, value: number, labels: MetricLabels = {}): void => {
    if (!NAME.test(name)) return refuse(name, `the metric ${JSON.stringify(name)} has no valid name: it is left out`);
    const before = types.get(name) ?? type;
    types.set(name, before);
    if (before !== type)
      return refuse(name, `the metric ${name} is a ${before} and was used as a ${type}: that is left out`);
    if (!Number.isFinite(value) || (type === 'counter' && value < 0)) {
      return refuse(name, `the metric ${name} was given ${value}: that is left out`);
    }
    try {
      onMetric({ plugin, type, name, value, labels });
    } catch (error) {
      // The listener is not the plugin's: its fault must not fail an upload.
      refuse(
        name,
        `the listener of metrics failed at ${name}: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
  };
  return Object.freeze<Metrics>({
    add: (name, amount = 1, labels) => tell('counter', name, amount, labels),
    set: (name, value, labels) => tell('gauge', name, value, labels),
    observe: (name, value, labels) => tell('histogram', name, value, labels),
  });
}
