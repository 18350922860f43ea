/** The stream: who writes, who receives, who has it, and how that went over the last hours. */
import { formatBytes, formatDuration } from '../../documents/format.ts';
import { formatLsn } from '../../postgres/lsn.ts';
import type { ServerState } from '../../status/server-state.ts';
import type { StreamSample } from '../daemon.ts';
import { chart, type Point } from './chart.ts';
import { markup, type Child, type Markup } from './markup.ts';
import { notices } from './notices.ts';
import { live, shell } from './shell.ts';
import { facts, table } from './table.ts';
import type { ClusterViewing } from './viewing.ts';
import { ago, lsnText, moment, momentAgo } from './words.ts';

export function streamPage(viewing: ClusterViewing): string {
  const { cluster, now } = viewing;
  const samples = cluster.samples();
  const body = markup`${live('notices', notices(viewing))}<h1>Stream</h1>
<div class="columns"><section class="sheet" aria-labelledby="positions"><h2 id="positions">Positions</h2>${live('positions', positions(samples, now))}</section>
<section class="sheet" aria-labelledby="receiver"><h2 id="receiver">Receiver and server</h2>${live('receiver', statesOf(viewing))}</section></div>
<div class="columns">${CHARTS.map(
    ({ id, name, about, points, format }) =>
      markup`<section class="sheet" aria-labelledby="${id}"><h2 id="${id}">${name}</h2><p class="quiet small">${about}</p>${live(id, chart(points(samples), { name, format }))}</section>`,
  )}</div>
<details id="numbers"><summary>The last samples as numbers</summary>${live('samples', samplesTable(samples))}</details>`;
  return shell(viewing, { title: 'Stream', cluster: cluster.name, tab: 'stream', body });
}

const perSecond = (value: number): string => `${formatBytes(Math.round(value))}/s`;

const CHARTS = [
  {
    id: 'written',
    name: 'Written by the server',
    about: 'WAL, in bytes per second.',
    points: (samples: readonly StreamSample[]) => rates(samples, ({ server }) => server),
    format: perSecond,
  },
  {
    id: 'received',
    name: 'Received and durable',
    about: 'What the receiver has flushed, in bytes per second.',
    points: (samples: readonly StreamSample[]) => rates(samples, ({ flushed }) => flushed),
    format: perSecond,
  },
  {
    id: 'behind',
    name: 'Receiver behind the server',
    about: 'WAL that the server has written, and this host has not flushed.',
    points: (samples: readonly StreamSample[]) => distances(samples, ({ server, flushed }) => [server, flushed]),
    format: formatBytes,
  },
  {
    id: 'unshipped',
    name: 'Not in every repository',
    about: 'WAL that this host has flushed, and not every repository has.',
    points: (samples: readonly StreamSample[]) => distances(samples, ({ flushed, shipped }) => [flushed, shipped]),
    format: formatBytes,
  },
] as const;

/** How fast a position went on between two samples; unknown where one of them is. */
function rates(samples: readonly StreamSample[], of: (sample: StreamSample) => bigint | undefined): readonly Point[] {
  return samples.slice(1).map((sample, at) => {
    const before = samples[at];
    const [now, then] = [of(sample), before && of(before)];
    const seconds = before === undefined ? 0 : (sample.time - before.time) / 1000;
    // A position that went back belongs to another server.
    const value =
      now === undefined || then === undefined || now < then || seconds <= 0 ? undefined : Number(now - then) / seconds;
    return { time: sample.time, value };
  });
}

function distances(
  samples: readonly StreamSample[],
  of: (sample: StreamSample) => readonly [bigint | undefined, bigint | undefined],
): readonly Point[] {
  return samples.map((sample) => {
    const [ahead, behind] = of(sample);
    const value = ahead === undefined || behind === undefined ? undefined : ahead > behind ? Number(ahead - behind) : 0;
    return { time: sample.time, value };
  });
}

