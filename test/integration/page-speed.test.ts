/**
 * How fast the page of a large archive is there: with `PGARK_TEST_FULL=1` figures of 100,000 segments and 500 backups are printed. Of a small one
 * only how long its views are is looked at, which no machine is too slow for.
 */
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { describe, expect, test } from 'vitest';
import { loadSections } from '../../core/src/config/load.ts';
import { openDaemon } from '../../core/src/daemon/open.ts';
import { launchChromium, noChromium } from '../support/chromium.ts';
import { freePort } from '../support/free-port.ts';
import { makeLargeArchive } from '../support/large-archive.ts';
import { later } from '../support/later.ts';
import { credentials, PageServer, TOKENS } from '../support/page-server.ts';
import { removeFolder, temporaryFolder } from '../support/postgres.ts';
import { SCALE } from '../support/scale.ts';
import { until } from '../support/until.ts';

const SIZE = SCALE === 'full' ? { segments: 100_000, backups: 500 } : { segments: 2000, backups: 120 };
const VIEWS = [
  '/',
  '/clusters/main',
  '/clusters/main/backups',
  '/clusters/main/backups?page=2',
  '/clusters/main/wal',
  '/clusters/main/runs',
  '/clusters/main/repositories',
];
const VISITS = 5;
/** Bytes of a view, however much is archived. */
const LONGEST = 200_000;

describe.skipIf(noChromium !== undefined)(
  `a large archive${noChromium === undefined ? '' : ` (${noChromium})`}`,
  () => {
    test('no view is longer for more segments and backups; how soon each is painted is printed', async () => {
      const folder = later(temporaryFolder('page-speed'), removeFolder);
      const repository = join(folder, 'repository');
      // A hole now and then: each is a row.
      const missing = new Set(Array.from({ length: 100 }, (_, hole) => 7 + Math.floor((hole * SIZE.segments) / 100)));
      makeLargeArchive(repository, { ...SIZE, missing });
      const value = {
        clusters: {
          main: {
            // Nobody listens there.
            postgres: { url: `postgres://127.0.0.1:${await freePort()}/` },
            repositories: [{ name: 'primary', storage: { use: 'fs', path: repository } }],
            receive: { spool: join(folder, 'spool') },
            status: { cache: join(folder, 'cache') },
          },
        },
        daemon: { listen: `127.0.0.1:${await freePort()}`, tokens: TOKENS, refresh: '1h' },
      };
      const daemon = later(
        await openDaemon({ load: () => loadSections({ value, env: {}, directory: folder }), command: ['pgark'] }),
        (opened) => opened.close(1000),
      );
      const cluster = daemon.clusters.get('main');
      await until(
        'it was looked at',
        () => cluster?.latest()?.status !== undefined,
        () => JSON.stringify(cluster?.latest()?.failures),
      );
      expect(cluster?.latest()?.status?.status.system?.segments).toBe(SIZE.segments - missing.size);
      const server = later(await PageServer.open(daemon), (opened) => opened.close());
      const browser = later(await launchChromium(), (opened) => opened.close());
      for (const view of VIEWS) {
        const answer = await fetch(server.url + view, { headers: credentials('viewer') });
        expect(answer.status).toBe(200);
        const bytes = (await answer.arrayBuffer()).byteLength;
        expect(bytes, view).toBeLessThan(LONGEST);
        const before = process.cpuUsage();
        for (let visit = 0; visit < VISITS; visit++)
          await (await fetch(server.url + view, { headers: credentials('viewer') })).arrayBuffer();
        const { user, system } = process.cpuUsage(before);
        const work = (user + system) / 1000 / VISITS;
        const paints: number[] = [];
        for (let visit = 0; visit < VISITS; visit++) paints.push(await firstPaint(browser, server.url + view));
        const [best, median, worst] = [0, Math.floor(VISITS / 2), VISITS - 1].map((at) =>
          Math.round(paints.toSorted((one, other) => one - other)[at] ?? Number.NaN),
        );
        console.log(
          `${view}: first paint ${best} / ${median} / ${worst} ms (best, median, worst of ${VISITS}); ${(bytes / 1024).toFixed(0)} KiB, made and read in ${work.toFixed(1)} ms of CPU`,
        );
      }
    });
  },
);

/** Milliseconds from the request to the first paint, in a browser that has nothing of it. */
async function firstPaint(browser: Browser, url: string): Promise<number> {
  const page = await browser.newPage({
    extraHTTPHeaders: credentials('viewer'),
    viewport: { width: 1280, height: 900 },
  });
  try {
    await page.goto(url);
    const paint = `new Promise((resolve) => new PerformanceObserver((list) => resolve(list.getEntries()[0].startTime)).observe({ type: 'paint', buffered: true }))`;
    return (await page.evaluate(paint)) as number;
  } finally {
    await page.close();
  }
}
