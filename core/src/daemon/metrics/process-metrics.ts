import { collectDefaultMetrics, type Registry } from 'prom-client';
import { METRICS, type MetricName } from './table.ts';

/** Registers the metrics of the process that the table names, as every exporter has them, and gives their names. */
export function processMetrics(registry: Registry): ReadonlySet<MetricName> {
  collectDefaultMetrics({ register: registry });
  const names = registry.getMetricsAsArray().map(({ name }) => name);
  for (const name of names) if (!(name in METRICS)) registry.removeSingleMetric(name);
  // Some systems do not have all of them: they stay without a value.
  return new Set(names.filter((name) => name in METRICS) as MetricName[]);
}
