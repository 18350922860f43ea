/** What the guardian sees and does: the slot, holes in the repositories, and WAL that nobody has any more. */
import { mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { GuardianConfig } from '../../core/src/config/config.ts';
import { Guardian } from '../../core/src/guardian/guardian.ts';
import { parseLsn } from '../../core/src/postgres/lsn.ts';
import { resolveTarget } from '../../core/src/postgres/target.ts';
import { segmentName } from '../../core/src/postgres/wal-file.ts';
import { fill } from '../support/fill.ts';
import { TestArchive } from '../support/archive.ts';
import { runCli } from '../support/cli.ts';
import { fsRepository } from '../support/fs-repository.ts';
import { later } from '../support/later.ts';
import { PostgresServer, temporaryFolder, removeFolder, type InitOptions, type Major } from '../support/postgres.ts';
import { flushedAll, hashes, Receiving, type SeenEvent } from '../support/receiving.ts';
import { silentLogger } from '../support/silent-logger.ts';
import { systemIdOf } from '../support/ship-wal.ts';
import { until } from '../support/until.ts';

const SEGMENT = 1024 * 1024;
const CONFIG: GuardianConfig = {
  interval: 200,
  maxLag: 1 << 30,
  closeHoles: true,
  backup: false,
  slots: 'primary',
  patroni: [],
};

async function start(options: InitOptions = {}): Promise<PostgresServer> {
  return later(await PostgresServer.start({ segmentMegabytes: 1, ...options }), (server) => server.destroy());
}

/** A guardian without a receiver, and what it says. */
async function guard(
  server: PostgresServer,
  { url = server.url(), config = {} }: { readonly url?: string; readonly config?: Partial<GuardianConfig> } = {},
): Promise<SeenEvent[]> {
  const events: SeenEvent[] = [];
  const guardian = new Guardian({
    target: await resolveTarget({ url }, { env: {}, home: '/nonexistent', applicationName: 'pgark' }),
    slot: 'pgark',
    config: { ...CONFIG, ...config },
    systemId: await systemIdOf(server),
    segmentSize: SEGMENT,
    repositories: [],
    folder: '/nonexistent',
    isStreaming: () => false,
    onEvent: (name, data) => events.push({ name, data: { ...data } }),
    logger: silentLogger,
  });
  later(guardian, (started) => started.stop());
  guardian.start();
  return events;
}

const stateOf = (events: readonly SeenEvent[], subject: string): unknown =>
  events.findLast((event) => subjectOf(event) === subject)?.data['state'];

const subjectOf = ({ name, data }: SeenEvent): unknown =>
  name === 'slot.state' ? 'slot' : name === 'receive.lag' ? 'lag' : data['subject'];

test.each([15, 18] as const)(
  'H-09 PostgreSQL %i: a slot on its way from reserved to lost, each state told once',
  async (major: Major) => {
    const server = await start({
      major,
      settings: { max_slot_wal_keep_size: '10MB', min_wal_size: '2MB', max_wal_size: '2MB', checkpoint_timeout: '1h' },
    });
    await server.query(`SELECT pg_create_physical_replication_slot('pgark', true)`);
    const events = await guard(server, { config: { maxLag: 4 * SEGMENT } });
    const report = (): string => JSON.stringify(events, undefined, 1);
    await until('the slot is reserved', () => stateOf(events, 'slot') === 'reserved', report);
    await until('the server is a primary', () => stateOf(events, 'server') === 'primary', report);
    for (const state of ['AT_RISK', 'SLOT_INVALIDATED']) {
      for (let round = 0; stateOf(events, 'slot') !== state && round < 60; round++) {
        await fill(server, 1);
        if (state === 'SLOT_INVALIDATED') await server.query('CHECKPOINT');
        await new Promise((resolve) => setTimeout(resolve, 300));
      }
      expect(stateOf(events, 'slot'), report()).toBe(state);
    }
    expect(await server.value('SELECT wal_status FROM pg_replication_slots')).toBe('lost');
    expect(events.map(({ data }) => data['state'])).toContain('RECEIVER_LAGGING');
    await server.query(`SELECT pg_drop_replication_slot('pgark')`);
    await until('the slot is missing', () => stateOf(events, 'slot') === 'SLOT_MISSING', report);
    const told = events.filter(({ name }) => name === 'slot.state').map(({ data }) => data['state']);
    expect(told).toEqual(['reserved', 'AT_RISK', 'SLOT_INVALIDATED', 'SLOT_MISSING']);
  },
);

test('H-12 a role that may only replicate, a server that is down: unknown, never a good state', async () => {
  const server = await start();
  await server.query('CREATE ROLE replicator LOGIN REPLICATION');
  server.setHba(['host replication replicator 127.0.0.1/32 trust', 'host all postgres 127.0.0.1/32 trust']);
  await server.query('SELECT pg_reload_conf()');
  const blind = await guard(server, { url: server.url('replicator') });
  const seeing = await guard(server);
  for (const subject of ['server', 'slot', 'lag'])
    await until(`${subject} is unknown`, () => stateOf(blind, subject) === 'unknown');
  await until('the other one sees the server', () => stateOf(seeing, 'server') === 'primary');
  await server.stop();
  await until('it is unknown to the other one too', () => stateOf(seeing, 'server') === 'unknown');
  await server.start();
  await until('and known again', () => stateOf(seeing, 'server') === 'primary');
  expect(blind.every(({ data }) => data['state'] === 'unknown')).toBe(true);
});

/** Deletes a segment from a repository on the file system, behind the back of everybody. */
function lose(repository: string, systemId: string, name: string): void {
  const folder = join(repository, 'main', systemId, 'wal', name.slice(0, 8), name.slice(8, 16));
  const files = readdirSync(folder).filter((file) => file.startsWith(`${name}-`));
  expect(files).toHaveLength(1);
  rmSync(join(folder, files[0] ?? ''));
}

test.each(['another repository', 'a server'] as const)(
  'a hole in a repository is closed from %s, byte for byte',
  async (source) => {
    const server = await start({ settings: { wal_keep_size: '500MB' } });
    const systemId = await systemIdOf(server);
    const second = later(temporaryFolder('second'), removeFolder);
    const receiver = later(new Receiving({ config: { guardian: CONFIG } }), (made) => made.destroy());
    const copy = await fsRepository(second, { compressed: false, name: 'second' });
    const repositories = source === 'a server' ? [receiver.repository] : [receiver.repository, copy];
    await receiver.stream(server.port, { repositories });
    await fill(server, 6);
    await flushedAll(server);
    await receiver.shipped(systemId);
    await receiver.waitFor('guardian.state', ({ subject, state }) => subject === 'archive' && state === 'whole');
    const names = [...(await receiver.archived(systemId)).keys()].sort();
    const lost = names.slice(2, 4);
    for (const name of lost) lose(join(receiver.folder, 'repository'), systemId, name);
    expect((await receiver.archived(systemId)).has(lost[0] ?? '')).toBe(false);
    const before = receiver.events.length;
    const { message } = await receiver.waitFor('guardian.acted', ({ action }) => action === 'hole', before);
    expect(message).toContain(
      source === 'a server' ? `2 from server 127.0.0.1:${server.port}` : '2 from repository second',
    );
    await receiver.waitFor('guardian.state', ({ state }) => state === 'whole', before);
    const archived = await receiver.archived(systemId);
    const theirs = hashes(join(server.data, 'pg_wal'), /^[0-9A-F]{24}$/);
    for (const name of lost) expect(archived.get(name), name).toBe(theirs.get(name));
    const names2 = receiver.events.map(({ name }) => name);
    expect(names2).not.toContain('wal.gap');
    expect(await receiver.repository.facts(systemId).list('wal')).toEqual([]);
    expect(readdirSync(join(receiver.spool, 'main')).filter((name) => name.startsWith('holes'))).toEqual([]);
    await receiver.stop();
  },
);

test('a hole that nobody can close: a state, an event, a record that list and show tell, and with "backup" a new backup', async () => {
  const server = await start({ settings: { min_wal_size: '2MB', max_wal_size: '2MB', wal_keep_size: '0' } });
  const archive = later(
    new TestArchive(server, { codecs: [], receive: { guardian: { interval: '1s', backup: true } } }),
    (made) => made.destroy(),
  );
  const receiver = later(await archive.receive(server, ['--json']), (started) => started.kill());
  const { id, startLsn } = await archive.backup();
  await fill(server, 6);
  await archive.switchWal(server);
  const systemId = await systemIdOf(server);
  const number = parseLsn(startLsn) / BigInt(SEGMENT) + 3n;
  const name = segmentName(1, number, SEGMENT);
  // The server must not have it any more.
  const kept = async (): Promise<boolean> => {
    await fill(server, 2);
    await server.query('CHECKPOINT');
    return (await server.value(`SELECT count(*) FROM pg_ls_waldir() WHERE name = '${name}'`)) === '0';
  };
  await until('the server has removed it', kept);
  lose(archive.repository, systemId, name);
  await receiver.cli.waitFor(/HOLE/, { milliseconds: 90_000 });
  const report = (): string => receiver.output;
  const events = (): { event: string; state?: string; from?: string; action?: string }[] =>
    receiver.cli
      .stdout()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { event: string });
  await until(
    'a new backup',
    () => events().some(({ event, action }) => event === 'guardian.acted' && action === 'backup'),
    report,
  );
  const gaps = events().filter(({ event }) => event === 'wal.gap');
  expect(
    gaps.map(({ from }) => parseLsn(from ?? '')),
    report(),
  ).toEqual([number * BigInt(SEGMENT)]);
  // A later backup makes it harmless: nothing is missing behind that one.
  await until(
    'the archive is whole',
    () =>
      events().findLast(({ event, state }) => event === 'guardian.state' && (state === 'whole' || state === 'HOLE'))
        ?.state === 'whole',
    report,
  );
  const shown = await archive.json<{ gaps: { from: string }[] }>(['show', id]);
  expect(shown.gaps).toHaveLength(1);
  expect(await archive.run(['show', id])).toMatch(/GAP .*on timeline 1/);
  expect((await archive.json<{ gaps: unknown[] }>(['show', 'latest'])).gaps).toEqual([]);
  const list = await runCli(['--config', archive.config, 'list']);
  expect(list.code).toBe(0);
  expect(list.stderr).toContain('WAL is lost from');
  expect(await receiver.stop(), report()).toBe(0);
});

test('H-12 an empty folder in the place of the repository: unknown, not whole, and nothing is brought into it', async () => {
  const server = await start({ settings: { wal_keep_size: '500MB' } });
  const systemId = await systemIdOf(server);
  const receiver = later(new Receiving({ config: { guardian: CONFIG } }), (made) => made.destroy());
  await receiver.stream(server.port);
  await fill(server, 3);
  await flushedAll(server);
  await receiver.shipped(systemId);
  await receiver.waitFor('guardian.state', ({ state }) => state === 'whole');
  await receiver.stop();
  const folder = join(receiver.folder, 'repository');
  renameSync(folder, `${folder}.mounted`);
  mkdirSync(folder);
  const before = receiver.events.length;
  await receiver.stream(server.port);
  const { message } = await receiver.waitFor(
    'guardian.state',
    ({ subject, state }) => subject === 'archive' && state === 'unknown',
    before,
  );
  expect(message).toContain('repository primary is no longer there');
  expect(receiver.events.slice(before).map(({ data }) => data['state'])).not.toContain('whole');
  await receiver.stop();
  expect(readdirSync(folder).filter((name) => !name.startsWith('.'))).toEqual([]);
});
