/** Looks at a storage that hangs: nobody waits for them, and what was seen stays. */
import { setTimeout as sleep } from 'node:timers/promises';
import { MemoryStorage } from '@pgark/storage-memory';
import { expect, test } from 'vitest';
import { API_VERSION, type Plugin } from '../../src/contracts/plugin.ts';
import type { Storage } from '../../src/contracts/storage.ts';
import type { ConfigValue } from '../../src/config/load.ts';
import type { Daemon, DaemonCluster, Look } from '../../src/daemon/daemon.ts';
import type { RunSink } from '../../src/schedule/run.ts';
import { later } from '../../../test/support/later.ts';
import { testDaemon } from '../../../test/support/daemon.ts';
import { until } from '../../../test/support/until.ts';

/** A storage whose calls hang while it is told to, and go on when it no longer is; they do not look at their signal. */
class HangingStorage {
  /** Calls that hang. */
  waiting = 0;
  #free = Promise.resolve();
  #release = (): void => undefined;
  readonly #storage = new MemoryStorage();

  hang(): void {
    this.#free = new Promise((resolve) => (this.#release = resolve));
  }

  release(): void {
    this.#release();
  }

  async #wait(): Promise<void> {
    this.waiting += 1;
    await this.#free;
    this.waiting -= 1;
  }

  get plugin(): Plugin<'storage'> {
    const storage = this.#storage;
    const held: Storage = {
      capabilities: storage.capabilities,
      put: (key, body, options) => storage.put(key, body, options),
      get: (key, options) => this.#held(storage.get(key, options)),
      stat: async (key, options) => {
        await this.#wait();
        return storage.stat(key, options);
      },
      list: (prefix, options) => this.#held(storage.list(prefix, options)),
      remove: (keys, options) => storage.remove(keys, options),
      close: () => storage.close(),
    };
    const options = { '~standard': { version: 1 as const, vendor: 'test', validate: (value: unknown) => ({ value }) } };
    return { name: 'hanging', kind: 'storage', apiVersion: API_VERSION, options, create: async () => held };
  }

  async *#held<Item>(items: AsyncIterable<Item>): AsyncGenerator<Item, void, undefined> {
    await this.#wait();
    yield* items;
  }
}

/** A cluster on the storage that hangs, of whose server nobody listens. */
function sections(more: object = {}): Readonly<Record<string, ConfigValue>> {
  return {
    main: {
      postgres: { url: 'postgres://127.0.0.1:1/' },
      repositories: [{ name: 'far', storage: { use: 'hanging' } }],
      receive: { spool: 'spool' },
      ...more,
    },
  };
}

function mainOf({ clusters }: Daemon): DaemonCluster {
  const cluster = clusters.get('main');
  if (cluster === undefined) throw new Error('no cluster');
  return cluster;
}

test('a look that hangs is given up and told, what was seen before stays with its time, and no further one is begun meanwhile', async () => {
  const storage = new HangingStorage();
  const { daemon, logs } = await testDaemon(() => sections({ status: { cacheAge: 'off' } }), {
    plugins: [storage.plugin],
    pace: { look: 1000, sample: 50 },
    section: { refresh: '1h' },
  });
  later(storage, (one) => one.release());
  const cluster = mainOf(daemon);
  // The first ones may take their time: what they are made of is loaded.
  await until('a look that sees all', async () => (await cluster.look()).failures.length === 0);
  const seen = await cluster.look();
  expect(seen.failures).toEqual([]);
  expect(seen.status?.status.server.state).toBe('unknown');
  expect(cluster.latest()).toBe(seen);
  // It needs neither.
  await until('the receiver is asked', () => cluster.receiver()?.state === 'running');

  const warnings = (): number => logs.filter((line) => line.startsWith('warn: main: not all of the cluster')).length;
  const before = warnings();
  storage.hang();
  const looks: number[] = [];
  daemon.observe({ looked: (_, look) => void looks.push(look.failures.length) });
  const [one, joined] = await Promise.all([cluster.look(), cluster.look()]);
  expect(joined).toBe(one);
  expect(looks).toHaveLength(1);
  expect(one).toEqual({ ...seen, failures: one.failures });
  expect(one.failures.map(({ message }) => message)).toEqual(['looking at cluster "main" took more than 1 s']);
  const { waiting } = storage;
  expect(waiting).toBeGreaterThan(0);
  const again = await cluster.look();
  expect(again).toEqual(one);
  expect(storage.waiting).toBe(waiting);
  expect(warnings()).toBe(before + 1);

  storage.release();
  const after = await cluster.look();
  expect(after.failures).toEqual([]);
  expect(after.began).toBeGreaterThan(seen.ended);
});

