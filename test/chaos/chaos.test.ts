/**
 * Two servers, two receivers, an agent behind `archive_command`, one repository, and load whose every commit waits for both a standby and
 * the archive. Until the time is over something goes wrong at random: a receiver is killed, both are, the agent, the primary, or the primary
 * for good, with a promotion; or the network between receivers and servers is cut, or falls silent. Then everything but the repository is
 * thrown away.
 */
import { rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { RunningAgent, SCRIPT } from '../support/agent.ts';
import { TestArchive } from '../support/archive.ts';
import { contiguity } from '../support/contiguous.ts';
import { later } from '../support/later.ts';
import { ledger, Writers } from '../support/load.ts';
import { midSegment } from '../support/mid-segment.ts';
import { PostgresServer } from '../support/postgres.ts';
import { Proxy } from '../support/proxy.ts';
import { randomFrom } from '../support/random.ts';
import { PairMember } from '../support/receiver-pair.ts';
import { flushedAll } from '../support/receiving.ts';
import { archiveCommand, restoredAlone } from '../support/restoring.ts';
import { systemIdOf } from '../support/ship-wal.ts';
import { caughtUp, destroyStandby, promote, startStandby } from '../support/standby.ts';
import { until } from '../support/until.ts';

const SECONDS = Number(process.env['PGARK_TEST_CHAOS'] ?? 60);
const SEED = Number(process.env['PGARK_TEST_SEED'] || Date.now() % 1_000_000);
/** A recovery starts a process for each segment: after minutes of load there would be a thousand of 1 MB. */
const MEGABYTES = SECONDS > 120 ? 16 : 1;
const FAULTS = [
  'a receiver is killed',
  'both receivers are killed',
  'the agent is killed',
  'the network is cut',
  'the network is silent',
  'the primary is killed',
  'a promotion',
] as const;
const SETTINGS = {
  wal_keep_size: '1GB',
  max_wal_size: '256MB',
  wal_retrieve_retry_interval: '200ms',
  archive_mode: 'on',
  archive_command: 'false',
};

async function synchronous(server: PostgresServer, names: string): Promise<void> {
  await server.query(`ALTER SYSTEM SET synchronous_standby_names = '${names}'`);
  await server.query('SELECT pg_reload_conf()');
}

/** The two servers behind addresses that stay, whoever is there. */
class Cluster {
  primary: PostgresServer;
  standby: PostgresServer;
  readonly #ways: readonly { port: number }[];

  private constructor(primary: PostgresServer, standby: PostgresServer, ways: readonly { port: number }[]) {
    this.primary = primary;
    this.standby = standby;
    this.#ways = ways;
  }

  static async start(ways: readonly [{ port: number }, { port: number }]): Promise<Cluster> {
    const primary = await PostgresServer.start({ major: 17, segmentMegabytes: MEGABYTES, settings: SETTINGS });
    await primary.stop();
    const standby = await startStandby(primary);
    const cluster = new Cluster(primary, standby, ways);
    cluster.#point();
    return cluster;
  }

  #point(): void {
    [this.primary, this.standby].forEach(({ port }, at) => {
      const way = this.#ways[at];
      if (way !== undefined) way.port = port;
    });
  }

  /** The primary dies for good, the standby takes its place, and gets a standby of its own. */
  async promote(): Promise<void> {
    const dead = this.primary;
    await dead.kill();
    await promote(this.standby);
    this.primary = this.standby;
    await destroyStandby(dead);
    await synchronous(this.primary, '');
    await this.primary.stop();
    this.standby = await startStandby(this.primary);
    this.#point();
  }

  async destroy(): Promise<void> {
    await destroyStandby(this.standby);
    await destroyStandby(this.primary);
  }
}

/** The agent behind `archive_command`, one after the other. */
class ChaosAgent {
  readonly command: string;
  readonly #archive: TestArchive;
  readonly #ended: RunningAgent[] = [];
  #agent: RunningAgent | undefined;

  private constructor(archive: TestArchive, agent: RunningAgent) {
    this.#archive = archive;
    this.#agent = agent;
    this.command = `PGARK_AGENT_SOCKET=${agent.socket} ${SCRIPT} ${archiveCommand(archive)}`;
  }

  static async start(archive: TestArchive): Promise<ChaosAgent> {
    return new ChaosAgent(archive, await RunningAgent.start(archive));
  }

  get #all(): readonly RunningAgent[] {
    return this.#agent === undefined ? this.#ended : [...this.#ended, this.#agent];
  }

  /** Files for which one of them was asked. */
  get pushed(): number {
    return this.#all.flatMap((agent) => agent.answered('wal-push')).length;
  }

  get log(): string {
    return this.#all.map(({ log }) => `--- the agent\n${log}`).join('\n');
  }

  async kill(): Promise<void> {
    const agent = this.#agent;
    if (agent === undefined) return;
    this.#agent = undefined;
    this.#ended.push(agent);
    await agent.stop('SIGKILL');
  }

  /** Begins a new one, over what the killed one has left, where none runs. */
  async begin(): Promise<void> {
    this.#agent ??= await RunningAgent.start(this.#archive);
  }

  async destroy(): Promise<void> {
    await this.#agent?.destroy();
  }
}

