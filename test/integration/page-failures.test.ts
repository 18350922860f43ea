/** Each failure as the page shows it, in a real browser: what it says is what is so. */
import { readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { segmentName } from '../../core/src/postgres/wal-file.ts';
import { expectAccessible, noChromium, textOf } from '../support/chromium.ts';
import { FilledPageScene } from '../support/filled-page-scene.ts';
import { until } from '../support/until.ts';

describe.skipIf(noChromium !== undefined)(
  `failures on the page${noChromium === undefined ? '' : ` (${noChromium})`}`,
  () => {
    let at: FilledPageScene;
    beforeAll(async () => {
      at = await FilledPageScene.open();
    });
    afterEach(() => at.closePages());
    afterAll(() => at?.scene.close());

    test('a page that has lost its daemon says so, and goes on when it is back; a look that is old is called STALE', async () => {
      const page = await at.visit('/clusters/main');
      const before = await textOf(page, '.truth');
      expect(before).toMatch(/^main can restore to any moment/);
      expect(await page.locator('#lost').isVisible()).toBe(false);
      await at.scene.page.close();
      await until('the loss is told', () => page.locator('#lost').isVisible());
      expect(await textOf(page, '#lost')).toMatch(
        /^The daemon does not answer: what is shown here is as of 2\d{3}-.*Z, \d+ s ago\.$/,
      );
      expect(await textOf(page, '.truth')).toContain(before.slice(0, 50));
      await at.scene.page.reopen();
      at.scene.ahead = 180_000;
      await until('it goes on', async () => !(await page.locator('#lost').isVisible()));
      await until('the look is old', async () =>
        (await textOf(page, '.banner.bad:visible')).includes('STALE: the last look ended 3m'),
      );
      expect(await textOf(page, 'h1 + .badge')).toBe('unknown');
      at.scene.ahead = 0;
    });

    test('a hole in the WAL is a hole in the picture, in the table and in the line that counts', async () => {
      const page = await at.visit('/clusters/main');
      const { timelines } = at.status.status.system?.wal ?? { timelines: [] };
      const { last = 0n } = timelines[0]?.runs.at(-1) ?? {};
      const name = segmentName(1, last - 1n, 1_048_576);
      const folder = join(
        at.scene.repository,
        'main',
        at.status.status.system?.systemId ?? '',
        'wal',
        '00000001',
        name.slice(8, 16),
      );
      const [file] = readdirSync(folder).filter((one) => one.startsWith(`${name}-`));
      if (file === undefined) throw new Error(`${name} is not there`);
      renameSync(join(folder, file), join(at.scene.repository, file));
      try {
        await at.tellsTheTruth(page, '/clusters/main');
        expect(await textOf(page, 'h1 + .badge')).toBe(at.status.judgement.level);
        expect(at.status.judgement.level).toMatch(/warning|critical/);
        expect(at.status.judgement.reasons).not.toEqual([]);
        expect(await textOf(page, '.reasons')).toBe(at.status.judgement.reasons.join(' '));
        expect(await page.locator('.timeline rect.hole').count()).toBe(1);
        expect(await page.locator('.timeline').getAttribute('aria-label')).toContain('1 hole,');
        expect(await textOf(page, '.timeline rect.hole title')).toContain(`${name} is missing`);
        await page.goto(at.url(`/clusters/main/wal`));
        expect(await textOf(page, '[aria-label="Runs of segments"] tbody')).toContain(
          `holeno record says why: it was never archived, or removed${name}${name}1`,
        );
        expect(await page.locator('.picture rect.hole').count()).toBe(1);
      } finally {
        renameSync(join(at.scene.repository, file), join(folder, file));
      }
      await at.tellsTheTruth(page, '/clusters/main');
      expect(await textOf(page, 'h1 + .badge')).toBe('ok');
    });

    test('a storage that is away: nothing is known of it, and nothing is shown as if it were', async () => {
      const page = await at.visit('/');
      // Who looks on sees the same as who comes anew.
      const open = await at.visit('/clusters/main');
      expect(await open.locator('.cursor-pad').isVisible()).toBe(true);
      renameSync(at.scene.repository, `${at.scene.repository}.away`);
      try {
        await at.tellsTheTruth(page, '/');
        expect(await textOf(page, '.truth')).toBe('main: unknown, no repository could be read');
        expect(await textOf(page, '.card .badge')).toBe('unknown');
        expect(await textOf(page, '.reasons')).toContain('repository primary could not be read');
        for (const view of ['backups', 'wal']) {
          await page.goto(at.url(`/clusters/main/${view}`));
          expect(await textOf(page, `#live-${view}`)).toMatch(/^Unknown: /);
        }
        await page.goto(at.url(`/clusters/main/repositories`));
        expect(await textOf(page, '#live-repositories .badge')).toBe('could not be read');
        expect(await textOf(page, '#live-repositories dl')).toContain('holdsunknown');
        await page.goto(at.url(`/clusters/main`));
        expect(await textOf(page, '#live-timeline')).toContain('nothing to draw');
        await expectAccessible(page, 'a storage that is away');
        await until('it is seen', async () => (await textOf(open, '#live-timeline')).includes('nothing to draw'));
        expect(await open.locator('#lost').isVisible()).toBe(false);
        expect(await open.locator('.cursor-pad').isVisible()).toBe(false);
      } finally {
        renameSync(`${at.scene.repository}.away`, at.scene.repository);
      }
      await at.tellsTheTruth(page, '/');
      expect(await textOf(page, '.card .badge')).toBe('ok');
      await until('it can be pointed at again', () => open.locator('.cursor-pad').isVisible());
    });

    test('a receiver that has failed, and a server that is away', async () => {
      const page = await at.visit('/clusters/main');
      const receiver = (): string | undefined => at.scene.cluster.parts()[0]?.state;
      await at.scene.receivingThread.terminate();
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

      await at.scene.server.stop();
      await at.tellsTheTruth(page, '/clusters/main');
      expect(await textOf(page, '.banner.warn')).toContain('the server could not be asked: ');
      expect(await textOf(page, 'h1 + .badge')).not.toBe('ok');
      expect(await textOf(page, '#live-evidence')).toContain('serverunknown: ');
      await page.goto(at.url(`/clusters/main/stream`));
      await until('the position is unknown', async () =>
        (await textOf(page, '#live-positions')).includes('server has writtenunknown'),
      );
      await expectAccessible(page, 'a server that is away');
    });
  },
);
