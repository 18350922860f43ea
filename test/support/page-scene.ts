/** A server, a daemon that receives from it, its page, and a browser: for all tests of a file. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CLI } from './cli.ts';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Worker } from 'node:worker_threads';
import type { Browser } from 'playwright-core';
import { loadSections } from '../../core/src/config/load.ts';
import type { DaemonCluster } from '../../core/src/daemon/daemon.ts';
import { openDaemon, type RunningDaemon } from '../../core/src/daemon/open.ts';
import { freePort } from './free-port.ts';
import { launchChromium } from './chromium.ts';
import { sectionFor } from './daemon.ts';
import { PageServer, TOKENS } from './page-server.ts';
import { giveToServer, PostgresServer, removeFolder, temporaryFolder } from './postgres.ts';
import { until } from './until.ts';

export interface PageScene {
  readonly server: PostgresServer;
  readonly daemon: RunningDaemon;
  readonly cluster: DaemonCluster;
  readonly page: PageServer;
  readonly browser: Browser;
  /** The folder of its repository. */
  readonly repository: string;
  /** How far ahead of the host the clock of the page is, in milliseconds. */
  ahead: number;
  /** That of the receiver, as it was begun first. */
  readonly receivingThread: Worker;
  close(): Promise<void>;
}

export interface PageSceneOptions {
  /** More of the section of the cluster. */
  readonly cluster?: object;
  /** More of the section `daemon`. */
  readonly daemon?: object;
}

/** The cluster is `main`, and streams. */
export async function openPageScene({ cluster: more, daemon: section }: PageSceneOptions = {}): Promise<PageScene> {
  const undo: (() => unknown)[] = [];
  const close = async (): Promise<void> => {
    for (const step of undo.splice(0).toReversed()) await step();
  };
  try {
    const [browser, server] = await Promise.all([
      launchChromium(),
      PostgresServer.start({ major: 17, segmentMegabytes: 1 }),
    ]);
    undo.push(
      () => browser.close(),
      () => server.destroy(),
    );
    const threads: Worker[] = [];
    const seen = (message: unknown): void => void threads.push((message as { worker: Worker }).worker);
    subscribe('worker_threads', seen);
    undo.push(() => unsubscribe('worker_threads', seen));
    const folder = temporaryFolder('page');
    undo.push(() => removeFolder(folder));
    const value = {
      clusters: {
        main: {
          ...(sectionFor(folder, 'main', server.url()) as object),
          receive: { slot: 'pgark', spool: `${folder}/spool`, tail: '1s' },
          // Each look lists all anew: what a test takes away is seen.
          status: { cacheAge: 'off' },
          ...more,
        },
      },
      daemon: { listen: `127.0.0.1:${await freePort()}`, tokens: TOKENS, refresh: '1s', ...section },
    };
    // For servers of drills, which fetch their WAL by a command. Their user cannot read the spool.
    const file = join(folder, 'pgark.json');
    const { main } = value.clusters;
    const receive = { ...main.receive, spool: `${folder}/none` };
    writeFileSync(file, JSON.stringify({ ...value, clusters: { main: { ...main, receive } } }));
    giveToServer(file);
    const daemon = await openDaemon({
      load: () => loadSections({ value, env: {}, directory: folder }),
      command: [...CLI, '--config', file],
      pace: { restart: { first: 3000, most: 3000 }, slowRestart: { first: 200, most: 500 }, sample: 100, runs: 500 },
    });
    undo.push(() => daemon.close(5000));
    await daemon.ready;
    await until('the receiver streams', () => daemon.stream('main')?.state === 'streaming');
    const [receivingThread] = threads;
    const cluster = daemon.clusters.get('main');
    if (cluster === undefined || receivingThread === undefined) throw new Error('there is no cluster main');
    const scene = {
      server,
      daemon,
      cluster,
      browser,
      repository: `${folder}/main.repository`,
      ahead: 0,
      close,
      receivingThread,
    };
    const page = await PageServer.open(daemon, { now: () => Date.now() + scene.ahead });
    undo.push(() => page.close());
    return Object.assign(scene, { page });
  } catch (error) {
    await close();
    throw error;
  }
}
