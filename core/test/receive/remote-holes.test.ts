/** What `ack: remote` may count: of several repositories only what one has without a hole. */
import { writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { segmentName } from '../../src/postgres/wal-file.ts';
import { HoleWatch } from '../../src/receive/hole-watch.ts';
import type { Outlet } from '../../src/receive/outlet.ts';
import type { Shipper } from '../../src/receive/shipper.ts';
import { TailShipper } from '../../src/receive/tail-shipper.ts';
import { Faulty, Scene, segment, SIZE, SYSTEM, until } from './shipping-scene.ts';

let scene: Scene;
beforeEach(() => {
  scene = new Scene();
});
afterEach(() => {
  scene.destroy();
});

const name = (number: number, timeline = 1): string => segmentName(timeline, BigInt(number), SIZE);

async function holding(called: string, held: readonly number[]): Promise<Faulty> {
  const made = new Faulty(called);
  await made.repository.open({ create: true });
  for (const number of held) await made.repository.wal(SYSTEM).push(name(number), { bytes: segment(1, number) });
  return made;
}

/** Both ways out of the spool, as a run has them. */
class Run {
  readonly outlets: readonly Outlet[];
  readonly shipper: Shipper;
  readonly tail: TailShipper;
  /** The highest position that was confirmed. */
  confirmed = 0n;
  wanted = 0;

  constructor(places: readonly Faulty[], isNew = false) {
    this.outlets = scene.outlets(...places.map(({ repository }) => repository));
    const { outlets } = this;
    const { onEvent, logger } = scene;
    const holes = new HoleWatch({ systemId: SYSTEM, outlets, owed: () => [], isNew: () => isNew, onEvent, logger });
    const shipper = scene.shipper(outlets, {
      holes,
      onShipped: (outlet, file) => {
        this.tail.shipped(outlet, file.name);
      },
    });
    this.shipper = shipper;
    this.tail = new TailShipper({
      spool: scene.spool,
      system: { systemId: SYSTEM, segmentSize: SIZE },
      outlets,
      interval: 1,
      firstMissing: (outlet) => shipper.firstMissing(outlet),
      isWhole: (outlet, to, signal) => shipper.isWhole(outlet, to, SIZE, signal),
      want: () => (this.wanted += 1),
      logger,
      onConfirmed: ({ lsn }) => {
        if (lsn > this.confirmed) this.confirmed = lsn;
      },
    });
  }

  get second(): Outlet {
    const [, second] = this.outlets;
    if (second === undefined) throw new Error('there is one repository only');
    return second;
  }

  /** A segment is open, and its first bytes are a slice. */
  async open(number: number, bytes = 1000): Promise<void> {
    writeFileSync(scene.spool.path(SYSTEM, `${name(number)}.partial`), segment(1, number).fill(number, 40));
    this.tail.opened(name(number), BigInt(number * SIZE));
    await this.slice(number, 0, bytes);
  }

  async slice(number: number, from: number, to: number): Promise<void> {
    const { wanted } = this;
    this.tail.take({ name: name(number), from, to });
    await until(
      () => this.wanted > wanted,
      () => `a slice is wanted behind ${to}`,
    );
  }

  /** Waits until a position behind the start of a segment is confirmed. */
  async reaches(number: number, offset: number): Promise<void> {
    await until(
      () => this.confirmed === BigInt(number * SIZE + offset),
      () => `${this.confirmed} of ${number * SIZE + offset}\n${scene.logs.join('\n')}`,
    );
  }

  async end(): Promise<void> {
    for (const outlet of this.outlets) outlet.finish();
    await this.tail.finish(0n, 1);
    await this.shipper.finish(10_000);
  }
}

const has = (place: Faulty, file: string): Promise<void> =>
  until(
    () => place.stored.some((key) => key.includes(file)),
    () => place.stored.join(' '),
  );

test('H-04 one that is back with a hole takes all WAL and counts for none of it; the other one counts when it is back', async () => {
  const near = await holding('near', [97, 98, 99]);
  const far = await holding('far', [1, 2, 3]);
  const run = new Run([near, far]);
  far.down = 'STORAGE_UNAVAILABLE';
  await run.open(100);
  await run.reaches(100, 1000);
  far.down = undefined;
  near.down = 'STORAGE_UNAVAILABLE';
  run.shipper.add(scene.put(100));
  await run.open(101, 8192);
  run.shipper.add(scene.put(101));
  await run.open(102, 2000);
  await has(far, name(101));
  await until(
    () => run.shipper.left(run.second) === 0,
    () => scene.logs.join('\n'),
  );
  expect(far.files).toEqual([1, 2, 3, 100, 101].map((number) => name(number)));
  expect(await far.repository.wal(SYSTEM).tail(name(102))).toHaveLength(2000);
  expect(run.confirmed).toBe(BigInt(100 * SIZE + 1000));
  expect(scene.named('wal.state').filter(({ data }) => data['state'] === 'REPOSITORY_BEHIND')).toHaveLength(1);
  near.down = undefined;
  await run.slice(102, 2000, 3000);
  await run.reaches(102, 3000);
  await run.end();
});

test('what it gets from the spool is no hole, also when some of it is there already; then nothing more is asked of the storage', async () => {
  const near = await holding('near', [9]);
  const far = await holding('far', [2, 3, 5, 7]);
  near.down = 'STORAGE_UNAVAILABLE';
  for (const number of [4, 6, 8, 9]) scene.put(number);
  const run = new Run([near, far]);
  far.hung = true;
  run.shipper.addLeftovers();
  run.tail.opened(name(10), BigInt(10 * SIZE));
  far.hung = false;
  await run.reaches(10, 0);
  writeFileSync(scene.spool.path(SYSTEM, `${name(10)}.partial`), segment(1, 10));
  await run.slice(10, 0, 1000);
  await run.reaches(10, 1000);
  expect(scene.named('wal.state').map(({ data }) => data['state'])).not.toContain('REPOSITORY_BEHIND');
  await until(
    () => run.shipper.left(run.second) === 0,
    () => scene.logs.join('\n'),
  );
  far.listed.length = 0;
  await run.open(11);
  await run.reaches(11, 1000);
  expect(far.listed).toEqual([]);
  // It would have been seen.
  await run.shipper.isWhole(run.second, { timeline: 1, lsn: 0n }, SIZE, new AbortController().signal);
  expect(far.listed).not.toEqual([]);
  await run.end();
});

test('a segment that does not follow on the last one is a hole until it is known to be none', async () => {
  const near = await holding('near', [9]);
  const far = await holding('far', [9]);
  const run = new Run([near, far]);
  await run.open(10);
  await run.reaches(10, 1000);
  run.shipper.add(scene.put(10));
  // The run goes on at the end of another repository.
  await run.open(20);
  await until(
    () => scene.named('wal.state').filter(({ data }) => data['state'] === 'REPOSITORY_BEHIND').length === 2,
    () => scene.logs.join('\n'),
  );
  await has(far, name(20));
  expect(run.confirmed).toBeLessThanOrEqual(BigInt(11 * SIZE));
  await run.end();
});

test('facts that cannot be read keep a repository out: whether it has a hole is not known', async () => {
  const far = await holding('far', [4, 5]);
  await far.repository.facts(SYSTEM).add('wal', { kind: 'gap', time: 0, data: {} });
  const [fact = ''] = far.stored.filter((key) => key.includes('/facts/'));
  await far.storage.remove([fact]);
  const broken = async function* (): AsyncGenerator<Uint8Array> {
    yield Buffer.from('{');
  };
  await far.storage.put(fact, broken(), { ifAbsent: true });
  const near = await holding('near', [9]);
  const run = new Run([near, far]);
  near.hung = true;
  await run.open(10);
  await until(
    () => scene.logs.some((line) => line.includes('cannot look for holes')),
    () => scene.logs.join('\n'),
  );
  await run.slice(10, 1000, 2000);
  expect(run.confirmed).toBe(0n);
  near.hung = false;
  await run.reaches(10, 2000);
  await run.end();
});

describe('a repository that holds nothing', () => {
  test('beside one that does is not what is acknowledged in this run', async () => {
    const near = await holding('near', [97, 98, 99]);
    const far = await holding('far', []);
    const run = new Run([near, far]);
    await run.open(100);
    await run.reaches(100, 1000);
    near.down = 'STORAGE_UNAVAILABLE';
    await run.slice(100, 1000, 2000);
    await until(
      () => far.stored.filter((key) => key.includes('.tail/')).length === 2,
      () => far.stored.join(' '),
    );
    expect(run.confirmed).toBe(BigInt(100 * SIZE + 1000));
    expect(scene.named('wal.state').map(({ data }) => data['state'])).not.toContain('REPOSITORY_BEHIND');
    await run.end();
  });

  test('beside one that was used before and is down waits for that one, which may hold WAL', async () => {
    const near = await holding('near', []);
    const far = await holding('far', []);
    // An earlier run, of which the open segment is all that there is.
    const earlier = new Run([near, far], true);
    await earlier.open(100);
    await earlier.reaches(100, 1000);
    await earlier.end();
    near.down = 'STORAGE_UNAVAILABLE';
    const run = new Run([near, far]);
    await run.open(100);
    await run.slice(100, 1000, 2000);
    expect(run.confirmed).toBe(0n);
    near.down = undefined;
    await run.slice(100, 2000, 3000);
    await run.reaches(100, 3000);
    await run.end();
  });

  test('counts when the archive begins with this run, also while another one is down', async () => {
    const near = await holding('near', []);
    const far = await holding('far', []);
    near.down = 'STORAGE_UNAVAILABLE';
    const run = new Run([near, far], true);
    await run.open(100);
    await run.reaches(100, 1000);
    await run.end();
  });
});
