/** What operators begin on the page, in a real browser: runs, what they prove, and a page that is looked at meanwhile. */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { drillText, provenText } from '../../core/src/documents/drill-text.ts';
import { formatTime } from '../../core/src/documents/format.ts';
import { statusLines } from '../../core/src/documents/status-text.ts';
import { verifiedText } from '../../core/src/documents/verified-text.ts';
import { serverUser } from '../support/binaries.ts';
import { expectAccessible, noChromium, textOf } from '../support/chromium.ts';
import { drillSection } from '../support/drilling.ts';
import { FilledPageScene, MARKUP } from '../support/filled-page-scene.ts';
import { credentials } from '../support/page-server.ts';
import { until } from '../support/until.ts';

const user = serverUser();
const SECTION = {
  // The server of a drill has a user of its own, who fetches its WAL.
  repositories: [
    { name: 'primary', storage: { use: 'fs', path: 'main.repository', fileMode: '0644', directoryMode: '0755' } },
  ],
  schedule: [{ do: 'backup', at: '30 2 * * *', timeZone: 'Europe/Berlin' }],
  ...drillSection(17, {
    folder: 'drill',
    amcheck: false,
    ...(user !== undefined && { user: `${user.uid}:${user.gid}` }),
  }),
};

describe.skipIf(noChromium !== undefined)(
  `acting on the page${noChromium === undefined ? '' : ` (${noChromium})`}`,
  () => {
    let at: FilledPageScene;
    beforeAll(async () => {
      at = await FilledPageScene.open({ cluster: SECTION });
      await until('the scheduler runs jobs', () => at.scene.cluster.scheduler.state.state === 'running');
    });
    afterEach(() => at.closePages());
    afterAll(() => at?.scene.close());

    test('a viewer finds nothing to press, and a post of one is refused', async () => {
      const page = await at.visit('/clusters/main/runs');
      expect(await page.locator('main button').count()).toBe(0);
      const post = (
        path: string,
        role: 'viewer' | 'operator',
        form: Readonly<Record<string, string>> = {},
      ): Promise<Response> =>
        fetch(at.url(path), {
          method: 'POST',
          headers: credentials(role),
          body: new URLSearchParams(form),
          redirect: 'manual',
        });
      expect((await post('/clusters/main/runs', 'viewer', { kind: 'backup' })).status).toBe(403);
      expect((await post('/clusters/main/runs/some/cancel', 'viewer')).status).toBe(403);
      const foreign = await fetch(at.url(`/clusters/main/runs`), {
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
      expect(at.scene.cluster.scheduler.running()).toEqual([]);
    });

    test('who signs in comes to where they wanted; an operator begins a backup, and reads its log; one that fails says why', async () => {
      const page = await at.visit('/clusters/main/runs', { extraHTTPHeaders: {} });
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
      const run = (await at.scene.cluster.archive.runs()).runs.find((one) => one.id === id);
      expect(run).toMatchObject({ state: 'succeeded', by: 'ada', trigger: 'request' });
      expect(await textOf(page, '#live-run')).toContain(`came to${run?.summary}`);
      expect(await textOf(page, '#live-run')).toContain('asked for by ada');
      expect(await page.locator('.log li').count()).toBeGreaterThan(0);
      await expectAccessible(page, 'a run');

      await page.goto(at.url(`/clusters/main/runs`));
      await until('it is in the history', async () =>
        (await textOf(page, '#live-history tbody')).includes(run?.summary ?? 'no summary'),
      );
      expect(await textOf(page, '#live-planned')).toContain('30 2 * * *Europe/Berlin');

      // A file that the server itself cannot read.
      const unreadable = join(at.scene.server.data, 'unreadable');
      writeFileSync(unreadable, 'x', { mode: 0 });
      await page.getByRole('button', { name: 'Back up now' }).click();
      await page.waitForURL(/\/runs\/backup-/);
      await until('the backup has failed', async () => (await textOf(page, '#live-run .badge')) === 'failed');
      rmSync(unreadable);
      const failed = (await at.scene.cluster.archive.runs()).runs.find(({ state }) => state === 'failed');
      expect(failed?.error?.message).toMatch(/unreadable/);
      expect(await textOf(page, '#live-run')).toContain(`failed${failed?.error?.message} (${failed?.error?.code})`);
      await page.goto(at.url(`/clusters/main/events`));
      expect(await textOf(page, 'tbody')).toContain('backup.failed');
      await page.goto(at.url(`/clusters/main/runs`));
      await until('it is in the history', async () =>
        (await textOf(page, '#live-history tbody')).includes(failed?.error?.message ?? 'none'),
      );
      expect(await textOf(page, '#live-history tbody tr:first-child .badge')).toBe('failed');
      await page.getByRole('button', { name: 'Sign out' }).click();
      await page.getByRole('heading', { name: 'Sign in' }).waitFor();
    });

    test('a drill that succeeds and a verification are on the page as they are on record, and what was not proven is not', async () => {
      const { cluster } = at.scene;
      const page = await at.visit('/clusters/main/runs', { role: 'operator' });
      await page.getByRole('button', { name: 'Drill', exact: true }).click();
      await page.waitForURL(/\/runs\/drill-/);
      // Who has the focus on a button of a run sees its end too, and does not press what is not there any more.
      const beside = await at.visit('/clusters/main/runs', { role: 'operator' });
      await beside.getByRole('button', { name: 'Cancel drill-' }).focus();
      await until('the drill has ended', async () => (await textOf(page, '#live-run .badge')) !== 'running');
      const problem = `${await textOf(page, '#live-run')}\n${await textOf(page, '#live-log')}`;
      expect(await textOf(page, '#live-run .badge'), problem).toBe('succeeded');
      await until('its end is seen', async () => (await textOf(beside, '#live-running')) === 'Nothing runs.');
      expect(await beside.evaluate('document.activeElement.id')).toBe('live-running');

      await page.goto(at.url('/clusters/main/runs'));
      await page.getByLabel('How thoroughly').selectOption('full');
      await page.getByRole('button', { name: 'Verify' }).click();
      await page.waitForURL(/\/runs\/verify-/);
      await until('it is verified', async () => (await textOf(page, '#live-run .badge')) === 'succeeded');

      await cluster.look();
      const { backups } = await cluster.archive.backups();
      const proven = backups.filter(
        ({ drill }) => drill !== undefined && drill !== 'unknown' && drill.outcome === 'proven',
      );
      expect(backups.length).toBeGreaterThan(1);
      const [run] = (await cluster.archive.runs({ jobs: ['drill'] })).runs;
      expect(run).toMatchObject({ state: 'succeeded', by: 'ada' });
      expect(proven.map(({ id }) => id)).toEqual([run?.result?.['backup']]);
      for (const { id, drill, verified } of backups) {
        const before = Date.now();
        await page.goto(at.url('/clusters/main/backups'));
        const after = Date.now();
        const row = page.locator('tbody tr').filter({ hasText: id });
        const isProven = proven.some((one) => one.id === id);
        const marks = async (column: string): Promise<readonly [text: string, good: number]> => {
          const cell = row.locator(`td[data-title="${column}"]`);
          return [(await cell.innerText()).trim(), await cell.locator('.badge.good').count()];
        };
        const [provenMark, verifiedMark] = [await marks('Proven'), await marks('Verified')];
        // As of the moment in which the page was made.
        const agesOf = (say: (now: number) => string | undefined): readonly (string | undefined)[] =>
          Array.from({ length: Math.ceil((after - before) / 10) + 2 }, (_, step) => say(before + step * 10));
        if (isProven) expect(agesOf((now) => provenText(drill, now))).toContain(provenMark[0]);
        else expect(provenMark[0]).toBe('never');
        expect(provenMark[1]).toBe(isProven ? 1 : 0);
        expect(agesOf((now) => verifiedText(verified, now))).toContain(verifiedMark[0]);
        expect(verifiedMark[0]).toMatch(/^full, /);
        expect(verifiedMark[1]).toBe(1);
        await page.goto(at.url(`/clusters/main/backups/${id}`));
        expect(await textOf(page, 'main')).toContain(`last drill${drillText(drill)}`);
      }
      await expectAccessible(page, 'a backup that is proven');

      const { status } = await at.tellsTheTruth(page, '/clusters/main');
      const [drill, ...more] = status.system?.drills ?? [];
      if (drill === undefined) throw new Error('no drill is on record');
      expect(more).toEqual([]);
      expect(drill.data).toMatchObject({ outcome: 'proven' });
      const told = statusLines(status, cluster.archive.config).filter(
        ([name]) => name === 'drill' || name === 'verified',
      );
      expect(told).toHaveLength(2);
      for (const [name, value] of told) expect(await textOf(page, '#live-evidence')).toContain(`${name}${value}`);
      const mark = page.locator('.timeline use[href="#mark-drill"]');
      expect(await mark.count()).toBe(1);
      expect(await mark.getAttribute('class')).toBe('mark proof');
      expect(await mark.locator('title').textContent()).toBe(`drill, ${formatTime(drill.time)}`);
      expect(await page.locator('.timeline use[href="#mark-bad"]').count()).toBe(0);
      // It stands where its moment is.
      const drawn = page.locator('.timeline');
      const [from, to] = [Number(await drawn.getAttribute('data-from')), Number(await drawn.getAttribute('data-to'))];
      expect(await mark.getAttribute('x')).toBe(`${((100 * (drill.time - from)) / (to - from)).toFixed(3)}%`);
      const verifiedMarks = await page.locator('.timeline use[href="#mark-verified"] title').allTextContents();
      expect(verifiedMarks.length).toBeGreaterThan(0);
    });

    test('a part that has the focus goes on, and the focus stays where it is', async () => {
      const page = await at.visit('/clusters/main/runs');
      const link = page.locator('#live-history tbody a').last();
      await link.focus();
      const address = await link.getAttribute('href');
      const age = (): Promise<string> => textOf(page, '#live-history tbody tr:last-child td[data-title="Began"]');
      const before = await age();
      await page.evaluate('document.activeElement.isMarked = true');
      const { id } = await at.scene.cluster.scheduler.start({ kind: 'check', by: 'grace' });
      await until('a new run is shown', async () =>
        (await textOf(page, '#live-history')).includes('asked for by grace'),
      );
      await until(
        'it has ended',
        async () => (await textOf(page, '#live-history tbody tr:first-child .badge')) !== 'running',
      );
      expect(await firstRun(page)).toContain(id);
      expect(await age()).not.toBe(before);
      // The very same element, so that nobody is told of it anew.
      expect(await page.evaluate('document.activeElement.isMarked')).toBe(true);
      expect(await page.evaluate('document.activeElement.getAttribute("href")')).toBe(address);
      expect(await page.locator('#live-history tbody tr').count()).toBe(
        new Set(await page.locator('#live-history tbody a').evaluateAll((all) => all.map((one) => String(one)))).size,
      );
    });

    const firstRun = async (page: Page): Promise<string> =>
      (await page.locator('#live-history tbody tr:first-child a').getAttribute('href')) ?? '';
  },
);
