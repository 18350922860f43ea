/** The scene of the page with two backups, a verification and WAL behind them, and visits of a browser to it. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Browser, Page } from 'playwright-core';
import type { BackupList } from '../../core/src/archive/list.ts';
import type { StatusDone } from '../../core/src/archive/status.ts';
import { canRestoreTo } from '../../core/src/documents/status-document.ts';
import { textOf } from './chromium.ts';
import { openPageScene, type PageScene, type PageSceneOptions } from './page-scene.ts';
import { credentials } from './page-server.ts';
import { until } from './until.ts';

/** A label that is markup where it is not escaped. */
export const MARKUP = '<img src=x onerror="document.title=1"> & \'quoted\'';

type VisitOptions = Parameters<Browser['newPage']>[0] & { readonly role?: 'viewer' | 'operator' };

export class FilledPageScene {
  readonly scene: PageScene;
  /** As it was asked for last. */
  status: StatusDone;
  /** As they were taken first. */
  readonly backups: BackupList;
  #open: Page[] = [];

  private constructor(scene: PageScene, status: StatusDone, backups: BackupList) {
    this.scene = scene;
    this.status = status;
    this.backups = backups;
  }

  /** The first backup has {@link MARKUP} for a label; the last commit lies in a slice of the open segment. */
  static async open(options: PageSceneOptions = {}): Promise<FilledPageScene> {
    const scene = await openPageScene(options);
    try {
      const { server, cluster } = scene;
      const { archive } = cluster;
      const commit = (): Promise<unknown> => server.query('INSERT INTO numbers VALUES (1)');
      await archive.backup({ label: MARKUP, create: true, checkpoint: 'fast' });
      const first = Date.now();
      await server.query('CREATE TABLE numbers (number int)');
      await commit();
      await archive.backup({ label: 'second', checkpoint: 'fast' });
      await archive.verify({ level: 'full' });
      for (let segment = 0; segment < 3; segment++) {
        await commit();
        await server.query('SELECT pg_switch_wal()');
      }
      // Moments are pointed at by whole seconds: some of them must lie between the first backup and the last commit.
      await sleep(Math.max(0, first + 2500 - Date.now()));
      await commit();
      const end = await server.value('SELECT pg_current_wal_flush_lsn()');
      let status = await archive.status();
      await until(
        'everything is shipped',
        async () => {
          status = await archive.status();
          return status.status.lag.bytes === 0;
        },
        () => `${end} ${JSON.stringify(status.status.lag)}`,
      );
      const backups = await archive.backups();
      await cluster.look();
      return new FilledPageScene(scene, status, backups);
    } catch (error) {
      await scene.close();
      throw error;
    }
  }

  /** The address of a view. */
  url(path: string): string {
    return this.scene.page.url + path;
  }

  /** Opens a view; by default as a viewer, and wide. */
  async visit(path: string, { role = 'viewer', ...options }: VisitOptions = {}): Promise<Page> {
    const page = await this.scene.browser.newPage({
      viewport: { width: 1280, height: 800 },
      extraHTTPHeaders: credentials(role),
      ...options,
    });
    this.#open.push(page);
    page.on('dialog', (dialog) => void dialog.dismiss());
    await page.goto(this.url(path));
    return page;
  }

  /** Waits until a view says what the archive says at this moment, and gives that: a server writes records by itself now and then. */
  async tellsTheTruth(page: Page, path: string): Promise<StatusDone> {
    const { cluster } = this.scene;
    let [shown, truth] = ['', ''];
    await until(
      `${path} tells the truth`,
      async () => {
        await cluster.look();
        this.status = await cluster.archive.status();
        truth = canRestoreTo(this.status.status);
        await page.goto(this.url(path));
        shown = await textOf(page, '.truth');
        return shown === truth;
      },
      () => `shown: ${shown}\ntruth: ${truth}`,
    );
    return this.status;
  }

  async closePages(): Promise<void> {
    await Promise.all(this.#open.splice(0).map((page) => page.close()));
  }
}
