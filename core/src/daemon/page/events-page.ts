/** What happened lately. */
import { EVENTS } from '../../contracts/event-table.ts';
import type { EventName, Severity } from '../../contracts/hook.ts';
import type { SeenEvent } from '../daemon.ts';
import { badge, type Tone } from './badge.ts';
import { markup, type Markup } from './markup.ts';
import { notices } from './notices.ts';
import { live, shell } from './shell.ts';
import { pageLinks, pageOf, table } from './table.ts';
import type { ClusterViewing } from './viewing.ts';
import { momentOver } from './words.ts';

export function eventsPage(viewing: ClusterViewing, wanted: string | undefined): string {
  const { cluster, now } = viewing;
  const page = pageOf(cluster.events().toReversed(), wanted);
  const body = markup`${live('notices', notices(viewing))}<h1>Events</h1>
<section class="sheet" aria-label="Events">${live('events', markup`${eventsTable(page.rows.toReversed(), now)}${pageLinks(page, '?page=', 'events')}`)}</section>
<p class="quiet small">Those since the daemon was started, as far as it keeps them in memory.</p>`;
  return shell(viewing, { title: 'Events', cluster: cluster.name, tab: 'events', body });
}

const TONES: Readonly<Record<Severity, Tone>> = { info: 'plain', warning: 'warn', critical: 'bad' };

/** The newest first, of those that are given oldest first. */
export function eventsTable(events: readonly SeenEvent[], now: number): Markup {
  return table(events.toReversed(), {
    name: 'Events',
    empty: 'Nothing has happened since the daemon was started.',
    columns: [
      { title: 'When', value: ({ time }) => momentOver(time, now) },
      { title: 'What', value: whatOf },
    ],
  });
}

function whatOf<Name extends EventName>({ name, data }: SeenEvent<Name>): Markup {
  const { severity, summary } = EVENTS[name];
  const level = severity(data);
  return markup`${level !== 'info' && markup`${badge(TONES[level], level)} `}${summary(data)} <span class="under mono">${name}</span>`;
}
