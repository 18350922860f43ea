import { expect, test } from 'vitest';
import { METRIC_LABELS, METRICS, type MetricLabel } from '../../../src/daemon/metrics/table.ts';

const rows = Object.entries(METRICS);

test.each(rows)('%s is named after its type and unit', (name, { type, unit, labels, help, absent }) => {
  expect(name).toMatch(/^(?:pgark|process|nodejs)_[a-z0-9]+(?:_[a-z0-9]+)*$/);
  expect(name.endsWith('_total')).toBe(type === 'counter');
  const base = name.replace(/_total$/, '');
  if (unit === 'timestamp') expect(base).toMatch(/_timestamp_seconds$/);
  if (unit === 'seconds') expect(base).toMatch(/(?<!_timestamp)_seconds$/);
  if (unit === 'bytes') expect(base).toMatch(/_bytes$/);
  if (unit === '') expect(base).not.toMatch(/_(?:seconds|bytes|ratio)$/);
  expect(base).not.toMatch(/_(?:count|sum|bucket|percent|milliseconds|kilobytes|gauge|counter)(?:_|$)/);
  expect(new Set(labels).size).toBe(labels.length);
  expect(help).toMatch(/^[A-Z0-9].*[.:)]$/);
  expect(absent).toMatch(/^[^A-Z].*[^.]$/);
});

test('H-81 no label can have many values, and each is explained', () => {
  const used = new Set(rows.flatMap(([, { labels }]) => labels));
  expect([...used].sort()).toEqual(Object.keys(METRIC_LABELS).sort());
  const unbounded: readonly string[] = ['file', 'lsn', 'id', 'key', 'segment', 'backup', 'error', 'message'];
  expect([...used].filter((label: MetricLabel) => unbounded.includes(label))).toEqual([]);
});
