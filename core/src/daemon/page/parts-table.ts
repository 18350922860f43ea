import { formatDuration } from '../../documents/format.ts';
import type { PartReport } from '../daemon.ts';
import { badge, type Tone } from './badge.ts';
import { markup, type Child, type Markup } from './markup.ts';
import { errorText } from './notices.ts';
import { table } from './table.ts';
import type { ClusterViewing } from './viewing.ts';
import { ago } from './words.ts';

const TONES: Readonly<Record<PartReport['state'], Tone>> = {
  starting: 'dim',
  running: 'good',
  failed: 'bad',
  stopped: 'dim',
};

/** What the supervisor keeps running for a cluster. */
export function partsTable({ cluster, now }: ClusterViewing): Markup {
  return table(cluster.parts(), {
    name: 'Parts of the daemon',
    empty: 'Nothing runs for this cluster.',
    columns: [
      { title: 'Part', value: ({ name }) => name },
      { title: 'State', value: ({ state }) => badge(TONES[state], state) },
      { title: 'Since', value: ({ since }) => ago(since, now) },
      { title: 'Restarts', value: ({ restarts }) => restarts, isNumber: true },
      { title: 'Ended last', value: (part) => endText(part, now) },
    ],
  });
}

function endText({ error, nextTry }: PartReport, now: number): Child {
  if (error === undefined) return 'never';
  const next = nextTry === undefined ? '' : ` Next try in ${formatDuration(Math.max(0, nextTry - now))}.`;
  return markup`${errorText(error)}${next}`;
}
