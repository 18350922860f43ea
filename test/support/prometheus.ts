/** Debian's Prometheus and its promtool, with which metrics and rules are checked. */
import { execFile, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

export const PROMETHEUS = '/usr/bin/prometheus';
const PROMTOOL = '/usr/bin/promtool';

export const hasPromtool: boolean = existsSync(PROMTOOL);
export const hasPrometheus: boolean = existsSync(PROMETHEUS);

/** Why a test that needs one of them does not run. */
export const NO_PROMETHEUS = 'needs prometheus and promtool (Debian: prometheus)';

/** Runs promtool, and gives its exit code and all that it says. */
export function promtool(args: readonly string[], input = ''): { readonly code: number | null; readonly said: string } {
  const { status, stdout, stderr } = spawnSync(PROMTOOL, args, { input, encoding: 'utf8' });
  return { code: status, said: `${stdout}${stderr}` };
}

/** The same for what takes long: the process goes on meanwhile. */
export async function promtoolBeside(
  args: readonly string[],
): Promise<{ readonly code: number; readonly said: string }> {
  return new Promise((resolve) => {
    const child = execFile(PROMTOOL, args, (_, stdout, stderr) =>
      resolve({ code: child.exitCode ?? -1, said: `${stdout}${stderr}` }),
    );
  });
}

/** One series of a scrape. */
export interface Series {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** What `/metrics` gives. */
export class Scrape {
  readonly series: readonly Series[];
  /** The names of the families, those without a series too. */
  readonly families: ReadonlyMap<string, { readonly type: string; readonly help: string }>;

  constructor(text: string) {
    const lines = text.split('\n').filter((line) => line !== '');
    const helps = new Map(lines.flatMap((line) => pair(/^# HELP (\S+) (.*)$/, line)));
    this.families = new Map(
      lines.flatMap((line) =>
        pair(/^# TYPE (\S+) (.*)$/, line).map(([name, type]) => [name, { type, help: helps.get(name) ?? '' }] as const),
      ),
    );
    this.series = lines.filter((line) => !line.startsWith('#')).map(seriesOf);
  }

  /** All series of this name whose labels are these, others left aside. */
  all(name: string, labels: Readonly<Record<string, string>> = {}): readonly Series[] {
    return this.series.filter(
      (one) => one.name === name && Object.entries(labels).every(([label, value]) => one.labels[label] === value),
    );
  }

  /** The value of the only such series; undefined when there is none. */
  value(name: string, labels: Readonly<Record<string, string>> = {}): number | undefined {
    const [one, ...others] = this.all(name, labels);
    if (others.length > 0) throw new Error(`several series ${name} ${JSON.stringify(labels)}`);
    return one?.value;
  }
}

function pair(pattern: RegExp, line: string): readonly (readonly [string, string])[] {
  const found = pattern.exec(line);
  return found === null ? [] : [[found[1] ?? '', found[2] ?? '']];
}

function seriesOf(line: string): Series {
  const found = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
  if (found === null) throw new Error(`not a series: ${line}`);
  const [, name = '', labels = '', value] = found;
  const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)];
  return { name, labels: Object.fromEntries(pairs.map(([, label, text]) => [label, text])), value: Number(value) };
}