test('what could not be listed is listed at the next look, and what was seen before does not pass for it', async () => {
  const storage = new HangingStorage();
  const { daemon } = await testDaemon(() => sections({ status: { cacheAge: 'off' } }), {
    plugins: [storage.plugin],
    pace: { look: 1000 },
    section: { refresh: '1s' },
  });
  later(storage, (one) => one.release());
  const cluster = mainOf(daemon);
  await until('a look that sees all', async () => (await cluster.look()).failures.length === 0);
  storage.hang();
  const failed = await cluster.look();
  expect(failed.failures).not.toEqual([]);
  const next = new Promise<Look>((resolve) =>
    daemon.observe({ looked: (_, look) => void (look.failures.length === 0 && resolve(look)) }),
  );
  storage.release();
  const { backups } = await next;
  expect(backups).toBeDefined();
  expect(backups).not.toBe(failed.backups);
});

test('backups and runs are listed at every tenth look, and when they have changed', async () => {
  const storage = new HangingStorage();
  const { daemon } = await testDaemon(() => sections(), { plugins: [storage.plugin], section: { refresh: '1s' } });
  const cluster = mainOf(daemon);
  await until('a look that sees all', async () => (await cluster.look()).failures.length === 0);
  const seen = await cluster.look();
  const looks = [seen];
  daemon.observe({ looked: (_, look) => void looks.push(look) });
  await until('five looks', () => looks.length > 5);
  // The same list, at looks of their own, which say how old it is.
  for (const look of looks.slice(0, 6)) expect(look).toMatchObject({ backups: seen.backups, listed: seen.listed });
  expect(looks[5]?.began).toBeGreaterThan(seen.listed ?? Number.POSITIVE_INFINITY);
  expect(looks[5]?.status).not.toBe(seen.status);
  await until('it is listed anew', () => cluster.latest()?.backups !== seen.backups);
  const changed = cluster.latest();
  expect((await cluster.look()).backups).not.toBe(changed?.backups);
});

test('what runs have changed is looked at soon, and many that end at once are one look', async () => {
  const storage = new HangingStorage();
  let ends: RunSink = () => undefined;
  const { daemon } = await testDaemon(() => sections(), {
    plugins: [storage.plugin],
    pace: { soon: 50 },
    section: { refresh: '1h' },
    openScheduler: (archive, call) => {
      ends = call.onRun ?? ends;
      return archive.openScheduler(call);
    },
  });
  const cluster = mainOf(daemon);
  await until('a look that sees all', async () => (await cluster.look()).failures.length === 0);
  const before = cluster.latest();
  const looks: Look[] = [];
  daemon.observe({ looked: (_, look) => void looks.push(look) });
  const moment = Date.parse('2026-05-01T01:00:00Z');
  for (let count = 0; count < 100; count++)
    ends({
      id: `check-${count}`,
      job: 'check',
      kind: 'check',
      trigger: 'schedule',
      planned: moment,
      started: moment,
      state: 'succeeded',
      host: 'backup1',
    });
  await until('it is looked at', () => looks.length > 0);
  expect(looks[0]?.runs).not.toBe(before?.runs);
  expect(looks[0]?.listed).toBeGreaterThanOrEqual(before?.ended ?? Number.POSITIVE_INFINITY);
  // Nothing has changed since: the next look is an hour away.
  await sleep(300);
  expect(looks).toHaveLength(1);
});

test('a reload that wants more looks is not waited for as long as the one before wanted', async () => {
  const storage = new HangingStorage();
  const { daemon, config } = await testDaemon(() => sections(), {
    plugins: [storage.plugin],
    pace: { soon: 50 },
    section: { refresh: '1h' },
  });
  const cluster = mainOf(daemon);
  await until('a look', () => cluster.latest() !== undefined);
  const looks: Look[] = [];
  daemon.observe({ looked: (_, look) => void looks.push(look) });
  const { value } = config as { value: { readonly daemon: object } };
  config.value = { ...config.value, daemon: { ...value.daemon, refresh: '1s' } };
  expect(await daemon.reload()).toMatchObject({ unchanged: ['main'] });
  await until('two more looks', () => looks.length > 1);
});
