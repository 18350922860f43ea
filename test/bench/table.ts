/** The scoreboard as a page of Markdown. */
import { median, type Cost, type Figure } from './measure.ts';
import { conditions, memoryLimit, type Group, type Result } from './result.ts';
import { judge, type Interval, type Verdict } from './verdict.ts';

/** Three digits that count; whole numbers from 100 on. */
export function number(value: number): string {
  if (!Number.isFinite(value)) return '?';
  const size = Math.abs(value);
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2);
}

export const TITLES: Readonly<Record<string, string>> = {
  codecs: 'Codecs through a pipe',
  backup: 'Backup and restore',
  latency: 'Latency of synchronous commits',
  commits: 'Rate of synchronous commits',
  'wal-command': 'Archive and restore commands',
  'wal-rates': 'Archiving of a backlog, and replay',
  storage: 'Object storage',
};

/** What was wanted of a figure. */
export function targetText({ target, better, unit }: Figure): string {
  if (target === undefined) return '';
  const sign = better === 'more' ? 'at least' : 'at most';
  return [
    ...(target.ratio === undefined ? [] : [`${sign} ${number(target.ratio)} of the peer`]),
    ...(target.value === undefined ? [] : [`${sign} ${number(target.value)} ${unit}`]),
  ].join(', ');
}

export function outcomeText({ outcome, reason }: Verdict): string {
  if (outcome === 'no target') return '';
  return reason === undefined ? outcome : `${outcome}: ${reason}`;
}

/** `pictures` are file names by group. */
export function scoreboard(result: Result, pictures: Readonly<Record<string, string>> = {}): string {
  const lines = [
    '# Scoreboard',
    '',
    'pgark beside the tools that Debian has for the same work. [How it is measured](../how-to/measure.md) says what is compared, what the',
    'numbers mean and when nothing is claimed. All of it is made from [result.json](result.json).',
  ];
  if (result.groups.length === 0) lines.push('', 'No run has been published yet.');
  for (const group of result.groups) lines.push('', ...section(group, pictures[group.name]));
  const peaks = memoryRows(result);
  if (peaks.length > 0) {
    const picture = pictures['memory'];
    lines.push('', '## Peak memory of pgark', '', ...(picture === undefined ? [] : [`![Peak memory](${picture})`, '']));
    lines.push('| command | MB | limit | |', '|---|---:|---:|---|');
    for (const { command, bytes, limit, over } of peaks)
      lines.push(row([command, (bytes / 1e6).toFixed(0), (limit / 1e6).toFixed(0), over ? 'missed' : 'met']));
  }
  return `${lines.join('\n')}\n`;
}

export interface MemoryRow {
  readonly command: string;
  readonly bytes: number;
  readonly limit: number;
  readonly over: boolean;
}

export function memoryRows(result: Result): readonly MemoryRow[] {
  return result.groups.flatMap(({ peaks }) =>
    Object.entries(peaks).map(([command, bytes]) => {
      const limit = memoryLimit(command);
      return { command, bytes, limit, over: bytes > limit };
    }),
  );
}

function section(group: Group, picture: string | undefined): readonly string[] {
  const title = TITLES[group.name] ?? group.name;
  const lines = [`## ${title}`, '', `${conditions(group)}.`, ''];
  if (picture !== undefined) lines.push(`![${title}](${picture})`, '');
  lines.push(
    '| figure | pgark | peer | | ratio (from to) | wanted | | CPU s | MB |',
    '|---|---:|---:|---|---|---|---|---|---|',
  );
  const notes: string[] = [];
  for (const figure of group.figures) {
    const verdict = judge(figure, group.busy);
    const { cost } = figure;
    const pair = (value: (cost: Cost) => string): string =>
      cost === undefined ? '' : [cost.ours, ...(cost.peer === undefined ? [] : [cost.peer])].map(value).join(' : ');
    lines.push(
      row([
        figure.name,
        `${number(verdict.value.median)} ${figure.unit}`,
        figure.peer === undefined ? '' : `${number(median(figure.peer))} ${figure.unit}`,
        figure.peerName === undefined ? '' : code(figure.peerName),
        verdict.ratio === undefined ? '' : spread(verdict.ratio),
        targetText(figure),
        outcomeText(verdict),
        pair(({ cpuSeconds }) => number(cpuSeconds)),
        pair(({ peakBytes }) => (peakBytes / 1e6).toFixed(0)),
      ]),
    );
    if (figure.note !== undefined) notes.push(`- ${figure.name}: ${figure.note}`);
  }
  for (const missing of group.leftOut) notes.push(`- not measured: ${missing}`);
  return notes.length === 0 ? lines : [...lines, '', ...notes];
}

function spread({ median: middle, low, high }: Interval): string {
  return `${middle.toFixed(2)} (${low.toFixed(2)} to ${high.toFixed(2)})`;
}

function row(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}

function code(text: string): string {
  return `\`${text}\``;
}
