/** Moments, ages and positions as the page writes them. */
import { formatLsn } from '../../postgres/lsn.ts';
import { formatDuration, formatTime } from '../../documents/format.ts';
import { markup, type Child, type Markup } from './markup.ts';

/** A moment in UTC; the script lays the reader's own time over it. Epoch milliseconds or ISO text. */
export function moment(time: number | string): Markup {
  return markup`<time datetime="${new Date(time).toISOString()}">${formatTime(time)}</time>`;
}

/** `3m 05s ago`; a moment that lies ahead is not made into one that has passed. */
export function ago(time: number | string, now: number): string {
  const passed = now - new Date(time).getTime();
  return passed < -1000 ? `${formatDuration(-passed)} AHEAD of this host: clocks differ` : `${whole(passed)} ago`;
}

/** Ages below a minute in whole seconds: tenths of them are not read. */
function whole(milliseconds: number): string {
  return milliseconds < 59_500 ? `${Math.max(0, Math.round(milliseconds / 1000))} s` : formatDuration(milliseconds);
}

/** A moment, and below it how long ago it was. */
export function momentOver(time: number | string, now: number): Markup {
  return markup`${moment(time)}<span class="under">${ago(time, now)}</span>`;
}

/** A moment and how long ago it was. */
export function momentAgo(time: number | string, now: number): Markup {
  return markup`${moment(time)}<span class="quiet">, ${ago(time, now)}</span>`;
}

export function lsnText(lsn: bigint | string | undefined): Markup {
  if (lsn === undefined) return markup`<span class="quiet">unknown</span>`;
  return markup`<span class="mono">${typeof lsn === 'bigint' ? formatLsn(lsn) : lsn}</span>`;
}

const MOMENT = /(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d{1,6})?)(Z|\+00)(?![:\d])/g;

/** A sentence of the commands, with its moments made such that the script can lay the reader's own time over them. */
export function prose(text: string): Markup {
  const parts: Child[] = [];
  let end = 0;
  for (const found of text.matchAll(MOMENT)) {
    const [whole, day = '', time = ''] = found;
    parts.push(text.slice(end, found.index), markup`<time datetime="${day}T${time}Z">${whole}</time>`);
    end = found.index + whole.length;
  }
  return markup`${parts}${text.slice(end)}`;
}
