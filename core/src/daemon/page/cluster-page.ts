/** The first view of a cluster: what it can be restored to, the picture of it, and what is known of every part. */
import { statusLines } from '../../documents/status-text.ts';
import { eventsTable } from './events-page.ts';
import { LEGEND, timelinePicture } from './timeline-picture.ts';
import { markup, type Child, type Markup } from './markup.ts';
import { notices } from './notices.ts';
import { partsTable } from './parts-table.ts';
import { momentForm } from './restore-page.ts';
import { clusterPath, live, shell } from './shell.ts';
import { facts } from './table.ts';
import { drawTimeline, ZOOMS, type Zoom } from './timeline.ts';
import { judged, truth } from './truth.ts';
import type { ClusterViewing } from './viewing.ts';
import { momentAgo, prose } from './words.ts';

export function clusterPage(viewing: ClusterViewing, zoom: Zoom): string {
  const { cluster, now } = viewing;
  const { name } = cluster;
  const look = cluster.latest();
  const done = look?.status;
  const body = markup`${live('truth', markup`${notices(viewing)}<div><div class="head"><h1>${name}</h1>${judged(cluster, viewing)}</div>${truth(cluster)}</div>`)}
<section class="sheet" aria-labelledby="recoverability"><div class="bar"><h2 id="recoverability">What can be restored</h2>${zoomLinks(name, zoom)}</div>
${recoverability(viewing, zoom)}
${momentForm(viewing)}</section>
<div class="columns"><section class="sheet" aria-labelledby="evidence"><h2 id="evidence">What is known</h2>
${live('evidence', look === undefined || done === undefined ? markup`<p class="empty">Unknown.</p>` : markup`${facts(joined(statusLines(done.status, cluster.archive.config)))}<p class="quiet small">As of the look that ended on ${momentAgo(look.ended, now)}.</p>`)}</section>
<div class="stack"><section class="sheet" aria-labelledby="parts"><h2 id="parts">What runs for it</h2>${live('parts', partsTable(viewing))}</section>
<section class="sheet" aria-labelledby="lately"><div class="bar"><h2 id="lately">Lately</h2><a class="small" href="${clusterPath(name, 'events')}">all events</a></div>${live('lately', eventsTable(cluster.events().slice(-6), now))}</section></div></div>`;
  return shell(viewing, { title: name, cluster: name, tab: '', body });
}

function recoverability({ cluster, now }: ClusterViewing, zoom: Zoom): Markup {
  const system = cluster.latest()?.status?.status.system;
  const picture = system && drawTimeline(system, zoom, now);
  if (picture === undefined)
    return live(
      'timeline',
      markup`<p class="empty">There is nothing to draw: what can be restored is unknown, or nothing is archived yet.</p>`,
    );
  const { more } = picture;
  return markup`<div class="stage">${live('timeline', timelinePicture(picture))}<div class="cursor-pad" role="slider" tabindex="0" aria-label="Moment to restore to" aria-valuemin="${picture.from}" aria-valuemax="${picture.to}" aria-valuenow="${now}" aria-valuetext="now" data-moment="${clusterPath(cluster.name, 'moment')}" hidden></div></div>
${LEGEND}${more > 0 && markup`<p class="quiet small">${more} more timelines are not drawn.</p>`}
<div id="moment" class="moment" aria-live="polite"><p class="quiet">Point at a moment, or move along with the arrow keys, to see what a restore there takes.</p></div>`;
}

function zoomLinks(name: string, zoom: Zoom): Markup {
  return markup`<nav aria-label="Time shown"><ul class="zoom">${(Object.keys(ZOOMS) as readonly Zoom[]).map(
    (one) => markup`<li><a href="${clusterPath(name)}?zoom=${one}"${one === zoom && CURRENT}>${NAMES[one]}</a></li>`,
  )}</ul></nav>`;
}

const CURRENT = markup` aria-current="true"`;

const NAMES: Readonly<Record<Zoom, string>> = { all: 'All', '30d': '30 days', '7d': '7 days', '24h': '24 hours' };

/** Lines of one name that are shown, the last of them. */
const SHOWN = 8;

/** Lines with an empty name go on with the one before. */
function joined(lines: readonly (readonly [string, string])[]): readonly (readonly [string, Child])[] {
  const all: { readonly name: string; readonly values: string[] }[] = [];
  for (const [name, value] of lines) {
    const last = all.at(-1);
    if (last !== undefined && (name === '' || name === last.name)) last.values.push(value);
    else all.push({ name, values: [value] });
  }
  return all.map(({ name, values }) => {
    const left = values.length - SHOWN;
    const shown = left > 0 ? [`${left} more before: “pgark status” says them all`, ...values.slice(-SHOWN)] : values;
    return [name, shown.map((value) => markup`<p>${prose(value)}</p>`)] as const;
  });
}
