/** The page in a real browser, before a daemon with a real server: what it says is what the archive says. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { momentOf } from '../../core/src/daemon/page/moment.ts';
import { storedSize } from '../../core/src/documents/backup-document.ts';
import { formatBytes } from '../../core/src/documents/format.ts';
import { statusLines } from '../../core/src/documents/status-text.ts';
import { segmentName } from '../../core/src/postgres/wal-file.ts';
import { expectAccessible, noChromium, textOf } from '../support/chromium.ts';
import { FilledPageScene, MARKUP } from '../support/filled-page-scene.ts';
import { credentials } from '../support/page-server.ts';
import { randomFrom } from '../support/random.ts';
import { until } from '../support/until.ts';

const VIEWS = [
  '/',
  '/clusters/main',
  ...['stream', 'backups', 'wal', 'runs', 'repositories', 'events', 'restore'].map((view) => `/clusters/main/${view}`),
];

describe.skipIf(noChromium !== undefined)(`the page${noChromium === undefined ? '' : ` (${noChromium})`}`, () => {
  let at: FilledPageScene;
  beforeAll(async () => {
    at = await FilledPageScene.open();
  });
  afterEach(() => at.closePages());
  afterAll(() => at?.scene.close());

  test('each view says what the archive says, also without script', async () => {
    for (const javaScriptEnabled of [true, false]) {
      const page = await at.visit('/', { javaScriptEnabled });
      const go = (path: string): Promise<unknown> => page.goto(at.url(path));
      await at.tellsTheTruth(page, '/');
      expect(await textOf(page, '.card .badge')).toBe('ok');

      const seen = await at.tellsTheTruth(page, '/clusters/main');
      const { system, map } = seen.status;
      if (system === undefined) throw new Error('there is no system');
      const evidence = await textOf(page, '#live-evidence');
      const told = statusLines(seen.status, at.scene.cluster.archive.config);
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
      const expected = at.backups.backups.toReversed();
      expect(rows).toHaveLength(2);
      for (const [place, backup] of expected.entries()) {
        if (backup.state !== 'complete') throw new Error('it is not complete');
        for (const text of [
          backup.id,
          backup.record.label,
          formatBytes(backup.record.dataSize),
          formatBytes(storedSize(backup.record)),
        ])
          expect(rows[place]).toContain(text);
        expect(rows[place]).toMatch(/full, [\d.]+ s ago/);
        expect(rows[place]).toMatch(/never/);
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

      await until('the stream was sampled', () => at.scene.cluster.samples().at(-1)?.server !== undefined);
      await go('/clusters/main/stream');
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
  });

  test('a moment that is pointed at leads where the plan leads', async () => {
    const { archive } = at.scene.cluster;
    const { system } = at.status.status;
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
    const page = await at.visit('/clusters/main', { permissions: ['clipboard-read', 'clipboard-write'] });
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
    const window = at.status.status.system?.lines[0]?.windows[0];
    const first = Date.parse(window?.from.time ?? '');
    // To the left until a moment is reached that can be restored.
    await until('a moment that can be restored', async () => {
      await page.keyboard.press('ArrowLeft');
      await page.waitForTimeout(250);
      return (await textOf(page, '#moment .badge')) === 'restorable';
    });
    const moment = Number(await page.locator('.cursor-pad').getAttribute('aria-valuenow'));
    expect(moment).toBeGreaterThanOrEqual(first - 1000);
    expect(await page.locator('.cursor-pad').getAttribute('aria-valuetext')).toBe(
      `${new Date(moment).toISOString().slice(0, 19).replace('T', ' ')} UTC`,
    );
    const command = await textOf(page, '#moment code');
    expect(command).toBe(
      `pgark restore --cluster main --target-time '${new Date(moment).toISOString().slice(0, 19).replace('T', ' ')}+00' /path/to/new/data`,
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
    await expectAccessible(page, 'a moment that is pointed at');
  });

  test('without a script the form plans a restore; what is no moment is said to be none', async () => {
    const page = await at.visit('/clusters/main', { javaScriptEnabled: false });
    const window = at.status.status.system?.lines[0]?.windows[0];
    const time = window?.from.time ?? '';
    await page.getByRole('textbox', { name: 'Restore to' }).fill(time);
    await page.getByRole('button', { name: 'Plan it' }).click();
    const plan = await at.scene.cluster.archive.planRestore({ target: { time } });
    expect(await textOf(page, '.badge')).toBe('can be reached');
    const shown = await textOf(page, '.plan');
    expect(shown).toContain(plan.plan.backup.id);
    expect(await textOf(page, '#command')).toMatch(
      /^pgark restore --cluster main --target-time '2\d{3}-[^']+\+00' \/path\/to\/new\/data$/,
    );
    await page.goto(at.url(`/clusters/main?zoom=24h`));
    expect(await textOf(page, '.zoom [aria-current]')).toBe('24 hours');

    await page.goto(at.url(`/clusters/main/restore?time=${encodeURIComponent('<b>soon</b>')}`));
    expect(await textOf(page, 'main')).toContain('not a time: "<b>soon</b>"');
    await page.goto(at.url(`/clusters/main/restore?time=2001-01-01T00:00:00Z`));
    expect(await textOf(page, '.badge')).toMatch(/no plan|cannot be reached/);
  });

  test('axe finds nothing in any view, wide and light, narrow and dark; nothing scrolls sideways', async () => {
    const page = await at.visit('/', { role: 'operator' });
    const light = { width: 1280, colorScheme: 'light' } as const;
    const dark = { width: 360, colorScheme: 'dark' } as const;
    for (const [place, view] of [
      ...VIEWS,
      `/clusters/main/backups/${at.backups.backups[0]?.id}`,
      '/clusters/none',
    ].entries()) {
      await page.goto(at.url(view));
      await expectAccessible(page, view, place < 2 ? [light, dark] : [place % 2 === 0 ? light : dark]);
      await page.setViewportSize({ width: 360, height: 800 });
      const beyond = await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth');
      expect(beyond, `${view} at 360 px`).toBe(0);
    }
  });

  test('markup in what others wrote is text; nothing of another origin may be loaded', async () => {
    const page = await at.visit('/clusters/main/backups');
    expect(await textOf(page, 'tbody')).toContain(`full: ${MARKUP}`);
    const named = at.backups.backups.find((one) => one.state === 'complete' && one.record.label === MARKUP);
    await page.goto(at.url(`/clusters/main/backups/${named?.id}`));
    expect(await textOf(page, 'main')).toContain(MARKUP);
    expect(await page.locator('main img').count()).toBe(0);
    const answer = await fetch(at.url(`/clusters/main`), { headers: credentials('viewer') });
    expect(answer.headers.get('content-security-policy')).toMatch(
      /^default-src 'none'; style-src 'self'; script-src 'self';/,
    );
    expect(await answer.text()).not.toMatch(/ style=| on[a-z]+=/);
  });
});
