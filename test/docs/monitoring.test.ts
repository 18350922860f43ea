/** Rules and dashboard of docs/monitoring speak of metrics that there are, in expressions that Prometheus takes. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { parse } from 'yaml';
import { METRICS, type MetricRow } from '../../core/src/daemon/metrics/table.ts';
import { hasPromtool, NO_PROMETHEUS, promtool, promtoolBeside } from '../support/prometheus.ts';
import { shortenedRules } from '../support/shortened-rules.ts';
import { PROJECT, readPage } from './pages.ts';

const FOLDER = join(PROJECT, 'docs/monitoring');
const read = (name: string): string => readFileSync(join(FOLDER, name), 'utf8');

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}
interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly datasource?: unknown;
  readonly gridPos: { readonly h: number; readonly w: number; readonly x: number; readonly y: number };
  readonly fieldConfig?: { readonly defaults: { readonly noValue?: string } };
  readonly targets?: readonly { readonly expr: string; readonly datasource: unknown; readonly refId: string }[];
}
interface Dashboard {
  readonly uid: string;
  readonly templating: {
    readonly list: readonly { readonly name: string; readonly type: string; readonly definition?: string }[];
  };
  readonly panels: readonly Panel[];
}

const rules = (parse(read('pgark.rules.yml')) as { groups: { rules: Rule[] }[] }).groups.flatMap(
  (group) => group.rules,
);
const RULE_TESTS = ['pgark.rules.test.yml', 'pgark.rules.days.test.yml'];
const tests = RULE_TESTS.flatMap((name) => (parse(read(name)) as { tests: readonly RuleTest[] }).tests);
const dashboard = JSON.parse(read('pgark-dashboard.json')) as Dashboard;
const panels = dashboard.panels.filter(({ type }) => type !== 'row');
const expressions = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));

interface RuleTest {
  readonly name: string;
  readonly input_series: readonly { readonly series: string }[];
  readonly promql_expr_test: readonly { readonly exp_samples: readonly { readonly labels: string }[] }[];
}

/** What an expression names that is not in the table, and labels that its metrics do not have. */
function unknownIn(expr: string): readonly string[] {
  const own = ['instance', 'job', 'alertname', 'alertstate', 'le'];
  const faults: string[] = [];
  for (const [, name = '', selector = ''] of expr.matchAll(/\b((?:pgark|process|nodejs)_\w+)(?:\{([^}]*)\})?/g)) {
    const row: MetricRow | undefined = (METRICS as Readonly<Record<string, MetricRow>>)[
      name.replace(/_(?:bucket|sum|count)$/, '')
    ];
    if (row === undefined) faults.push(name);
    for (const [, label = ''] of selector.matchAll(/(\w+) *(?:=~|!~|!=|=)/g))
      if (row !== undefined && ![...row.labels, ...own].some((known) => known === label))
        faults.push(`${name}{${label}}`);
  }
  return faults;
}

test('what is not in the table is found', () => {
  expect(unknownIn('rate(pgark_wal_lag_bytes{cluster="a", lsn=~"b"}[5m]) > pgark_wal_lag_seconds')).toEqual([
    'pgark_wal_lag_bytes{lsn}',
    'pgark_wal_lag_seconds',
  ]);
});

