/** What is around every view: head, navigation, banners for what the script finds out, foot. */
import { momentAgo } from './words.ts';
import { ASSET_PATHS } from './assets.ts';
import { markup, type Child, type Markup } from './markup.ts';
import type { Viewing } from './viewing.ts';

/** The views of a cluster: what is behind its address, and its name. */
export const TABS = [
  ['', 'Overview'],
  ['stream', 'Stream'],
  ['backups', 'Backups'],
  ['wal', 'WAL'],
  ['runs', 'Runs'],
  ['repositories', 'Repositories'],
  ['events', 'Events'],
] as const;

export type Tab = (typeof TABS)[number][0];

export interface ShellOptions {
  readonly title: string;
  /** The name of the cluster that the view is about. */
  readonly cluster?: string;
  readonly tab?: Tab;
  /** Whether the browser leaves it as it is, though there are live parts. Default: it looks again and again. */
  readonly isStill?: boolean;
  readonly body: Child;
}

/** The document of a view. */
export function shell(viewing: Viewing, { title, cluster, tab, isStill = false, body }: ShellOptions): string {
  const { daemon, caller, hasCookie, now } = viewing;
  const name = cluster === undefined ? title : `${title} · ${cluster}`;
  return documentOf(
    `${name} · pgark`,
    markup`<body data-refresh="${isStill ? 0 : refreshOf(daemon.config.refresh)}">
<a class="skip" href="#main">Skip to content</a>
<header class="top"><div class="frame"><a class="brand" href="/"><img src="${ASSET_PATHS.icon}" alt="" width="24" height="24">pgark</a>
${cluster !== undefined && markup`<span class="crumb"><a href="${clusterPath(cluster)}">${cluster}</a></span>`}
<span class="who">${caller.name}, ${caller.role}</span>${hasCookie && markup`<form method="post" action="/logout"><button class="plain" type="submit">Sign out</button></form>`}</div></header>
${cluster !== undefined && tabsOf(cluster, tab)}
<main id="main" class="frame" tabindex="-1">
<div id="lost" class="banner bad" role="alert" hidden><p></p></div>
${daemon.state === 'draining' && markup`<div class="banner warn" role="status"><p>The daemon on ${daemon.host} is being stopped: it ships what it has received, and begins nothing more.</p></div>`}
${body}
</main>
<footer class="foot"><div class="frame"><span>pgark ${daemon.version} on ${daemon.host}</span><span>running since ${momentAgo(daemon.started, now)}</span><span>times are UTC</span><span id="told" class="unseen" aria-live="polite"></span></div></footer>
</body>`,
  );
}

/** A whole document around a body. */
export function documentOf(title: string, body: Markup): string {
  return markup`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<title>${title}</title><link rel="icon" href="${ASSET_PATHS.icon}" type="image/svg+xml"><link rel="stylesheet" href="${ASSET_PATHS.style}"><script type="module" src="${ASSET_PATHS.script}"></script></head>
${body}</html>
`.toString();
}

/** A part that the script fetches anew. */
export function live(id: string, content: Child): Markup {
  const inside = markup`${content}`;
  // One that is empty takes no room.
  return markup`<div id="live-${id}" class="stack" data-live>${inside.toString().trim() !== '' && inside}</div>`;
}

export function clusterPath(cluster: string, ...more: readonly string[]): string {
  return `/${['clusters', cluster, ...more].map(encodeURIComponent).join('/')}`;
}

function tabsOf(cluster: string, tab: Tab | undefined): Markup {
  return markup`<nav class="tabs" aria-label="Cluster ${cluster}"><div class="frame">${TABS.map(
    ([path, name]) =>
      markup`<a href="${path === '' ? clusterPath(cluster) : clusterPath(cluster, path)}"${path === tab && CURRENT}>${name}</a>`,
  )}</div></nav>`;
}

const CURRENT = markup` aria-current="page"`;

/** Milliseconds between two looks of the browser: more often than the daemon looks, so that it is soon seen. */
function refreshOf(refresh: number): number {
  return Math.min(10_000, Math.max(2000, Math.round(refresh / 3)));
}
