/** The page in a real browser, before a daemon with a real server: what it says is what the archive says. */
import { readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { BackupList } from '../../core/src/archive/list.ts';
import type { StatusDone } from '../../core/src/archive/status.ts';
import { momentOf } from '../../core/src/daemon/page/moment.ts';
import { storedSize } from '../../core/src/documents/backup-document.ts';
import { formatBytes } from '../../core/src/documents/format.ts';
import { canRestoreTo } from '../../core/src/documents/status-document.ts';
import { statusLines } from '../../core/src/documents/status-text.ts';
import { segmentName } from '../../core/src/postgres/wal-file.ts';
import { expectAccessible, noChromium, textOf } from '../support/chromium.ts';
import { openPageScene, type PageScene } from '../support/page-scene.ts';
import { credentials } from '../support/page-server.ts';
import { randomFrom } from '../support/random.ts';
import { SCALE } from '../support/scale.ts';
import { until } from '../support/until.ts';

const MARKUP = '<img src=x onerror="document.title=1"> & \'quoted\'';
const VIEWS = [
  '/',
  '/clusters/main',
  ...['stream', 'backups', 'wal', 'runs', 'repositories', 'events', 'restore'].map((view) => `/clusters/main/${view}`),
];

describe.skipIf(noChromium !== undefined)(`the page${noChromium === undefined ? '' : ` (${noChromium})`}`, () => {
  let scene: PageScene;
  let status: StatusDone;
  let backups: BackupList;
  let open: Page[] = [];

  beforeAll(async () => {
    scene = await openPageScene({
      cluster: { schedule: [{ do: 'backup', at: '30 2 * * *', timeZone: 'Europe/Berlin' }] },
    });
    const { server, cluster } = scene;
    const { archive } = cluster;
    await archive.backup({ label: MARKUP, create: true, checkpoint: 'fast' });
    await server.query('CREATE TABLE numbers (number int)');
    await commit();
    await archive.backup({ label: 'second', checkpoint: 'fast' });
    await archive.verify({ level: 'full' });
    for (let segment = 0; segment < 3; segment++) {
      await commit();
      await server.query('SELECT pg_switch_wal()');
    }
    await commit();
    // The last commit lies in a slice of the open segment.
    const end = await server.value('SELECT pg_current_wal_flush_lsn()');
    await until(
      'everything is shipped',
      async () => {
        status = await archive.status();
        return status.status.lag.bytes === 0;
      },
      () => `${end} ${JSON.stringify(status.status.lag)}`,
    );
    backups = await archive.backups();
    await cluster.look();
  });
  afterAll(() => scene?.close());

  const commit = (): Promise<unknown> => scene.server.query('INSERT INTO numbers VALUES (1)');

  async function visit(
    path: string,
    options: Parameters<Browser['newPage']>[0] & { readonly role?: 'viewer' | 'operator' } = {},
  ): Promise<Page> {
    const { role = 'viewer', ...more } = options;
    const page = await scene.browser.newPage({
      viewport: { width: 1280, height: 800 },
      extraHTTPHeaders: credentials(role),
      ...more,
    });
    open.push(page);
    page.on('dialog', (dialog) => void dialog.dismiss());
    await page.goto(scene.page.url + path);
    return page;
  }
  /** Waits until a view says what the archive says at this moment, and gives that: a server writes records by itself now and then. */
  async function tellsTheTruth(page: Page, path: string): Promise<StatusDone> {
    let [shown, truth] = ['', ''];
    await until(
      `${path} tells the truth`,
      async () => {
        await scene.cluster.look();
        status = await scene.cluster.archive.status();
        truth = canRestoreTo(status.status);
        await page.goto(scene.page.url + path);
        shown = await textOf(page, '.truth');
        return shown === truth;
      },
      () => `shown: ${shown}\ntruth: ${truth}`,
    );
    return status;
  }
  async function closePages(): Promise<void> {
    await Promise.all(open.map((page) => page.close()));
    open = [];
  }

  test('each view says what the archive says, also without script', async () => {
    for (const javaScriptEnabled of [true, false]) {
      const page = await visit('/', { javaScriptEnabled });
      const go = (path: string): Promise<unknown> => page.goto(scene.page.url + path);
      await tellsTheTruth(page, '/');
      expect(await textOf(page, '.card .badge')).toBe('ok');

      const seen = await tellsTheTruth(page, '/clusters/main');
      const { system, map } = seen.status;
      if (system === undefined) throw new Error('there is no system');
      const evidence = await textOf(page, '#live-evidence');
      const told = statusLines(seen.status, scene.cluster.archive.config);
      for (const [name, value] of told.filter(([name]) => name === 'window' || name === 'verified' || name === 'drill'))
        expect(evidence).toContain(`${name}${value}`);
      expect(await page.locator('.timeline rect.window').count()).toBe(1);
      expect(await page.locator('.timeline rect.hole').count()).toBe(0);
      expect(await page.locator('.timeline').getAttribute('aria-label')).toMatch(
        /1 restorable stretch, 0 holes, 2 backups, 3 verified or proven$/,
      );
      expect(await textOf(page, '#live-parts tbody tr:first-child')).toMatch(/^receiverrunning\d+ s ago0never$/);

      await go('/clusters/main/backups');
      const rows = await page.locator('tbody tr').allInnerTexts();
      const expected = backups.backups.toReversed();
      expect(rows).toHaveLength(2);
      for (const [at, backup] of expected.entries()) {
        if (backup.state !== 'complete') throw new Error('it is not complete');
        for (const text of [
          backup.id,
          backup.record.label,
          formatBytes(backup.record.dataSize),
          formatBytes(storedSize(backup.record)),
        ])
          expect(rows[at]).toContain(text);
        expect(rows[at]).toMatch(/full, [\d.]+ s ago/);
        expect(rows[at]).toMatch(/never/);
      }
      await go(`/clusters/main/backups/${expected[0]?.id}`);
      expect(await textOf(page, 'main')).toContain('never, see "pgark drill"');

      await go('/clusters/main/wal');
      expect(await textOf(page, '.facts')).toContain(`${system.segments} whole segments of 1.0 MiB`);
      const run = system.wal.timelines[0]?.runs[0];
      if (run === undefined) throw new Error('there is no WAL');
      expect(await textOf(page, '[aria-label="Runs of segments"] tbody')).toContain(
        `${segmentName(1, run.first, system.segmentSize)}${segmentName(1, run.last, system.segmentSize)}${run.last - run.first + 1n}`,
      );

      await go('/clusters/main/stream');
      const sample = scene.cluster.samples().at(-1);
      expect(sample?.server).toBeDefined();
      expect(await textOf(page, '#live-positions')).toMatch(/flushed here[0-9A-F]+\/[0-9A-F]+ all of it/);
      expect(await page.locator('.chart').count()).toBe(4);

      await go('/clusters/main/repositories');
      expect(await textOf(page, '#live-repositories')).toContain('holds2 backups, ');
      expect(await textOf(page, '#live-repositories')).toContain(
        `${map.repositories[0]?.state.systems[0]?.wal.segments} whole segments`,
      );

      await go('/clusters/main/events');
      expect(await textOf(page, 'tbody')).toContain('receive.connected');
    }
    await closePages();
  });

  test('a moment that is pointed at leads where the plan leads', async () => {
    const { archive } = scene.cluster;
    const { system } = status.status;
    const window = system?.lines[0]?.windows[0];
    if (system === undefined || window?.to.time === undefined) throw new Error('there is no window');
    const seed = Math.floor(Math.random() * 1e9);
    console.log(`seed ${seed}`);
    const random = randomFrom(seed);
    const [first, end] = [Date.parse(window.from.time), Number(window.to.time / 1000n)];
    const moments = [
      first - 5000,
      ...Array.from({ length: 5 }, () => Math.floor(first + random() * (end - first))),
      end - 1,
      end + 1,
      Date.now(),
    ];
    for (const time of moments) {
      const answer = momentOf(system, time);
      const target = { time: new Date(time).toISOString() };
      const planned = await archive
        .planRestore({ target })
        .catch((error: unknown) => ({ failure: error, plan: undefined }));
      const where = `${target.time}: ${JSON.stringify(answer, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value))}`;
      expect(answer.kind === 'restorable', where).toBe(planned.failure === undefined);
      if (answer.kind !== 'restorable' || planned.plan === undefined) continue;
      expect(answer.backup.backup.id, where).toBe(planned.plan.backup.id);
      expect(answer.timeline).toBe(planned.plan.timeline);
      expect(answer.wal.least).toBeLessThanOrEqual(answer.wal.most);
      expect(answer.wal.most).toBeLessThanOrEqual(BigInt(planned.plan.wal.pieces.length) * 1_048_576n);
    }
  });

  test('with a keyboard alone: skip link, tabs, a moment on the timeline, the command copied; a pointer does the same', async () => {
    const page = await visit('/clusters/main', { permissions: ['clipboard-read', 'clipboard-write'] });
    await page.keyboard.press('Tab');
    expect(await page.evaluate('document.activeElement.textContent')).toBe('Skip to content');
    expect(await page.evaluate('document.activeElement.getBoundingClientRect().left >= 0')).toBe(true);
    const seen: unknown[] = [];
    for (let step = 0; step < 40; step++) {
      await page.keyboard.press('Tab');
      seen.push(
        await page.evaluate('document.activeElement.getAttribute("role") ?? document.activeElement.textContent.trim()'),
      );
      expect(
        await page.evaluate('getComputedStyle(document.activeElement).outlineStyle'),
        String(seen.at(-1)),
      ).not.toBe('none');
      if (seen.at(-1) === 'slider') break;
    }
    expect(seen).toEqual([
      'pgark',
      'main',
      'Overview',
      'Stream',
      'Backups',
      'WAL',
      'Runs',
      'Repositories',
      'Events',
      'All',
      '30 days',
      '7 days',
      '24 hours',
      'slider',
    ]);
    const window = status.status.system?.lines[0]?.windows[0];
    const first = Date.parse(window?.from.time ?? '');
    // To the left until a moment is reached that can be restored.
    await until('a moment that can be restored', async () => {
      await page.keyboard.press('ArrowLeft');
      await page.waitForTimeout(250);
      return (await textOf(page, '#moment .badge')) === 'restorable';
    });
    const at = Number(await page.locator('.cursor-pad').getAttribute('aria-valuenow'));
    expect(at).toBeGreaterThanOrEqual(first - 1000);
    expect(await page.locator('.cursor-pad').getAttribute('aria-valuetext')).toBe(
      `${new Date(at).toISOString().slice(0, 19).replace('T', ' ')} UTC`,
    );
    const command = await textOf(page, '#moment code');
    expect(command).toBe(
      `pgark restore --cluster main --target-time '${new Date(at).toISOString().slice(0, 19).replace('T', ' ')}+00' /path/to/new/data`,
    );
    await page.locator('#moment button').focus();
    await page.keyboard.press('Enter');
    await until('it is copied', async () => (await page.locator('#moment button').textContent()) === 'Copied');
    expect(await page.evaluate('navigator.clipboard.readText()')).toBe(command);

    const box = await page.locator('.cursor-pad').boundingBox();
    if (box === null) throw new Error('there is no timeline');
    await page.mouse.click(box.x + 2, box.y + 20);
    await until('another moment is shown', async () => (await textOf(page, '#moment .badge')) === 'not restorable');
    expect(await textOf(page, '#moment')).toContain('the first moment behind it');
    await closePages();
  });

  test('without a script the form plans a restore; what is no moment is said to be none', async () => {
    const page = await visit('/clusters/main', { javaScriptEnabled: false });
    const window = status.status.system?.lines[0]?.windows[0];
    const time = window?.from.time ?? '';
    await page.getByRole('textbox', { name: 'Restore to' }).fill(time);
    await page.getByRole('button', { name: 'Plan it' }).click();
    const plan = await scene.cluster.archive.planRestore({ target: { time } });
    expect(await textOf(page, '.badge')).toBe('can be reached');
    const shown = await textOf(page, '.plan');
    expect(shown).toContain(plan.plan.backup.id);
    expect(await textOf(page, '#command')).toMatch(
      /^pgark restore --cluster main --target-time '2\d{3}-[^']+\+00' \/path\/to\/new\/data$/,
    );
    await page.goto(`${scene.page.url}/clusters/main?zoom=24h`);
    expect(await textOf(page, '.zoom [aria-current]')).toBe('24 hours');

    await page.goto(`${scene.page.url}/clusters/main/restore?time=${encodeURIComponent('<b>soon</b>')}`);
    expect(await textOf(page, 'main')).toContain('not a time: "<b>soon</b>"');
    await page.goto(`${scene.page.url}/clusters/main/restore?time=2001-01-01T00:00:00Z`);
    expect(await textOf(page, '.badge')).toMatch(/no plan|cannot be reached/);
    await closePages();
  });

  test('axe finds nothing in any view, wide and light, narrow and dark; nothing scrolls sideways', async () => {
    const page = await visit('/', { role: 'operator' });
    const light = { width: 1280, colorScheme: 'light' } as const;
    const dark = { width: 360, colorScheme: 'dark' } as const;
    const others = [
      { width: 1280, colorScheme: 'dark' },
      { width: 360, colorScheme: 'light' },
    ] as const;
    for (const [at, view] of [
      ...VIEWS,
      `/clusters/main/backups/${backups.backups[0]?.id}`,
      '/clusters/none',
    ].entries()) {
      await page.goto(scene.page.url + view);
      for (const { width, colorScheme } of SCALE === 'full'
        ? [light, dark, ...others]
        : at < 2
          ? [light, dark]
          : [at % 2 === 0 ? light : dark]) {
        await page.setViewportSize({ width, height: 800 });
        await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
        await expectAccessible(page, `${view} ${width} ${colorScheme}`);
      }
      await page.setViewportSize({ width: 360, height: 800 });
      const beyond = await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth');
      expect(beyond, `${view} at 360 px`).toBe(0);
    }
    await closePages();
  });

  test('markup in what others wrote is text; nothing of another origin may be loaded', async () => {
    const page = await visit('/clusters/main/backups');
    expect(await textOf(page, 'tbody')).toContain(`full: ${MARKUP}`);
    const oldest = backups.backups[0]?.id ?? '';
    await page.goto(`${scene.page.url}/clusters/main/backups/${oldest}`);
    expect(await textOf(page, 'main')).toContain(MARKUP);
    expect(await page.locator('main img').count()).toBe(0);
    const answer = await fetch(`${scene.page.url}/clusters/main`, { headers: credentials('viewer') });
    expect(answer.headers.get('content-security-policy')).toMatch(
      /^default-src 'none'; style-src 'self'; script-src 'self';/,
    );
    expect(await answer.text()).not.toMatch(/ style=| on[a-z]+=/);
    await closePages();
  });

  test('a viewer finds nothing to press, and a post of one is refused', async () => {
    const page = await visit('/clusters/main/runs');
    expect(await page.locator('main button').count()).toBe(0);
    const post = (
      path: string,
      role: 'viewer' | 'operator',
      form: Readonly<Record<string, string>> = {},
    ): Promise<Response> =>
      fetch(scene.page.url + path, {
        method: 'POST',
        headers: credentials(role),
        body: new URLSearchParams(form),
        redirect: 'manual',
      });
    expect((await post('/clusters/main/runs', 'viewer', { kind: 'backup' })).status).toBe(403);
    expect((await post('/clusters/main/runs/some/cancel', 'viewer')).status).toBe(403);
    const foreign = await fetch(`${scene.page.url}/clusters/main/runs`, {
      method: 'POST',
      headers: { ...credentials('operator'), origin: 'https://elsewhere.example' },
      body: new URLSearchParams({ kind: 'backup' }),
    });
    expect(foreign.status).toBe(403);
    for (const form of [
      { kind: 'expire' },
      { kind: 'backup', label: 'two\nlines' },
      { kind: 'verify', level: 'deep' },
    ] as const)
      expect((await post('/clusters/main/runs', 'operator', { ...form })).status).toBe(400);
    expect((await post('/clusters/main/runs/some/cancel', 'operator')).status).toBe(404);
    expect(scene.cluster.scheduler.running()).toEqual([]);
    await closePages();
  });

  test('who signs in comes to where they wanted; an operator begins a backup, and reads its log; one that fails says why', async () => {
    const page = await visit('/clusters/main/runs', { extraHTTPHeaders: {} });
    expect(await textOf(page, 'h1')).toBe('Sign in');
    await expectAccessible(page, 'signing in');
    await page.getByLabel('Token').fill('no-token-of-anybody');
    await page.keyboard.press('Enter');
    await page.getByRole('alert').waitFor();
    await page.getByLabel('Token').fill('operator-token-0123456789');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Runs' }).waitFor();
    expect(new URL(page.url()).pathname).toBe('/clusters/main/runs');
    expect(await page.getByRole('button').allTextContents()).toEqual(['Sign out', 'Back up now', 'Verify', 'Drill']);

    await page.getByLabel('Label').fill(MARKUP);
    await page.getByRole('button', { name: 'Back up now' }).click();
    await page.waitForURL(/\/runs\/backup-/);
    const id = new URL(page.url()).pathname.split('/').at(-1) ?? '';
    // The page goes on by itself.
    await until('the backup has ended', async () => (await textOf(page, '#live-run .badge')) === 'succeeded');
    const run = (await scene.cluster.archive.runs()).runs.find((one) => one.id === id);
    expect(run).toMatchObject({ state: 'succeeded', by: 'ada', trigger: 'request' });
    expect(await textOf(page, '#live-run')).toContain(`came to${run?.summary}`);
    expect(await textOf(page, '#live-run')).toContain('asked for by ada');
    expect(await page.locator('.log li').count()).toBeGreaterThan(0);
    await expectAccessible(page, 'a run');

    await page.goto(`${scene.page.url}/clusters/main/runs`);
    await until('it is in the history', async () =>
      (await textOf(page, '#live-history tbody')).includes(run?.summary ?? 'no summary'),
    );
    expect(await textOf(page, '#live-planned')).toContain('30 2 * * *Europe/Berlin');

    // A file that the server itself cannot read.
    const unreadable = join(scene.server.data, 'unreadable');
    writeFileSync(unreadable, 'x', { mode: 0 });
    await page.getByRole('button', { name: 'Back up now' }).click();
    await page.waitForURL(/\/runs\/backup-/);
    await until('the backup has failed', async () => (await textOf(page, '#live-run .badge')) === 'failed');
    rmSync(unreadable);
    const failed = (await scene.cluster.archive.runs()).runs.find(({ state }) => state === 'failed');
    expect(failed?.error?.message).toMatch(/unreadable/);
    expect(await textOf(page, '#live-run')).toContain(`failed${failed?.error?.message} (${failed?.error?.code})`);
    await page.goto(`${scene.page.url}/clusters/main/events`);
    expect(await textOf(page, 'tbody')).toContain('backup.failed');
    await page.goto(`${scene.page.url}/clusters/main/runs`);
    await until('it is in the history', async () =>
      (await textOf(page, '#live-history tbody')).includes(failed?.error?.message ?? 'none'),
    );
    expect(await textOf(page, '#live-history tbody tr:first-child .badge')).toBe('failed');
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('heading', { name: 'Sign in' }).waitFor();
    await closePages();
  });

  test('a page that has lost its daemon says so, and goes on when it is back; a look that is old is called STALE', async () => {
    const page = await visit('/clusters/main');
    const before = await textOf(page, '.truth');
    expect(before).toMatch(/^main can restore to any moment/);
    expect(await page.locator('#lost').isVisible()).toBe(false);
    await scene.page.close();
    await until('the loss is told', () => page.locator('#lost').isVisible());
    expect(await textOf(page, '#lost')).toMatch(
      /^The daemon does not answer: what is shown here is as of 2\d{3}-.*Z, \d+ s ago\.$/,
    );
    expect(await textOf(page, '.truth')).toContain(before.slice(0, 50));
    await scene.page.reopen();
    scene.ahead = 180_000;
    await until('it goes on', async () => !(await page.locator('#lost').isVisible()));
    await until('the look is old', async () =>
      (await textOf(page, '.banner.bad:visible')).includes('STALE: the last look ended 3m'),
    );
    expect(await textOf(page, 'h1 + .badge')).toBe('unknown');
    scene.ahead = 0;
    await closePages();
  });

  test('a hole in the WAL is a hole in the picture, in the table and in the line that counts', async () => {
    const page = await visit('/clusters/main');
    const { timelines } = status.status.system?.wal ?? { timelines: [] };
    const { last = 0n } = timelines[0]?.runs.at(-1) ?? {};
    const name = segmentName(1, last - 1n, 1_048_576);
    const folder = join(
      scene.repository,
      'main',
      status.status.system?.systemId ?? '',
      'wal',
      '00000001',
      name.slice(8, 16),
    );
    const [file] = readdirSync(folder).filter((one) => one.startsWith(`${name}-`));
    if (file === undefined) throw new Error(`${name} is not there`);
    renameSync(join(folder, file), join(scene.repository, file));
    try {
      await tellsTheTruth(page, '/clusters/main');
      expect(await textOf(page, 'h1 + .badge')).toBe(status.judgement.level);
      expect(status.judgement.level).toMatch(/warning|critical/);
      expect(status.judgement.reasons).not.toEqual([]);
      expect(await textOf(page, '.reasons')).toBe(status.judgement.reasons.join(' '));
      expect(await page.locator('.timeline rect.hole').count()).toBe(1);
      expect(await page.locator('.timeline').getAttribute('aria-label')).toContain('1 hole,');
      expect(await textOf(page, '.timeline rect.hole title')).toContain(`${name} is missing`);
      await page.goto(`${scene.page.url}/clusters/main/wal`);
      expect(await textOf(page, '[aria-label="Runs of segments"] tbody')).toContain(
        `holeno record says why: it was never archived, or removed${name}${name}1`,
      );
      expect(await page.locator('.picture rect.hole').count()).toBe(1);
    } finally {
      renameSync(join(scene.repository, file), join(folder, file));
    }
    await tellsTheTruth(page, '/clusters/main');
    expect(await textOf(page, 'h1 + .badge')).toBe('ok');
    await closePages();
  });

  test('a storage that is away: nothing is known of it, and nothing is shown as if it were', async () => {
    const page = await visit('/');
    renameSync(scene.repository, `${scene.repository}.away`);
    try {
      await tellsTheTruth(page, '/');
      expect(await textOf(page, '.truth')).toBe('main: unknown, no repository could be read');
      expect(await textOf(page, '.card .badge')).toBe('unknown');
      expect(await textOf(page, '.reasons')).toContain('repository primary could not be read');
      for (const view of ['backups', 'wal']) {
        await page.goto(`${scene.page.url}/clusters/main/${view}`);
        expect(await textOf(page, `#live-${view}`)).toMatch(/^Unknown: /);
      }
      await page.goto(`${scene.page.url}/clusters/main/repositories`);
      expect(await textOf(page, '#live-repositories .badge')).toBe('could not be read');
      expect(await textOf(page, '#live-repositories dl')).toContain('holdsunknown');
      await page.goto(`${scene.page.url}/clusters/main`);
      expect(await textOf(page, '#live-timeline')).toContain('nothing to draw');
      await expectAccessible(page, 'a storage that is away');
    } finally {
      renameSync(`${scene.repository}.away`, scene.repository);
    }
    await tellsTheTruth(page, '/');
    expect(await textOf(page, '.card .badge')).toBe('ok');
    await closePages();
  });

  test('a receiver that has failed, and a server that is away', async () => {
    const page = await visit('/clusters/main');
    const receiver = (): string | undefined => scene.cluster.parts()[0]?.state;
    await scene.receivingThread.terminate();
    await until('it has failed', () => receiver() === 'failed');
    await page.reload();
    expect(await textOf(page, '.banner.bad:visible')).toMatch(
      /^The receiver does not run since .* It is tried again .*thread ended/,
    );
    expect(await textOf(page, '#live-parts tr:first-child .badge')).toBe('failed');
    await until('it runs again', () => receiver() === 'running');
    await page.reload();
    expect(await page.locator('.banner.bad:visible').count()).toBe(0);
    expect(await textOf(page, '#live-parts tbody')).toMatch(/^receiverrunning\d+ s ago1.*thread ended/);

    await scene.server.stop();
    await tellsTheTruth(page, '/clusters/main');
    expect(await textOf(page, '.banner.warn')).toContain('the server could not be asked: ');
    expect(await textOf(page, 'h1 + .badge')).not.toBe('ok');
    expect(await textOf(page, '#live-evidence')).toContain('serverunknown: ');
    await page.goto(`${scene.page.url}/clusters/main/stream`);
    await until('the position is unknown', async () =>
      (await textOf(page, '#live-positions')).includes('server has writtenunknown'),
    );
    await expectAccessible(page, 'a server that is away');
    await closePages();
  });
});
