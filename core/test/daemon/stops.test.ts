/** The end of the daemon, and reloads around it: what hangs holds up nothing, and nothing begins after it. */
import { expect, test } from 'vitest';
import { ArchiveError } from '../../src/contracts/errors.ts';
import type { OpenDaemonOptions } from '../../src/daemon/open.ts';
import type { ConfigValue } from '../../src/config/load.ts';
import type { Scheduler } from '../../src/schedule/run.ts';
import { silentLogger } from '../../../test/support/silent-logger.ts';
import { testDaemon, type TestDaemon } from '../../../test/support/daemon.ts';
import { until } from '../../../test/support/until.ts';

/** Nobody listens there. */
const section: ConfigValue = {
  postgres: { url: 'postgres://127.0.0.1:1/' },
  repositories: [{ name: 'far', storage: { use: 'memory' } }],
  receive: { spool: 'spool' },
};

/** A daemon of one cluster, and what is done to its HTTP server. */
async function withHttp(options: Partial<OpenDaemonOptions> = {}): Promise<TestDaemon & { readonly http: string[] }> {
  const http: string[] = [];
  const note = (what: string): Promise<void> => Promise.resolve(void http.push(what));
  const opened = await testDaemon(() => ({ main: section }), {
    http: async () => {
      await note('open');
      return { url: 'http://nowhere', reload: () => note('reload'), close: () => note('close') };
    },
    ...options,
  });
  return { ...opened, http };
}

const hanging = <Value>(): Promise<Value> => new Promise<Value>(() => undefined);

test('jobs that cannot be begun or ended, as a storage hangs, hold up neither a reload nor the end', async () => {
  const opened = new Set<string>();
  const { daemon, config, logs } = await withHttp({
    pace: { runs: 10, cancelled: 20, closing: 20, late: 20 },
    openScheduler: (archive) => {
      opened.add(archive.config.cluster);
      const closing = { close: () => hanging<void>() } as Partial<Scheduler> as Scheduler;
      return archive.config.cluster === 'main' ? Promise.resolve(closing) : hanging();
    },
  });
  await until('the jobs of one have begun', () => opened.has('main'));
  config.value = { ...config.value, clusters: { other: section } };
  expect(await daemon.reload()).toMatchObject({ begun: ['other'], ended: ['main'] });
  await until('those of the other one are to begin', () => opened.has('other'));
  await daemon.close(1000);
  expect(logs.filter((line) => line.startsWith('error')).map((line) => line.replace(/ \{.*/, ''))).toEqual(
    expect.arrayContaining(['error: main: the scheduler has not ended in 0.03 s, and is left behind']),
  );
  expect(logs.join('\n')).not.toContain('other: the scheduler has not ended');
});

test('a reload that hangs does not hold up the end, and neither it nor one after the end begins anything, or opens HTTP anew', async () => {
  let release = (): void => undefined;
  let isHeld = false;
  const { daemon, config, http } = await withHttp({
    pace: { closing: 20 },
    loggerOf: async ({ cluster }) => {
      if (cluster === 'other') {
        isHeld = true;
        await new Promise<void>((resolve) => (release = resolve));
      }
      return silentLogger;
    },
  });
  config.value = { clusters: { main: section, other: section }, daemon: { listen: '127.0.0.1:0' } };
  const during = daemon.reload();
  await until('it is under way', () => isHeld);
  const late = daemon.reload();
  await daemon.close(1000);
  release();
  expect(await during).toMatchObject({ begun: [], failed: ['other'] });
  await expect(late).rejects.toMatchObject({ code: 'ABORTED' });
  await expect(daemon.reload()).rejects.toMatchObject({ code: 'ABORTED' });
  expect([...daemon.clusters.keys()]).toEqual(['main']);
  expect(http).toEqual(['open', 'close']);
});

test('a cluster that cannot be begun anew goes on as it was, and keeps no other one from its reload', async () => {
  let isBroken = false;
  const { daemon, config, http } = await withHttp({
    loggerOf: ({ cluster }) => {
      if (isBroken && cluster !== 'sound') throw new ArchiveError('SECRET_UNAVAILABLE', 'no such file');
      return Promise.resolve(silentLogger);
    },
  });
  const before = daemon.clusters.get('main');
  isBroken = true;
  const clusters = { main: { ...section, backup: { label: 'another' } }, added: section, sound: section };
  config.value = { clusters, daemon: { listen: 'off', refresh: '1s' } };
  const expected = { begun: ['sound'], ended: [], restarted: [], unchanged: [], failed: ['main', 'added'] };
  expect(await daemon.reload()).toEqual(expected);
  expect(daemon.clusters.get('main')).toBe(before);
  expect(before?.parts().map(({ state }) => state)).not.toContain('stopped');
  expect([...daemon.broken]).toMatchObject([['added', { code: 'SECRET_UNAVAILABLE' }]]);
  expect(http).toEqual(['open', 'reload']);
  isBroken = false;
  expect(await daemon.reload()).toMatchObject({ begun: ['added'], restarted: ['main'], failed: [] });
  expect(daemon.broken.size).toBe(0);
});