describe('rules', () => {
  test.each(rules)('$alert names metrics of the table, and a section that says what to do', (rule) => {
    const { alert, expr, labels, annotations } = rule;
    expect(alert).toMatch(/^Pgark[A-Z]\w+$/);
    expect(unknownIn(expr)).toEqual([]);
    expect(['critical', 'warning']).toContain(labels['severity']);
    expect(Object.keys(annotations).sort()).toEqual(['description', 'runbook_url', 'summary']);
    for (const text of Object.values(annotations)) expect(text).toMatch(/^\S.*\S$/);
    expect(annotations['runbook_url']).toBe(`docs/how-to/alerts.md#${alert.toLowerCase()}`);
    // A label that the expression takes away would be empty in the text.
    const kept = /^(?:max|min|sum) by \(([^)]*)\)/.exec(expr.replace(/^time\(\) - /, ''))?.[1]?.split(', ');
    for (const [, label = ''] of JSON.stringify(annotations).matchAll(/\$labels\.(\w+)/g))
      if (kept !== undefined && !expr.includes('group_right')) expect(kept, `${alert}: ${label}`).toContain(label);
  });

  test('each has a name of its own, a section, and each section is of one', () => {
    const names = rules.map(({ alert }) => alert);
    expect(new Set(names).size).toBe(names.length);
    const sections = readFileSync(join(PROJECT, 'docs/how-to/alerts.md'), 'utf8').matchAll(/^## (\w+)$/gm);
    expect([...sections].map(([, name]) => name)).toEqual(names);
    const page = readPage('docs/how-to/monitor.md');
    expect(page.spans.filter(({ text }) => /^Pgark\w+$/.test(text) && !names.includes(text))).toEqual([]);
  });

  test('each group is driven in a real Prometheus by a file of tests, with times that fit the rules', () => {
    for (const { name } of (parse(read('pgark.rules.yml')) as { groups: { name: string }[] }).groups) {
      const file = join(PROJECT, 'test/integration/alerts', `${name.replace(/^pgark-/, '')}.test.ts`);
      expect(readFileSync(file, 'utf8')).toContain(`expectWholeGroup('${name}'`);
    }
    expect(shortenedRules()).not.toMatch(/for: \d+[mhd]/);
  });

  test('each is seen firing and not firing, by series of the table', () => {
    const seen = (fires: boolean): readonly string[] =>
      [
        ...new Set(
          tests.flatMap(({ name, promql_expr_test: asked }) =>
            asked.some(({ exp_samples: samples }) => samples.length > 0 === fires) ? [name.replace(/:.*/, '')] : [],
          ),
        ),
      ].sort();
    const names = rules.map(({ alert }) => alert).sort();
    expect(seen(true)).toEqual(names);
    expect(seen(false)).toEqual(names);
    expect(tests.flatMap((one) => one.input_series.flatMap(({ series }) => unknownIn(series)))).toEqual([]);
  });

  // It evaluates all rules for some fifty hours of a clock of its own.
  test.skipIf(!hasPromtool)(
    `promtool takes them, and their tests pass (${NO_PROMETHEUS})`,
    { timeout: 300_000 },
    async () => {
      expect(promtool(['check', 'rules', join(FOLDER, 'pgark.rules.yml')])).toMatchObject({ code: 0 });
      const result = await promtoolBeside(['test', 'rules', ...RULE_TESTS.map((name) => join(FOLDER, name))]);
      expect(result, result.said).toMatchObject({ code: 0 });
    },
  );
});

describe('the dashboard', () => {
  test('can be imported anywhere: its data source and its clusters are chosen', () => {
    expect(dashboard.templating.list.map(({ name, type }) => [name, type])).toEqual([
      ['datasource', 'datasource'],
      ['cluster', 'query'],
    ]);
    expect(unknownIn(dashboard.templating.list[1]?.definition ?? 'none')).toEqual([]);
    expect(read('pgark-dashboard.json').match(/"uid": "(?!\$\{datasource\}")[^"]*"/g)).toEqual(['"uid": "pgark"']);
  });

  test('has a row for each subject, and panels that do not lie over each other', () => {
    expect(dashboard.panels.filter(({ type }) => type === 'row').map(({ title }) => title)).toEqual([
      'Recoverability',
      'Stream',
      'Backups',
      'Repositories',
      'Jobs and hooks',
      'Process',
    ]);
    const ids = dashboard.panels.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    const cells = dashboard.panels.flatMap(({ gridPos: { h, w, x, y } }) =>
      Array.from({ length: h * w }, (_, at) => `${x + (at % w)} ${y + Math.floor(at / w)}`),
    );
    expect(new Set(cells).size).toBe(cells.length);
    for (const { gridPos } of dashboard.panels) expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24);
  });

  test.each(panels)('$title asks for metrics of the table, and shows unknown as unknown', (panel) => {
    expect(panel.targets?.length).toBeGreaterThan(0);
    expect(panel.fieldConfig?.defaults.noValue).toBe('unknown');
    for (const { expr, datasource } of panel.targets ?? []) {
      expect(unknownIn(expr)).toEqual([]);
      expect(datasource).toEqual({ type: 'prometheus', uid: '${datasource}' });
      if (/\bpgark_(?!build_info)/.test(expr)) expect(expr).toContain('cluster=~"$cluster"');
    }
  });

  test.skipIf(!hasPromtool)(`Prometheus takes its expressions (${NO_PROMETHEUS})`, () => {
    const folder = mkdtempSync(join(tmpdir(), 'pgark-dashboard-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const check = (all: readonly string[]): number | null => {
      const rulesOf = all.map((expr, at) => ({
        record: `asked:${at}`,
        expr: expr.replaceAll('$__rate_interval', '5m').replaceAll('$cluster', '.*'),
      }));
      writeFileSync(join(folder, 'rules.json'), JSON.stringify({ groups: [{ name: 'dashboard', rules: rulesOf }] }));
      return promtool(['check', 'rules', join(folder, 'rules.json')]).code;
    };
    expect(expressions.length).toBeGreaterThan(30);
    expect(check(expressions)).toBe(0);
    expect(check([...expressions, 'rate(pgark_wal_lag_bytes)'])).not.toBe(0);
  });
});
