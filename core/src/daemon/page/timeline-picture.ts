/** The timeline as a drawing. Places along the time are percentages, so that it is as wide as the page and its text as large as all text. */
import { count, formatTime } from '../../documents/format.ts';
import { markup, type Markup } from './markup.ts';
import type { Stretch, TimelineDrawing, TimelineLane, TimelineMark, TimeRange } from './timeline.ts';

/** Pixels. */
const TOP = 24;
const LANE = 46;
const MARKS = 44;
const AXIS = 26;

export function timelinePicture(drawing: TimelineDrawing): Markup {
  const { from, to, now, lanes, backups, proofs } = drawing;
  const backupsAt = TOP + lanes.length * LANE;
  const proofsAt = backupsAt + MARKS;
  const bottom = proofsAt + MARKS;
  const height = bottom + AXIS;
  const nowX = place(now, drawing);
  return markup`<svg class="picture timeline" width="100%" height="${height}" role="img" aria-label="${describe(drawing)}" data-from="${from}" data-to="${to}" data-now="${now}">
${DEFINITIONS}
${ticksOf(drawing).map(
  ({ time, label, isMinor }) =>
    markup`<g class="${isMinor ? 'tick-more' : 'tick'}"><line class="grid" x1="${place(time, drawing)}" x2="${place(time, drawing)}" y1="${TOP}" y2="${bottom}"/><text x="${place(time, drawing)}" y="${bottom + 18}" text-anchor="middle">${label}</text></g>`,
)}
<line class="axis" x1="0" x2="100%" y1="${bottom}" y2="${bottom}"/>
${lanes.map((lane, at) => laneOf(lane, TOP + at * LANE, drawing))}
<text class="name" x="0" y="${backupsAt + 14}">backups</text>
${backups.map((mark) => markOf(mark, backupsAt + 28, drawing))}
<text class="name" x="0" y="${proofsAt + 14}">verified and proven</text>
${proofs.map((mark) => markOf(mark, proofsAt + 28, drawing))}
<line class="now" x1="${nowX}" x2="${nowX}" y1="${TOP - 4}" y2="${bottom}"/>
<text class="now-name" x="${nowX}" y="14" text-anchor="end">now</text>
<line class="cursor" x1="0" x2="0" y1="${TOP - 4}" y2="${bottom}" visibility="hidden"/>
</svg>`;
}

/** What each form and pattern means. */
export const LEGEND: Markup = markup`<ul class="legend">
<li><svg class="picture" aria-hidden="true"><rect class="window" x="0" y="3" width="20" height="9" rx="2"/></svg>can be restored</li>
<li><svg class="picture" aria-hidden="true"><rect class="hole" fill="url(#hatch)" x="1" y="3" width="18" height="9" rx="2"/></svg>hole: cannot</li>
<li><svg class="picture" aria-hidden="true"><rect class="doubt" fill="url(#doubt)" x="1" y="3" width="18" height="9" rx="2"/></svg>unknown</li>
<li><svg class="picture" aria-hidden="true"><use href="#mark-backup" x="10" y="8" class="mark good"/></svg>backup</li>
<li><svg class="picture" aria-hidden="true"><use href="#mark-verified" x="10" y="8" class="mark proof"/></svg>verified</li>
<li><svg class="picture" aria-hidden="true"><use href="#mark-drill" x="10" y="8" class="mark proof"/></svg>proven by a drill</li>
<li><svg class="picture" aria-hidden="true"><use href="#mark-bad" x="10" y="8" class="mark broken"/></svg>not good</li>
</ul>`;

const DEFINITIONS: Markup = markup`<defs>
<pattern id="hatch" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect class="hatch-bed" width="7" height="7"/><line class="hatch-line" x1="0" x2="0" y1="0" y2="7"/></pattern>
<pattern id="doubt" width="6" height="6" patternUnits="userSpaceOnUse"><rect class="doubt-bed" width="6" height="6"/><circle class="doubt-line" cx="3" cy="3" r=".6"/></pattern>
<circle id="mark-backup" r="5"/>
<rect id="mark-verified" x="-4.2" y="-4.2" width="8.4" height="8.4" rx="1"/>
<path id="mark-drill" d="M0-6.2L6.2 0 0 6.2-6.2 0Z"/>
<path id="mark-bad" d="M-4-4L4 4M4-4L-4 4"/>
</defs>`;

