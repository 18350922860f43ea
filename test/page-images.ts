/**
 * Makes the pictures of the page for the docs, from a real server: `npm run page-images`. They are written to `docs/images`.
 */
import { mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { credentials } from './support/page-server.ts';
import { openPageScene } from './support/page-scene.ts';
import { until } from './support/until.ts';

const IMAGES = fileURLToPath(new URL('../docs/images', import.meta.url));

const IMAGE_LIST = [
  { name: 'page-cluster', path: '/clusters/main', width: 1120, height: 860, scheme: 'light', points: true },
  { name: 'page-overview', path: '/', width: 1120, height: 460, scheme: 'light' },
  { name: 'page-backups', path: '/clusters/main/backups', width: 1120, height: 520, scheme: 'light' },
  { name: 'page-stream', path: '/clusters/main/stream', width: 1120, height: 860, scheme: 'dark' },
  { name: 'page-runs', path: '/clusters/main/runs', width: 1120, height: 860, scheme: 'light' },
  { name: 'page-phone', path: '/clusters/main', width: 390, height: 844, scheme: 'dark' },
] as const;

const SCHEDULE = [
  { do: 'backup', at: '0 2 * * *', timeZone: 'Europe/Berlin' },
  { do: 'verify', at: '0 4 * * *', level: 'sample' },
  { do: 'drill', at: '0 5 * * 0' },
  { do: 'check', at: '*/30 * * * *' },
];

mkdirSync(IMAGES, { recursive: true });
const scene = await openPageScene({
  cluster: { schedule: SCHEDULE },
});
try {
  const { cluster, server, browser, page } = scene;
  const run = async (kind: 'backup' | 'verify', more: object = {}): Promise<void> => {
    await until('the scheduler runs', () => cluster.scheduler.state.state === 'running');
    const { id } = await cluster.scheduler.start({ kind, by: 'ada', ...more });
    while (cluster.scheduler.running().some((one) => one.id === id)) await sleep(100);
    const done = (await cluster.archive.runs()).runs.find((one) => one.id === id);
    console.log(`${id}: ${done?.state}, ${done?.summary}`);
  };
  const load = async (rows: number): Promise<void> => {
    await server.query(`INSERT INTO orders SELECT number, repeat('x', 90) FROM generate_series(1, ${rows}) number`);
    await sleep(400);
  };
  await server.query('CREATE TABLE orders (number int, note text)');
  await run('backup', { label: 'nightly' });
  for (let step = 0; step < 12; step++) await load(1000 + 800 * (step % 5));
  await run('verify', { level: 'sample' });
  await run('backup', { label: 'before the upgrade' });
  for (let step = 0; step < 16; step++) await load(500 + 1500 * (step % 3));
  for (let step = 0; step < 10; step++) await load(2000);
  await until('all of it is archived', async () => (await cluster.look()).status?.status.lag.bytes === 0);
  for (const image of IMAGE_LIST) {
    const { name, path, width, height, scheme } = image;
    const shown = await browser.newPage({
      viewport: { width, height },
      colorScheme: scheme,
      extraHTTPHeaders: credentials('operator'),
    });
    await shown.goto(page.url + path);
    if ('points' in image) {
      const box = await shown.locator('.cursor-pad').boundingBox();
      if (box !== null) await shown.mouse.click(box.x + box.width * 0.6, box.y + 40);
      await shown.locator('#moment .badge').waitFor();
    }
    const file = join(IMAGES, `${name}.png`);
    await shown.screenshot({ path: file });
    console.log(`${file}: ${Math.ceil(statSync(file).size / 1024)} KiB`);
    await shown.close();
  }
} finally {
  await scene.close();
}