test(
  `chaos of ${SECONDS} s (seed ${SEED})`,
  async () => {
    console.log(`seed ${SEED}`);
    const random = randomFrom(SEED);
    const ways: [{ port: number }, { port: number }] = [{ port: 0 }, { port: 0 }];
    const proxies = await Promise.all(ways.map((way) => Proxy.listen(way)));
    for (const proxy of proxies) later(proxy, (made) => made.close());
    const cluster = later(await Cluster.start(ways), (made) => made.destroy());
    const systemId = await systemIdOf(cluster.primary);
    const url = (): string =>
      `postgres://postgres@${proxies.map(({ port }) => `127.0.0.1:${port}`).join(',')}/postgres?target_session_attrs=primary`;
    const archive = later(
      new TestArchive(cluster.primary, {
        codecs: [],
        config: { postgres: { url: url() } },
        receive: { tail: '1s', guardian: { interval: '1s', slots: 'all' } },
      }),
      (made) => made.destroy(),
    );
    const members = await Promise.all(
      ['left', 'right'].map((name) => PairMember.of(archive, { port: proxies[0]?.port ?? 0 }, name, url)),
    );
    for (const member of members) later(member, (made) => made.destroy());
    const agent = later(await ChaosAgent.start(archive), (made) => made.destroy());
    for (const server of [cluster.primary, cluster.standby]) {
      await server.query(`ALTER SYSTEM SET archive_command = '${agent.command}'`);
      await server.query('SELECT pg_reload_conf()');
    }
    const report = (): string => [...members.map(({ output }) => output), agent.log].join('\n');
    const streaming = (): PairMember | undefined => members.find(({ state }) => state === 'streaming');
    for (const member of members) member.start();
    await until('one streams', () => streaming() !== undefined, report);
    await archive.backup();

    const happened = new Map<string, number>();
    let acknowledged: readonly number[] = [];
    let commits = 0;
    for (let round = 0, end = Date.now() + SECONDS * 1000; Date.now() < end || round < FAULTS.length; round++) {
      const fault = FAULTS[round < FAULTS.length ? round : Math.floor(random() * FAULTS.length)] ?? 'a promotion';
      await until('one streams', () => streaming() !== undefined, report);
      await synchronous(cluster.primary, '2 (standby, pgark)');
      const writers = await Writers.start(cluster.primary);
      const begun = writers.total;
      await until('commits', () => writers.total > begun + 50, report);
      await sleep(200 + random() * 1800);
      happened.set(fault, (happened.get(fault) ?? 0) + 1);
      switch (fault) {
        case 'a receiver is killed':
          await (streaming() ?? members[0])?.end('SIGKILL');
          break;
        case 'both receivers are killed':
          await Promise.all(members.map((member) => member.end('SIGKILL')));
          break;
        case 'the agent is killed':
          await agent.kill();
          await cluster.primary.query('SELECT pg_switch_wal()');
          break;
        case 'the network is cut':
          expect(proxies.reduce((sum, proxy) => sum + proxy.cut({ refuse: true }), 0)).toBeGreaterThan(0);
          await sleep(random() * 3000);
          break;
        case 'the network is silent':
          for (const proxy of proxies) proxy.stall();
          await sleep(random() * 3000);
          break;
        case 'the primary is killed':
          await cluster.primary.kill();
          break;
        case 'a promotion':
          await midSegment(cluster.primary, MEGABYTES * 1024 * 1024);
          await cluster.promote();
          break;
      }
      for (const proxy of proxies) proxy.resume();
      for (const member of members) if (!member.isRunning) member.start();
      if (fault === 'the primary is killed') await cluster.primary.start();
      if (fault !== 'the primary is killed' && fault !== 'a promotion') {
        const before = writers.total;
        await until(`commits go on after ${fault}`, () => writers.total > before + 8, report);
      }
      // The command did without it, or waits.
      await agent.begin();
      acknowledged = await writers.stop();
      commits += writers.total - begun;
    }
    // What was under way when a server died may be there or not: a last load says where each session is.
    await until('one streams', () => streaming() !== undefined, report);
    await caughtUp(cluster.primary, cluster.standby);
    const here = await ledger(cluster.primary);
    here.last.forEach((last, session) => expect(last).toBeGreaterThanOrEqual(acknowledged[session] ?? 0));
    await cluster.primary.query('SELECT pg_switch_wal()');
    await flushedAll(cluster.primary);
    const active = streaming();
    for (const member of members) if (member !== active) expect(await member.end('SIGTERM'), report()).toBe(0);
    expect(await active?.end('SIGTERM'), report()).toBe(0);

    const events = members.flatMap((member) => member.events);
    for (const bad of ['wal.conflict', 'wal.gap'])
      expect(
        events.map(({ event }) => event),
        report(),
      ).not.toContain(bad);
    const { segments, missing } = await contiguity(archive.repository, systemId, MEGABYTES * 1024 * 1024);
    console.log(
      `${[...happened].map(([fault, count]) => `${fault}: ${count}`).join('; ')}; ${commits} commits, ` +
        `${members.reduce((sum, member) => sum + member.takeOvers, 0)} take-overs, ${agent.pushed} files pushed by the agent; segments by timeline ` +
        [...segments].map(([timeline, count]) => `${timeline}: ${count}`).join(', '),
    );
    expect([...happened.keys()].sort()).toEqual([...FAULTS].sort());
    expect(agent.pushed, report()).toBeGreaterThan(0);
    expect(missing, report()).toEqual([]);
    for (const { spool } of members) rmSync(spool, { recursive: true });
    await cluster.standby.stop('immediate');
    const clone = await restoredAlone(archive, cluster.primary);
    const found = await ledger(clone);
    expect(found.holes).toBe(0);
    expect(found.last).toEqual(here.last);
  },
  600_000 + SECONDS * 3000,
);
