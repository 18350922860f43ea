import { METRIC_LABELS, METRIC_SUBJECTS, type MetricRow } from '../../core/src/daemon/metrics/table.ts';
import { code, MADE, table } from './page.ts';

/** docs/reference/metrics.md */
export function metricsPage(): string {
  const sections = Object.entries(METRIC_SUBJECTS).map(
    ([subject, rows]) =>
      `## ${subject}\n\n${table(['Metric', 'Type', 'Labels', 'Meaning', 'Absent when'], rows.map(rowOf))}`,
  );
  const labels = Object.entries(METRIC_LABELS).map(([label, meaning]) => [code(label), meaning]);
  return `${MADE}

# Metrics

What \`pgark run\` gives at \`/metrics\`, in the text format of Prometheus. [Monitor pgark](../how-to/monitor.md) says how it is scraped and what to be told of.

- A series whose value is not known is absent: never 0, and never what it was before. What was seen at the last look at server and archive is no longer told
  after four times \`daemon.refresh\` and four times as long as the look took; \`pgark_look_timestamp_seconds\` stays, so that this can be seen.
- Seconds, bytes, and LSNs as bytes from \`0/0\`: one less another is a distance. A name that ends in \`_timestamp_seconds\` is a moment, as seconds since
  1970: subtract it from \`time()\`.
- What is true of the archive (backups, verifications, drills, runs) is read from the repositories, and a restart loses none of it. Counters begin at 0 with the
  process; those that may come are there from the start.
- Labels are names out of the config and words of closed lists. Names of files, LSNs and ids are never labels.

${sections.join('\n\n')}

## Labels

${table(['Label', 'Values'], labels)}
`;
}

function rowOf([name, { type, unit, labels, help, absent }]: readonly [string, MetricRow]): readonly string[] {
  const of = unit === '' ? type : `${type}, ${unit === 'timestamp' ? 'seconds since 1970' : unit}`;
  return [code(name), of, labels.map(code).join(', '), help, absent];
}