function positions(samples: readonly StreamSample[], now: number): Markup {
  const last = samples.at(-1);
  if (last === undefined) return markup`<p class="empty">No position is known yet.</p>`;
  const behind = (of: bigint | undefined, than: bigint | undefined): Child =>
    of === undefined || than === undefined
      ? undefined
      : markup` <span class="quiet">${of >= than ? 'all of it' : `${formatBytes(Number(than - of))} behind`}</span>`;
  return facts([
    ['server has written', lsnText(last.server)],
    ['received', markup`${lsnText(last.received)}${behind(last.received, last.server)}`],
    ['flushed here', markup`${lsnText(last.flushed)}${behind(last.flushed, last.server)}`],
    ['in every repository', markup`${lsnText(last.shipped)}${behind(last.shipped, last.server)}`],
    ['as of', markup`${momentAgo(last.time, now)}`],
  ]);
}

function statesOf({ cluster, now }: ClusterViewing): Markup {
  const status = cluster.latest()?.status?.status;
  if (status === undefined) return markup`<p class="empty">Unknown.</p>`;
  const { server, archived } = status;
  // The daemon hears the receiver more often than it looks at everything.
  const receiver = cluster.receiver() ?? status.receiver;
  const own = 'status' in receiver ? receiver.status : undefined;
  return facts([
    [
      'receiver',
      receiver.state === 'unreadable'
        ? `unknown: ${receiver.problem}`
        : own === undefined
          ? 'none has run on this host with this spool'
          : `${receiver.state === 'running' ? own.state : receiver.state.toUpperCase()}: ${own.message}`,
    ],
    own === undefined ? undefined : ['said', markup`${momentAgo(own.time, now)} by process ${own.pid} on ${own.host}`],
    own?.connected === undefined
      ? undefined
      : ['connected to', markup`${own.connected.host} since ${momentAgo(own.connected.since, now)}`],
    ...(own?.repositories ?? []).map(
      ({ name, waiting, shipped }) =>
        [
          `into ${name}`,
          waiting > 0
            ? `${waiting} files wait`
            : shipped === undefined
              ? 'nothing yet'
              : markup`all before ${lsnText(shipped)}`,
        ] as const,
    ),
    [
      'server',
      server.state === 'unknown'
        ? `unknown: ${server.problem}`
        : markup`${server.host}, ${server.inRecovery ? 'a standby' : 'primary'} on timeline ${server.timeline}, WAL up to ${lsnText(server.walEnd)}`,
    ],
    server.state === 'unknown' ? undefined : ['slot', slotText(server.slot)],
    [
      'last segment',
      archived === undefined
        ? 'none is archived'
        : markup`<span class="mono">${archived.segment}</span>, taken ${ago(archived.time, now)}`,
    ],
  ]);
}

type Slot = Extract<ServerState, { readonly state: 'answered' }>['slot'];

function slotText(slot: Slot): Child {
  if (slot === undefined) return 'there is none of this name';
  const { active, restartLsn, keptBytes, safeBytes, invalidation } = slot;
  return markup`${active ? 'active' : 'NOT active'}${restartLsn !== undefined && markup` at ${lsnText(restartLsn)}`}${keptBytes !== undefined && `, keeps ${formatBytes(keptBytes)} of WAL`}${safeBytes !== undefined && `, ${formatBytes(safeBytes)} until it may be lost`}${invalidation !== undefined && `, INVALID: ${invalidation}`}`;
}

/** Samples that are shown as numbers. */
const SHOWN = 30;

function samplesTable(samples: readonly StreamSample[]): Markup {
  const text = (lsn: bigint | undefined): string => (lsn === undefined ? 'unknown' : formatLsn(lsn));
  const span = samples.length < 2 ? 0 : (samples.at(-1)?.time ?? 0) - (samples[0]?.time ?? 0);
  return markup`<p class="quiet small">${samples.length} samples of the last ${formatDuration(span)} are kept.</p>${table(
    samples.slice(-SHOWN).toReversed(),
    {
      name: 'Samples',
      empty: 'There are none yet.',
      columns: [
        { title: 'When', value: ({ time }) => moment(time) },
        { title: 'Server', value: ({ server }) => text(server) },
        { title: 'Received', value: ({ received }) => text(received) },
        { title: 'Flushed', value: ({ flushed }) => text(flushed) },
        { title: 'Shipped', value: ({ shipped }) => text(shipped) },
      ],
    },
  )}`;
}
