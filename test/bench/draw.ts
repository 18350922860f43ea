/** The scoreboard as pictures: SVG of bars, readable on a light and on a dark page. Pure functions. */
import { median, type Figure } from './measure.ts';
import { memoryRows, number, targetText, TITLES } from './table.ts';
import type { Group, Result } from './result.ts';
import { judge } from './verdict.ts';

const WIDTH = 860;
const LEFT = 16;
/** Where bars begin and where the longest ends. */
const BARS = 330;
const BARS_END = 640;
const OUTCOME = 750;
const BAR = 14;
const GAP = 4;
const HEAD = 62;

/**
 * Colours by class: a browser takes the dark ones where the reader's pages are dark. Where nobody asks for that, the picture brings its light
 * page along.
 */
const STYLE = `
  .page { fill: #ffffff }
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .title { font-size: 16px; font-weight: 600 }
  .small, .axis { font-size: 11px; fill: #59636e }
  .name { font-weight: 600 }
  .ours { fill: #0969da } .peer { fill: #9aa4af }
  .range { stroke: #1f2328; stroke-width: 1.2 }
  .mark { stroke: #bc4c00; stroke-width: 1.5; stroke-dasharray: 3 2 }
  .met { fill: #1a7f37 } .missed { fill: #cf222e } .undecided { fill: #9a6700 }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 } text { fill: #e6edf3 } .small, .axis { fill: #9198a1 }
    .ours { fill: #4493f8 } .peer { fill: #656c76 }
    .range { stroke: #e6edf3 } .mark { stroke: #f0883e }
    .met { fill: #3fb950 } .missed { fill: #f85149 } .undecided { fill: #d29922 }
  }`;

/** All pictures: one for each group, and one for the memory. Names without the folder. */
export function drawAll(result: Result): Readonly<Record<string, string>> {
  const pictures: Record<string, string> = {};
  for (const group of result.groups) pictures[group.name] = drawGroup(group);
  if (memoryRows(result).length > 0) pictures['memory'] = drawMemory(result);
  return pictures;
}

interface Bar {
  readonly label: string;
  readonly kind: 'ours' | 'peer';
  readonly value: number;
  readonly low: number;
  readonly high: number;
  readonly text: string;
}

interface Block {
  readonly name: string;
  readonly bars: readonly Bar[];
  /** A value that was wanted, on the same scale. */
  readonly mark?: number;
  /** Beside the name. */
  readonly remark: string;
  readonly outcome: string;
  readonly outcomeKind: string;
}

/** Each figure has a scale of its own, from zero: their units and sizes differ. */
function drawGroup(group: Group): string {
  const blocks = group.figures.map((figure) => blockOf(figure, group.busy));
  const subtitle = `medians of ${group.rounds} interleaved rounds, lines from the least to the largest; ${group.time.slice(0, 10)}`;
  return picture(TITLES[group.name] ?? group.name, subtitle, blocks);
}

function blockOf(figure: Figure, busy: number): Block {
  const verdict = judge(figure, busy);
  const side = (values: readonly number[], kind: Bar['kind'], label: string): Bar => ({
    label,
    kind,
    value: median(values),
    low: Math.min(...values),
    high: Math.max(...values),
    text: `${number(median(values))} ${figure.unit}`,
  });
  const bars = [side(figure.ours, 'ours', 'pgark')];
  if (figure.peer !== undefined) bars.push(side(figure.peer, 'peer', figure.peerName ?? 'peer'));
  const kind = { met: 'met', missed: 'missed', 'not decided': 'undecided', 'no target': 'small' }[verdict.outcome];
  const ratio = verdict.ratio === undefined ? [] : [`ratio ${verdict.ratio.median.toFixed(2)}`];
  const wanted = targetText(figure);
  return {
    name: figure.name,
    bars,
    ...(figure.target?.value === undefined ? {} : { mark: figure.target.value }),
    remark: [...ratio, `${figure.better} is better`, ...(wanted === '' ? [] : [`wanted: ${wanted}`])].join('; '),
    // The reason is in the table.
    outcome: verdict.outcome === 'no target' ? '' : verdict.outcome,
    outcomeKind: kind,
  };
}

function drawMemory(result: Result): string {
  const blocks = memoryRows(result).map(({ command, bytes, limit, over }): Block => {
    const value = bytes / 1e6;
    const text = `${value.toFixed(0)} MB`;
    return {
      name: command,
      bars: [{ label: 'pgark', kind: 'ours', value, low: value, high: value, text }],
      mark: limit / 1e6,
      remark: '',
      outcome: over ? 'missed' : 'met',
      outcomeKind: over ? 'missed' : 'met',
    };
  });
  return picture('Peak memory of pgark', 'the highest of all runs; the dashed line is the limit', blocks);
}

function picture(title: string, subtitle: string, blocks: readonly Block[]): string {
  const parts: string[] = [];
  let top = HEAD;
  for (const block of blocks) {
    parts.push(...drawBlock(block, top));
    top += heightOf(block);
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${top}" width="${WIDTH}" height="${top}" role="img" aria-label="${escape(title)}">
<style>${STYLE}
</style>
<rect class="page" width="${WIDTH}" height="${top}"/>
${text(LEFT, 24, title, 'title')}
${text(LEFT, 42, subtitle, 'small')}
${parts.join('\n')}
</svg>
`;
}

function heightOf({ bars }: Block): number {
  return 20 + bars.length * (BAR + GAP) + 14;
}

function drawBlock({ name, bars, mark, remark, outcome, outcomeKind }: Block, top: number): readonly string[] {
  const largest = Math.max(...bars.map(({ high }) => high), mark ?? 0);
  const at = (value: number): number => BARS + (largest > 0 ? value / largest : 0) * (BARS_END - BARS);
  const parts = [text(LEFT, top + 12, shorten(name, 44), 'name')];
  if (remark !== '') parts.push(text(BARS, top + 12, remark, 'small'));
  if (outcome !== '') parts.push(text(OUTCOME, top + 31, outcome, outcomeKind));
  for (const [index, bar] of bars.entries()) {
    const y = top + 20 + index * (BAR + GAP);
    const middle = y + BAR / 2;
    parts.push(
      text(LEFT, y + 11, shorten(bar.label, 52), 'small'),
      `<rect class="${bar.kind}" x="${BARS}" y="${y}" width="${coordinate(at(bar.value) - BARS)}" height="${BAR}"/>`,
    );
    if (bar.high > bar.low)
      parts.push(
        `<line class="range" x1="${coordinate(at(bar.low))}" x2="${coordinate(at(bar.high))}" y1="${middle}" y2="${middle}"/>`,
      );
    parts.push(text(BARS_END + 8, y + 11, bar.text, ''));
  }
  if (mark !== undefined) {
    const x = coordinate(at(mark));
    const bottom = top + 20 + bars.length * (BAR + GAP);
    parts.push(`<line class="mark" x1="${x}" x2="${x}" y1="${top + 16}" y2="${bottom}"/>`);
  }
  return parts;
}

function text(x: number, y: number, content: string, kind: string): string {
  return `<text x="${x}" y="${y}"${kind === '' ? '' : ` class="${kind}"`}>${escape(content)}</text>`;
}

function shorten(content: string, most: number): string {
  return content.length <= most ? content : `${content.slice(0, most - 1)}…`;
}

function coordinate(value: number): string {
  return value.toFixed(1);
}

function escape(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