function laneOf({ timeline, isLatest, stretches }: TimelineLane, y: number, drawing: TimelineDrawing): Markup {
  return markup`<g><text class="name" x="0" y="${y + 14}">timeline ${timeline}${isLatest && ' (a restore follows it)'}</text>
<rect class="bed" x="0" width="${place(drawing.now, drawing)}" y="${y + 21}" height="14" rx="3"/>
${stretches.map((stretch) => stretchOf(stretch, y + 21, isLatest, drawing))}</g>`;
}

const FILLS: Readonly<Record<Stretch['kind'], string>> = {
  window: 'currentColor',
  hole: 'url(#hatch)',
  doubt: 'url(#doubt)',
};

function stretchOf(stretch: Stretch, y: number, isLatest: boolean, range: TimeRange): Markup | undefined {
  const from = Math.max(stretch.from, range.from);
  const to = Math.min(Math.max(stretch.to, from + (range.to - range.from) * 0.004), range.to);
  if (stretch.to < range.from || from > range.to) return undefined;
  const kind = stretch.kind === 'window' && !isLatest ? 'other' : stretch.kind;
  return markup`<rect class="${kind}" fill="${FILLS[stretch.kind]}" x="${place(from, range)}" width="${percent((to - from) / (range.to - range.from))}" y="${y}" height="14" rx="2"><title>${stretch.text}</title></rect>`;
}

function markOf({ kind, isBad, count: many, time }: TimelineMark, y: number, range: TimeRange): Markup {
  const x = place(time, range);
  const form = isBad ? 'bad' : kind;
  const look = isBad ? 'broken' : kind === 'backup' ? 'good' : 'proof';
  return markup`<use href="#mark-${form}" x="${x}" y="${y}" class="mark ${look}"><title>${many > 1 ? `${many} of them, the first: ` : ''}${kind}, ${formatTime(time)}${isBad && ', NOT GOOD'}</title></use>`;
}

function place(time: number, { from, to }: TimeRange): string {
  return percent((time - from) / (to - from));
}

function percent(part: number): string {
  return `${(part * 100).toFixed(3)}%`;
}

/** The same for those who do not see it. */
function describe({ from, to, lanes, backups, proofs }: TimelineDrawing): string {
  const [latest] = lanes;
  const windows = latest?.stretches.filter(({ kind }) => kind === 'window').length ?? 0;
  const holes = latest?.stretches.filter(({ kind }) => kind === 'hole').length ?? 0;
  const sum = (marks: readonly TimelineMark[]): number => marks.reduce((all, mark) => all + mark.count, 0);
  return `Recoverability from ${formatTime(from)} to ${formatTime(to)}: ${count(windows, 'restorable stretch').replace(/hs$/, 'hes')}, ${count(holes, 'hole')}, ${count(sum(backups), 'backup')}, ${sum(proofs)} verified or proven`;
}

interface Tick {
  readonly time: number;
  readonly label: string;
  /** One that a narrow page leaves out. */
  readonly isMinor: boolean;
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const STEPS = [
  ...[1, 2, 5, 10, 15, 30].map((minutes) => minutes * MINUTE),
  ...[1, 2, 3, 6, 12].map((hours) => hours * HOUR),
  ...[1, 2, 4, 7, 14, 28, 56, 112, 364].map((days) => days * DAY),
];
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** Round moments in UTC, at most eight. */
function ticksOf({ from, to, now }: TimelineDrawing): readonly Tick[] {
  const step = STEPS.find((one) => (to - from) / one <= 8) ?? Math.ceil((to - from) / 8 / DAY) * DAY;
  const room = (to - from) * 0.035;
  const ticks: Tick[] = [];
  for (let time = Math.ceil((from + room) / step) * step; time < Math.min(to, now) - room; time += step)
    ticks.push({ time, label: labelOf(time, step), isMinor: ticks.length % 2 === 1 });
  return ticks;
}

function labelOf(time: number, step: number): string {
  const date = new Date(time);
  const day = `${MONTHS[date.getUTCMonth()]} ${date.getUTCDate()}`;
  if (step >= 300 * DAY) return `${day} ${date.getUTCFullYear()}`;
  if (step >= DAY || time % DAY === 0) return day;
  return date.toISOString().slice(11, 16);
}
