import { rmSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { segmentName } from '../../src/postgres/wal-file.ts';
import type { Outlet } from '../../src/receive/outlet.ts';
import type { WalPosition } from '../../src/receive/spool.ts';
import { TailShipper } from '../../src/receive/tail-shipper.ts';
import { Faulty, Scene, segment, SIZE, SYSTEM, until } from './shipping-scene.ts';

let scene: Scene;
let confirmed: WalPosition[];
let wanted: number;
/** What is in the spool and not in a repository. */
let missing: Map<Outlet, bigint>;
/** The history of the timeline is on its way. */
let held = false;
beforeEach(() => {
  scene = new Scene();
  confirmed = [];
  wanted = 0;
  missing = new Map();
  held = false;
});
afterEach(() => {
  scene.destroy();
});

function shipper(outlets: readonly Outlet[]): TailShipper {
  // That of this test, also for what ends late.
  const seen = confirmed;
  return new TailShipper({
    spool: scene.spool,
    system: { systemId: SYSTEM, segmentSize: SIZE },
    outlets,
    interval: 1,
    firstMissing: (outlet) => missing.get(outlet),
    isHeld: () => held,
    want: () => (wanted += 1),
    logger: scene.logger,
    onConfirmed: (position) => seen.push(position),
  });
}

const name = (number: number): string => segmentName(1, BigInt(number), SIZE);

/** A segment is open, filled with something that is not zero. */
function open(tail: TailShipper, number: number): void {
  writeFileSync(scene.spool.path(SYSTEM, `${name(number)}.partial`), segment(1, number).fill(number, 40));
  tail.opened(name(number), BigInt(number * SIZE));
}

/** The highest position that was confirmed, in bytes behind the start of a segment. */
const reached = (number: number): number => Math.max(...confirmed.map(({ lsn }) => Number(lsn))) - number * SIZE;

/** Gives a slice, as the receiver does when one is wanted. */
async function give(tail: TailShipper, number: number, from: number, to: number): Promise<void> {
  const before = wanted;
  tail.take({ name: name(number), from, to });
  await until(
    () => wanted > before,
    () => `a slice is wanted behind ${to}`,
  );
}

const tailOf = async ({ repository }: Faulty, number: number): Promise<number | undefined> =>
  (await repository.wal(SYSTEM).tail(name(number)))?.byteLength;

test.each<[string, (other: Faulty) => void, (other: Faulty) => void]>([
  ['fails', (other) => (other.down = 'STORAGE_UNAVAILABLE'), (other) => (other.down = undefined)],
  ['says nothing', (other) => (other.hung = true), (other) => (other.hung = false)],
])(
  'a repository that %s stops neither slices nor confirmations; when it is back it gets those of the segment that is open then',
  async (_, fail, mend) => {
    const [up, other] = [new Faulty('up'), new Faulty('other')];
    const tail = shipper(scene.outlets(up.repository, other.repository));
    open(tail, 5);
    await give(tail, 5, 0, 1000);
    await until(
      () => other.stored.some((key) => key.includes('.tail/')),
      () => other.stored.join(' '),
    );
    fail(other);
    await give(tail, 5, 1000, 2000);
    await give(tail, 5, 2000, 3000);
    expect(reached(5)).toBe(3000);
    for (let number = 6; number < 12; number++) {
      open(tail, number);
      await give(tail, number, 0, 500 + number);
    }
    expect(reached(11)).toBe(511);
    expect(other.underWay).toBeLessThanOrEqual(1);
    expect(other.calls).toBeGreaterThan(1);
    mend(other);
    await give(tail, 11, 511, 600);
    await tail.finish(BigInt(11 * SIZE + 700), 10_000);
    expect([await tailOf(up, 11), await tailOf(other, 11)]).toEqual([700, 700]);
    expect(await tailOf(up, 5)).toBe(3000);
    expect(await tailOf(other, 5)).toBeGreaterThanOrEqual(1000);
    for (let number = 7; number < 11; number++) expect(await tailOf(other, number)).toBeUndefined();
    expect(other.most).toBe(1);
  },
);

test('what is confirmed is what the repository that is ahead has without a hole', async () => {
  const [up, other] = [new Faulty('up'), new Faulty('other')];
  const outlets = scene.outlets(up.repository, other.repository);
  const tail = shipper(outlets);
  missing.set(outlets[0], 4n);
  missing.set(outlets[1], 3n);
  open(tail, 5);
  await give(tail, 5, 0, 1000);
  expect(reached(5)).toBe(-SIZE);
  // The one that was behind has caught up, the other has not.
  missing.delete(outlets[1]);
  tail.shipped(outlets[1], name(3));
  await until(
    () => reached(5) === 1000,
    () => String(reached(5)),
  );
  // The first one has the whole segment before the other has a slice of its end.
  other.hung = true;
  missing.delete(outlets[0]);
  tail.shipped(outlets[0], name(5));
  expect(reached(5)).toBe(SIZE);
  other.hung = false;
  await tail.finish(BigInt(5 * SIZE + 1000), 10_000);
});

test('while all are down nothing is confirmed, and no further slice is asked for', async () => {
  const [up, other] = [new Faulty('up'), new Faulty('other')];
  const tail = shipper(scene.outlets(up.repository, other.repository));
  up.down = other.down = 'STORAGE_UNAVAILABLE';
  open(tail, 5);
  const before = wanted;
  tail.take({ name: name(5), from: 0, to: 1000 });
  await until(
    () => up.calls > 3 && other.calls > 3,
    () => `${up.calls} ${other.calls}`,
  );
  expect(wanted).toBe(before);
  expect(reached(5)).toBe(0);
  other.down = undefined;
  await until(
    () => wanted > before,
    () => 'a slice is wanted',
  );
  expect(reached(5)).toBe(1000);
  up.down = undefined;
  await tail.finish(BigInt(5 * SIZE + 1000), 10_000);
  expect([await tailOf(up, 5), await tailOf(other, 5)]).toEqual([1000, 1000]);
});

test('at the end one that says nothing takes the time that there is, and the other has all', async () => {
  const [up, other] = [new Faulty('up'), new Faulty('other')];
  const tail = shipper(scene.outlets(up.repository, other.repository));
  open(tail, 5);
  await give(tail, 5, 0, 1000);
  other.hung = true;
  await tail.finish(BigInt(5 * SIZE + 5000), 300);
  expect(await tailOf(up, 5)).toBe(5000);
  expect(other.underWay).toBe(1);
  other.hung = false;
});

test('H-04 a slice whose segment was removed from the spool is not archived, and is not confirmed: that is said', async () => {
  const [up, other] = [new Faulty('up'), new Faulty('other')];
  const tail = shipper(scene.outlets(up.repository, other.repository));
  open(tail, 5);
  await give(tail, 5, 0, 1000);
  rmSync(scene.spool.path(SYSTEM, `${name(5)}.partial`));
  await give(tail, 5, 1000, 2000);
  await give(tail, 5, 2000, 3000);
  await tail.finish(BigInt(5 * SIZE + 8192), 10_000);
  expect(reached(5)).toBe(1000);
  expect(await tailOf(up, 5)).toBe(1000);
  const told = scene.logs.filter(
    (line) => line.startsWith('error:') && line.includes(`${name(5)}.partial was removed`),
  );
  expect(told).toHaveLength(2);
});

test('a segment that has left the spool because the repository has it is confirmed once that is said', async () => {
  const up = new Faulty('up');
  const [outlet] = scene.outlets(up.repository);
  const tail = shipper([outlet]);
  open(tail, 5);
  await give(tail, 5, 0, 1000);
  rmSync(scene.spool.path(SYSTEM, `${name(5)}.partial`));
  await give(tail, 5, 1000, 2000);
  expect(reached(5)).toBe(1000);
  tail.shipped(outlet, name(5));
  expect(reached(5)).toBe(SIZE);
  await give(tail, 5, 2000, SIZE);
  expect(scene.logs.filter((line) => line.startsWith('error:'))).toEqual([]);
});

test('H-08 no slice goes before the history of its timeline; what waits goes with the next one', async () => {
  const faulty = new Faulty('main');
  const [outlet] = scene.outlets(faulty.repository);
  const tail = shipper([outlet]);
  open(tail, 5);
  held = true;
  await give(tail, 5, 0, 1000);
  expect(faulty.stored.filter((key) => key.includes('.tail'))).toEqual([]);
  held = false;
  await give(tail, 5, 1000, 2000);
  await until(
    () => reached(5) === 2000,
    () => faulty.stored.join(' '),
  );
  expect(await tailOf(faulty, 5)).toBe(2000);
  await tail.finish(BigInt(5 * SIZE + 2000), 1000);
});
