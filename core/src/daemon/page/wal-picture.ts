/** Which positions of each timeline are archived, as a drawing. */
import type { SystemMap } from '../../map/recovery-map.ts';
import { formatLsn } from '../../postgres/lsn.ts';
import { holesIn } from './wal-holes.ts';
import { markup, type Markup } from './markup.ts';

const LANE = 44;
/** Timelines that are drawn, the newest of them. */
const LANES = 8;

export function walPicture({ wal, segmentSize, latest }: SystemMap): Markup | undefined {
  const timelines = wal.timelines.filter(({ runs }) => runs.length > 0);
  const shown = timelines.slice(-LANES).toReversed();
  const firsts = shown.flatMap(({ runs }) => runs[0]?.first ?? []);
  const lasts = shown.flatMap(({ runs }) => runs.at(-1)?.last ?? []);
  const [some] = firsts;
  if (some === undefined) return undefined;
  const from = firsts.reduce((least, one) => (one < least ? one : least), some);
  const to = lasts.reduce((most, one) => (one > most ? one : most), some) + 1n;
  const part = (number: bigint): number => Number(number - from) / Number(to - from);
  const percent = (value: number): string => `${(value * 100).toFixed(3)}%`;
  const lsn = (number: bigint): string => formatLsn(number * BigInt(segmentSize));
  const height = shown.length * LANE + 24;
  const holes = shown.reduce((sum, { runs }) => sum + runs.length - 1, 0);
  return markup`<svg class="picture" width="100%" height="${height}" role="img" aria-label="WAL of ${shown.length} timelines from ${lsn(from)} to ${lsn(to)}, with ${holes} holes">
<defs><pattern id="hatch" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect class="hatch-bed" width="7" height="7"/><line class="hatch-line" x1="0" x2="0" y1="0" y2="7"/></pattern></defs>
${shown.map(({ timeline, runs }, at) => {
  const y = at * LANE;
  const [first, last] = [runs[0], runs.at(-1)];
  if (first === undefined || last === undefined) return undefined;
  const width = part(last.last + 1n) - part(first.first);
  return markup`<text class="name" x="0" y="${y + 14}">timeline ${timeline}${timeline === latest && ' (latest)'}</text><rect class="bed" x="0" width="100%" y="${y + 20}" height="14" rx="3"/>
<rect class="${timeline === latest ? 'window' : 'other'}" x="${percent(part(first.first))}" width="${percent(Math.max(width, 0.004))}" y="${y + 20}" height="14" rx="2"/>
${holesIn(runs, part).map(
  (hole) =>
    markup`<rect class="hole" fill="url(#hatch)" x="${percent(hole.from)}" width="${percent(hole.to - hole.from)}" y="${y + 20}" height="14"/>`,
)}`;
})}
<text x="0" y="${height - 6}">${lsn(from)}</text><text x="100%" y="${height - 6}" text-anchor="end">${lsn(to)}</text></svg>
${timelines.length > shown.length && markup`<p class="quiet small">${timelines.length - shown.length} older timelines are not drawn.</p>`}`;
}
