/** A small chart of one value over time. What was not known is a gap in the line, never a zero. */
import { markup, type Markup } from './markup.ts';

export interface Point {
  /** Epoch milliseconds. */
  readonly time: number;
  /** Undefined: not known. */
  readonly value: number | undefined;
}

export interface ChartOptions {
  readonly name: string;
  readonly format: (value: number) => string;
}

/** Points of the line; more are put together, the largest of them counts. */
const PLACES = 240;
const HEIGHT = 96;

export function chart(points: readonly Point[], { name, format }: ChartOptions): Markup {
  const [first] = points;
  const last = points.at(-1);
  const known = points.filter(({ value }) => value !== undefined);
  if (first === undefined || last === undefined || known.length === 0 || first.time === last.time)
    return markup`<p class="empty">${name}: not known yet.</p>`;
  const most = known.reduce((largest, { value = 0 }) => Math.max(largest, value), 0);
  const x = (time: number): number => ((time - first.time) / (last.time - first.time)) * 1000;
  const y = (value: number): number => 100 - (most === 0 ? 0 : (value / most) * 100);
  const pieces = piecesOf(thinned(points));
  const line = (piece: readonly Known[]): string =>
    piece.map(({ time, value }) => `${x(time).toFixed(1)},${y(value).toFixed(1)}`).join(' ');
  const latest = last.value === undefined ? 'unknown now' : `${format(last.value)} now`;
  return markup`<svg class="picture chart" width="100%" height="${HEIGHT + 40}" role="img" aria-label="${name}: ${latest}, at most ${format(most)}">
<line class="grid" x1="0" x2="100%" y1="18" y2="18"/><text x="0" y="12">${format(most)}</text>
<svg x="0" y="18" width="100%" height="${HEIGHT}" viewBox="0 0 1000 100" preserveAspectRatio="none">${pieces.map(
    (piece) =>
      markup`<polygon class="chart-fill" points="${x(piece[0]?.time ?? 0).toFixed(1)},100 ${line(piece)} ${x(piece.at(-1)?.time ?? 0).toFixed(1)},100"/><polyline class="chart-line" points="${line(piece)}"/>`,
  )}</svg>
<line class="axis" x1="0" x2="100%" y1="${18 + HEIGHT}" y2="${18 + HEIGHT}"/>
<text x="0" y="${HEIGHT + 34}">${clock(first.time)}</text><text x="100%" y="${HEIGHT + 34}" text-anchor="end">${clock(last.time)}</text></svg>`;
}

function clock(time: number): string {
  return `${new Date(time).toISOString().slice(11, 16)}Z`;
}

interface Known {
  readonly time: number;
  readonly value: number;
}

/** Stretches in which the value is known. One point alone is drawn as a short line. */
function piecesOf(points: readonly Point[]): readonly (readonly Known[])[] {
  const pieces: Known[][] = [];
  let piece: Known[] | undefined;
  for (const { time, value } of points) {
    if (value === undefined) {
      piece = undefined;
      continue;
    }
    if (piece === undefined) pieces.push((piece = []));
    piece.push({ time, value });
  }
  return pieces;
}

function thinned(points: readonly Point[]): readonly Point[] {
  const size = Math.ceil(points.length / PLACES);
  if (size <= 1) return points;
  const thin: Point[] = [];
  for (let at = 0; at < points.length; at += size) {
    const group = points.slice(at, at + size);
    const largest = group.reduce<Point | undefined>(
      (best, one) => (one.value !== undefined && (best?.value === undefined || one.value > best.value) ? one : best),
      undefined,
    );
    // A group in which something was not known is a gap, unless nothing else would be seen.
    thin.push(
      group.some(({ value }) => value === undefined)
        ? { time: group[0]?.time ?? 0, value: undefined }
        : (largest ?? { time: 0, value: undefined }),
    );
  }
  return thin;
}
