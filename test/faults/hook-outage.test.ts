/**
 * The receiver of notifications is away: it fails, says nothing, is not there at all. Processes that have something to tell are killed and started
 * meanwhile. Nothing waits for it, nothing grows, and once it is back what matters arrives, in order, each once; only what was being told
 * when a process was killed may come a second time, with the same id.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ArchiveEvent } from '@pgark/sdk';
import { HttpHookReceiver } from '@pgark/sdk/testing';
import { expect, test } from 'vitest';
import { freePort } from '../support/free-port.ts';
import { later } from '../support/later.ts';
import { removeFolder, temporaryFolder } from '../support/postgres.ts';
import { SOURCE_FLAGS } from '../support/source-flags.ts';
import { until } from '../support/until.ts';

const TELLER = fileURLToPath(new URL('../support/event-teller.ts', import.meta.url));
const MIB = 1024 * 1024;

/** A receiver at one address, over any number of absences. */
class Receiver {
  readonly events: ArchiveEvent[] = [];
  readonly #port: number;
  #server: HttpHookReceiver | undefined;

  private constructor(port: number) {
    this.#port = port;
  }

  static async start(): Promise<Receiver> {
    const receiver = new Receiver(await freePort());
    await receiver.comeBack();
    return later(receiver, (started) => started.goAway());
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get server(): HttpHookReceiver {
    if (this.#server === undefined) throw new Error('the receiver is away');
    return this.#server;
  }

  async comeBack(): Promise<void> {
    this.#server = await HttpHookReceiver.start({}, this.#port);
  }

  /** Refuses connections from now on. */
  async goAway(): Promise<void> {
    await this.#server?.close();
    for (const { body } of this.#server?.taken ?? []) this.events.push(JSON.parse(String(body)) as ArchiveEvent);
    this.#server = undefined;
  }

  /** How many it has taken. */
  get count(): number {
    return this.events.length + (this.#server?.taken.length ?? 0);
  }
}

/** A process that tells. */
class Teller {
  readonly #child: ChildProcess;
  #output = '';
  #errors = '';

  constructor(folder: string, url: string, first: number, count: number, mode = 'numbers') {
    const args = [
      ...SOURCE_FLAGS,
      '--expose-gc',
      '--conditions=@pgark/source',
      TELLER,
      folder,
      url,
      String(first),
      String(count),
      mode,
    ];
    this.#child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child.stdout?.on('data', (chunk: Buffer) => (this.#output += chunk.toString()));
    this.#child.stderr?.on('data', (chunk: Buffer) => (this.#errors += chunk.toString()));
    later(this.#child, (child) => child.kill('SIGKILL'));
  }

  /** The last number that it says was emitted. */
  get emitted(): number {
    return this.said.at(-1)?.number ?? 0;
  }

  /** Numbers, with the bytes that are held. */
  get said(): readonly { readonly number: number; readonly memory: number }[] {
    return [...this.#output.matchAll(/^(\d+) (\d+)$/gm)].map(([, number, memory]) => ({
      number: Number(number),
      memory: Number(memory),
    }));
  }

  report(): string {
    return `${this.#output.slice(-500)}\n${this.#errors.slice(-2000)}`;
  }

  async emits(number: number): Promise<void> {
    await until(
      `number ${number} is emitted`,
      () => this.emitted >= number,
      () => this.report(),
    );
  }

  async isDone(): Promise<void> {
    await until(
      'all is emitted',
      () => this.#output.includes('done'),
      () => this.report(),
    );
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    const ended = once(this.#child, 'exit');
    this.#child.kill(signal);
    await ended;
  }
}

function folderOfEvents(): string {
  return later(temporaryFolder('hook-outage'), removeFolder);
}

const waiting = (folder: string): number =>
  readdirSync(join(folder, 'http')).filter((name) => name.endsWith('.json')).length;

const numbers = (events: readonly ArchiveEvent[]): readonly number[] =>
  events.flatMap(({ name, data }) =>
    name === 'guardian.acted' ? [Number((data as { message: string }).message)] : [],
  );

/** Without what came a second time. */
function unique(events: readonly ArchiveEvent[]): readonly ArchiveEvent[] {
  return [...new Map(events.map((event) => [event.id, event])).values()];
}

test('what happens while the receiver is away arrives once it is back, in order, each once, over restarts and kills', async () => {
  const folder = folderOfEvents();
  const receiver = await Receiver.start();
  const first = new Teller(folder, receiver.url, 1, 100_000);
  await until(
    'some arrive',
    () => receiver.count >= 10,
    () => first.report(),
  );
  receiver.server.behave('fail');
  await first.emits(first.emitted + 50);
  receiver.server.behave('hang');
  await first.emits(first.emitted + 50);
  await receiver.goAway();
  await first.emits(first.emitted + 100);
  await first.end('SIGKILL');
  const killedAt = receiver.count;
  expect(waiting(folder)).toBeGreaterThan(150);

  // One of those that was emitted after the last line may have been kept, too.
  const next = first.emitted + 1000;
  const second = new Teller(folder, receiver.url, next, 50);
  await second.isDone();
  await second.end('SIGTERM');
  expect(receiver.count).toBe(killedAt);

  await receiver.comeBack();
  const third = new Teller(folder, receiver.url, next + 50, 0);
  await until(
    'some of them arrive',
    () => receiver.count >= killedAt + 50,
    () => third.report(),
  );
  await third.end('SIGKILL');
  expect(waiting(folder), 'the kill was in the middle').toBeGreaterThan(0);

  const fourth = new Teller(folder, receiver.url, next + 50, 50);
  await fourth.isDone();
  await until(
    'nothing waits',
    () => waiting(folder) === 0,
    () => fourth.report(),
  );
  await fourth.end('SIGTERM');
  await receiver.goAway();

  const events = unique(receiver.events);
  expect(receiver.events.length - events.length, 'told twice').toBeLessThanOrEqual(2);
  const told = numbers(events);
  expect(told).toEqual(told.toSorted((one, other) => one - other));
  expect(new Set(told).size).toBe(told.length);
  const known = told.filter((number) => number <= first.emitted || number >= next);
  expect(known).toEqual([...range(1, first.emitted), ...range(next, next + 99)]);
});

test('two processes tell each event once', async () => {
  const folder = folderOfEvents();
  const receiver = await Receiver.start();
  const tellers = [new Teller(folder, receiver.url, 1, 100), new Teller(folder, receiver.url, 10_001, 100)];
  for (const teller of tellers) await teller.emits(teller === tellers[0] ? 50 : 10_050);
  await receiver.goAway();
  for (const teller of tellers) await teller.isDone();
  await receiver.comeBack();
  await until(
    'nothing waits',
    () => waiting(folder) === 0,
    () => tellers.map((teller) => teller.report()).join(),
  );
  for (const teller of tellers) await teller.end('SIGTERM');
  await receiver.goAway();
  const told = numbers(receiver.events);
  expect(unique(receiver.events).length).toBe(receiver.events.length);
  expect(told.filter((number) => number < 10_000)).toEqual(range(1, 100));
  expect(told.filter((number) => number > 10_000)).toEqual(range(10_001, 10_100));
});

test('a flood while the receiver is away is bounded: the news are counted, the outage is one message, memory stays flat', async () => {
  const folder = folderOfEvents();
  const receiver = await Receiver.start();
  await receiver.goAway();
  const count = 2000;
  const teller = new Teller(folder, receiver.url, 1, count, 'flood');
  await teller.isDone();
  expect(waiting(folder)).toBeLessThan(count / 4);
  const memory = teller.said.map((one) => one.memory);
  const [early = 0, late = 0] = [memory[Math.floor(memory.length / 4)], memory.at(-1)];
  expect(memory.length).toBe(count / 50);
  expect(late - early, `${early} to ${late}`).toBeLessThan(16 * MIB);

  await receiver.comeBack();
  await until(
    'nothing waits',
    () => waiting(folder) === 0,
    () => teller.report(),
  );
  await teller.end('SIGTERM');
  await receiver.goAway();
  const events = receiver.events.filter(({ name }) => name !== 'wal.shipped');
  expect(unique(events).length).toBe(events.length);
  expect(events.filter(({ name }) => name === 'storage.degraded').length).toBe(1);
  const told = numbers(events);
  expect(told).toEqual(told.toSorted((one, other) => one - other));
  expect(told.at(-1)).toBe(count);
  const dropped = events.filter(({ name }) => name === 'hook.dropped');
  const sum = dropped.reduce((total, { data }) => total + (data as { count: number }).count, 0);
  expect(dropped.length).toBe(1);
  expect(sum + told.length).toBe(count);
});

function range(from: number, to: number): readonly number[] {
  return Array.from({ length: to - from + 1 }, (_, at) => from + at);
}
