/** A reload of the daemon: what has not changed is not touched. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ConfigValue } from '../../core/src/config/load.ts';
import { sectionFor, streamIs, testDaemon } from '../support/daemon.ts';
import { PostgresServer } from '../support/postgres.ts';

const NAMES = ['kept', 'changed', 'gone'] as const;

let server: PostgresServer;
beforeAll(async () => {
  server = await PostgresServer.start({ major: 17, segmentMegabytes: 1 });
});
afterAll(() => server.destroy());

/** A section with a slot of its own: one server serves all clusters here. */
function section(folder: string, name: string): ConfigValue {
  const plain = sectionFor(folder, name, server.url());
  return { ...plain, receive: { ...plain.receive, slot: name } };
}

/** The process of the server that sends WAL to a slot; a receiver that was interrupted has another one. */
function sender(slot: string): Promise<string> {
  return server.value(`SELECT coalesce(max(active_pid), 0) FROM pg_replication_slots WHERE slot_name = '${slot}'`);
}

test('clusters that are new begin, those that are gone end, those that have changed begin anew, the others are not interrupted', async () => {
  const reloads: string[] = [];
  const opened = await testDaemon((folder) => Object.fromEntries(NAMES.map((name) => [name, section(folder, name)])), {
    http: (daemon) => {
      reloads.push(`open ${daemon.config.listen ?? 'off'}`);
      return Promise.resolve({
        url: 'http://nowhere',
        reload: () => Promise.resolve(void reloads.push('reload')),
        close: () => Promise.resolve(void reloads.push('close')),
      });
    },
  });
  const { daemon, folder, config } = opened;
  for (const name of NAMES) await streamIs(opened, name, 'streaming');
  const before = daemon.clusters.get('kept');
  const [sending, other] = [await sender('kept'), await sender('changed')];
  const parts = before?.parts();
  const states: string[] = [];
  daemon.observe({
    event: (cluster, { name, data }) => {
      if (cluster === 'kept' && name === 'wal.state' && 'state' in data) states.push(data.state);
    },
  });

  const changed = { ...section(folder, 'changed'), backup: { label: 'another' } };
  const clusters = { kept: section(folder, 'kept'), changed, begun: section(folder, 'begun') };
  config.value = { clusters, daemon: { listen: 'off', refresh: '2s' } };
  expect(await daemon.reload()).toEqual({
    begun: ['begun'],
    ended: ['gone'],
    restarted: ['changed'],
    unchanged: ['kept'],
    failed: [],
  });
  expect([...daemon.clusters.keys()]).toEqual(['kept', 'changed', 'begun']);
  expect(daemon.config.refresh).toBe(2000);
  for (const name of ['changed', 'begun']) await streamIs(opened, name, 'streaming');
  expect(daemon.clusters.get('kept')).toBe(before);
  expect(before?.parts()).toEqual(parts);
  expect(states).toEqual([]);
  expect(await sender('kept')).toBe(sending);
  expect(await sender('changed')).not.toBe(other);
  expect(await sender('gone')).toBe('0');
  // What the server is made of is the same: it reads tokens and certificates anew. Another address is another server.
  expect(reloads).toEqual(['open off', 'reload']);
  config.value = { clusters, daemon: { listen: '127.0.0.1:0' } };
  await daemon.reload();
  expect(reloads.slice(2)).toEqual(['close', 'open 127.0.0.1:0']);
});

test('a config that is not valid changes nothing, whichever section is wrong', async () => {
  const opened = await testDaemon((folder) => ({ kept: section(folder, 'kept') }));
  const { daemon, folder, config } = opened;
  await streamIs(opened, 'kept', 'streaming');
  const sending = await sender('kept');
  const { value } = config;
  for (const wrong of [
    { clusters: { kept: section(folder, 'kept'), other: { nonsense: 1 } } },
    { clusters: { other: section(folder, 'other') }, daemon: { refresh: 'never' } },
    { clusters: {} },
  ]) {
    config.value = wrong;
    await expect(daemon.reload()).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  }
  expect([...daemon.clusters.keys()]).toEqual(['kept']);
  expect(daemon.config.refresh).toBe(1000);
  expect(await sender('kept')).toBe(sending);
  config.value = value;
  expect(await daemon.reload()).toMatchObject({ unchanged: ['kept'] });
});

test('a literal secret that changes is a change; a secret in a file is read anew by a receiver that is in trouble', async () => {
  const opened = await testDaemon(
    (folder) => {
      writeFileSync(join(folder, 'url'), 'postgres://nobody@127.0.0.1:1/');
      return {
        literal: { ...section(folder, 'literal'), postgres: { url: server.url(), password: 'one' } },
        file: { ...section(folder, 'file'), postgres: { url: { file: 'url' } } },
      };
    },
    // A try by itself would come too late for this test.
    { pace: { restart: { first: 3_600_000, most: 3_600_000 }, slowRestart: { first: 3_600_000, most: 3_600_000 } } },
  );
  const { daemon, folder, config } = opened;
  await streamIs(opened, 'literal', 'streaming');
  await streamIs(opened, 'file', 'SERVER_UNREACHABLE');
  writeFileSync(join(folder, 'url'), server.url());
  const literal = { ...section(folder, 'literal'), postgres: { url: server.url(), password: 'two' } };
  const { file } = config.value['clusters'] as Record<string, ConfigValue>;
  config.value = { clusters: { literal, file }, daemon: { listen: 'off' } };
  expect(await daemon.reload()).toMatchObject({ restarted: ['literal'], unchanged: ['file'] });
  await streamIs(opened, 'file', 'streaming');
  await streamIs(opened, 'literal', 'streaming');
});
