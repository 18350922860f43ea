import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ErrorCode } from '../../src/contracts/errors.ts';
import { segmentName } from '../../src/postgres/wal-file.ts';
import { archiveEnds } from '../../src/receive/archive-ends.ts';
import type { Shipper } from '../../src/receive/shipper.ts';
import { AHEAD, ShippingLane, type SpooledFile } from '../../src/receive/shipping-lane.ts';
import { Faulty, Scene, segment, SIZE, SYSTEM, until } from './shipping-scene.ts';

let scene: Scene;
beforeEach(() => {
  scene = new Scene();
});
afterEach(() => {
  scene.destroy();
});

const name = (number: number): string => segmentName(1, BigInt(number), SIZE);
const numbers = (from: number, to: number): readonly number[] =>
  Array.from({ length: to - from }, (_, at) => from + at);

function add(shipper: Shipper, from: number, to: number): void {
  for (const number of numbers(from, to)) shipper.add(scene.put(number));
}

test.each<[string, (other: Faulty) => void, (other: Faulty) => void]>([
  ['fails', (other) => (other.down = 'STORAGE_UNAVAILABLE'), (other) => (other.down = undefined)],
  ['says nothing', (other) => (other.hung = true), (other) => (other.hung = false)],
])(
  'H-04 a repository that %s holds no other one up: the other has all, the spool keeps all, and it catches up in order',
  async (_, fail, mend) => {
    const [up, other] = [new Faulty('up'), new Faulty('other')];
    const outlets = scene.outlets(up.repository, other.repository);
    const shipper = scene.shipper(outlets);
    add(shipper, 1, 4);
    await until(
      () => scene.spooled.length === 0,
      () => scene.spooled.join(' '),
    );
    fail(other);
    const calls = other.calls;
    const end = 4 + Number(AHEAD) + 10;
    add(shipper, 4, end);
    await until(
      () => up.files.length === end - 1,
      () => up.files.join(' '),
    );
    expect(other.calls).toBeGreaterThan(calls);
    expect(other.files).toHaveLength(3);
    expect(scene.spooled).toEqual(numbers(4, end).map(name));
    expect([shipper.left(outlets[0]), shipper.left(outlets[1])]).toEqual([0, end - 4]);
    expect([shipper.firstMissing(outlets[0]), shipper.firstMissing(outlets[1])]).toEqual([undefined, 4n]);
    expect(scene.named('wal.shipped')).toHaveLength(3);

    mend(other);
    add(shipper, end, end + 2);
    await until(
      () => scene.spooled.length === 0,
      () => scene.spooled.join(' '),
    );
    expect(await shipper.finish(10_000)).toBe(0);
    // In order, as far as two at once have one.
    const positions = other.files.map((file) => numbers(1, end + 2).indexOf(Number.parseInt(file.slice(16), 16)));
    for (const [at, position] of positions.entries()) expect(Math.abs(position - at)).toBeLessThanOrEqual(1);
    const keys = ({ stored }: Faulty): readonly string[] => stored.filter((key) => key.includes('/wal/')).toSorted();
    expect(keys(other)).toEqual(keys(up));
    expect(other.most).toBeLessThanOrEqual(2);
    expect(scene.named('wal.shipped')).toHaveLength(end + 1);
  },
);

describe('a new run while a repository is down', () => {
  test('what the others have confirmed is not compared again: new segments come first, and nothing is lost for it', async () => {
    const [up, other] = [new Faulty('up'), new Faulty('other')];
    const outlets = scene.outlets(up.repository, other.repository);
    const first = scene.shipper(outlets);
    add(first, 1, 3);
    await until(
      () => scene.spooled.length === 0,
      () => scene.spooled.join(' '),
    );
    other.down = 'STORAGE_UNAVAILABLE';
    add(first, 3, 10);
    await until(
      () => first.left(outlets[0]) === 0,
      () => up.files.join(' '),
    );
    for (const outlet of outlets) outlet.finish();
    expect(await first.finish(10_000)).toBe(7);

    const again = scene.outlets(up.repository, other.repository);
    const second = scene.shipper(again);
    const calls = up.calls;
    second.addLeftovers();
    expect([second.left(again[0]), second.left(again[1])]).toEqual([0, 7]);
    expect(up.calls).toBe(calls);
    second.add(scene.put(10));
    await until(
      () => second.left(again[0]) === 0,
      () => up.files.join(' '),
    );
    expect(up.files.at(-1)).toBe(name(10));
    expect(scene.spooled).toHaveLength(8);
    other.down = undefined;
    await until(
      () => scene.spooled.length === 0,
      () => scene.spooled.join(' '),
    );
    expect([...other.files].sort()).toEqual(numbers(1, 11).map(name));
    expect(await second.finish(10_000)).toBe(0);
    // Nothing is remembered of files that are gone.
    scene.shipper(again).addLeftovers();
    scene.put(3);
    const third = scene.shipper(again);
    third.addLeftovers();
    expect(third.left(again[0])).toBe(1);
    expect(await third.finish(10_000)).toBe(0);
  });

  test('H-23 another repository under the same name has confirmed nothing', async () => {
    const [up, other] = [new Faulty('up'), new Faulty('other')];
    const outlets = scene.outlets(up.repository, other.repository);
    other.down = 'STORAGE_UNAVAILABLE';
    const first = scene.shipper(outlets);
    add(first, 1, 4);
    await until(
      () => first.left(outlets[0]) === 0,
      () => up.files.join(' '),
    );
    for (const outlet of outlets) outlet.finish();
    expect(await first.finish(10_000)).toBe(3);

    // As an operator does who gives the name to another storage on purpose.
    rmSync(join(scene.spool.folder, 'repositories.json'));
    const fresh = new Faulty('up');
    const again = scene.outlets(fresh.repository, other.repository);
    other.down = undefined;
    const second = scene.shipper(again);
    second.addLeftovers();
    await until(
      () => scene.spooled.length === 0,
      () => scene.spooled.join(' '),
    );
    expect([...fresh.files].sort()).toEqual(numbers(1, 4).map(name));
    expect(await second.finish(10_000)).toBe(0);
  });

  test('a line that a crash has cut counts for nothing', async () => {
    const [up, other] = [new Faulty('up'), new Faulty('other')];
    const outlets = scene.outlets(up.repository, other.repository);
    other.down = 'STORAGE_UNAVAILABLE';
    const first = scene.shipper(outlets, { concurrency: 1 });
    add(first, 1, 3);
    await until(
      () => first.left(outlets[0]) === 0,
      () => up.files.join(' '),
    );
    for (const outlet of outlets) outlet.finish();
    await first.finish(10_000);
    const path = join(scene.spool.folder, 'confirmed');
    const text = readFileSync(path, 'utf8');
    expect(text.split('\n')).toHaveLength(3);
    writeFileSync(path, text.slice(0, -1));
    const again = scene.outlets(up.repository, other.repository);
    const second = scene.shipper(again, { concurrency: 1 });
    second.addLeftovers();
    expect([second.left(again[0]), second.left(again[1])]).toEqual([1, 2]);
    other.down = undefined;
    await until(
      () => scene.spooled.length === 0,
      () => scene.spooled.join(' '),
    );
  });

  test('what all have confirmed, but was not removed before a crash, is asked for once more', async () => {
    const [up, other] = [new Faulty('up'), new Faulty('other')];
    const outlets = scene.outlets(up.repository, other.repository);
    other.down = 'STORAGE_UNAVAILABLE';
    const first = scene.shipper(outlets);
    add(first, 1, 2);
    await until(
      () => first.left(outlets[0]) === 0,
      () => up.files.join(' '),
    );
    for (const outlet of outlets) outlet.finish();
    await first.finish(10_000);
    // The other one is no longer in the config.
    const [alone] = scene.outlets(up.repository);
    const second = scene.shipper([alone]);
    second.addLeftovers();
    expect(await second.finish(10_000)).toBe(0);
    expect(scene.spooled).toEqual([]);
    expect(scene.named('wal.shipped')).toHaveLength(1);
  });
});

test('a conflict in one repository keeps the file in the spool, and the other repository has it', async () => {
  const [up, other] = [new Faulty('up'), new Faulty('other')];
  await other.repository.open({ create: true });
  await other.repository.wal(SYSTEM).push(name(2), { bytes: Buffer.from('of another server') });
  const outlets = scene.outlets(up.repository, other.repository);
  const shipper = scene.shipper(outlets);
  add(shipper, 1, 5);
  await until(
    () => shipper.left(outlets[0]) === 0 && shipper.left(outlets[1]) === 1,
    () => scene.spooled.join(' '),
  );
  for (const outlet of outlets) outlet.finish();
  expect(await shipper.finish(10_000)).toBe(1);
  expect(scene.spooled).toEqual([name(2)]);
  expect(up.files).toHaveLength(4);
  expect(scene.named('wal.conflict').length).toBeGreaterThan(0);
  expect(scene.logs).toContainEqual(expect.stringMatching(/^warn: 0{7}10{15}2 stays in the spool: repository other: /));
});

test('segments of a new timeline with lower numbers hold those of the old one not back, which come first', async () => {
  const up = new Faulty('up');
  const [outlet] = scene.outlets(up.repository);
  for (const number of [100, 101, 102]) scene.put(number);
  const shipper = scene.shipper([outlet]);
  up.down = 'STORAGE_UNAVAILABLE';
  shipper.addLeftovers();
  shipper.add(scene.put(2, 3));
  up.down = undefined;
  expect(await shipper.finish(20_000)).toBe(0);
  expect(scene.spooled).toEqual([]);
});

test('a segment that cannot be shipped holds back what is far ahead of it on its own timeline only', async () => {
  const up = new Faulty('up');
  const [outlet] = scene.outlets(up.repository);
  const shipper = scene.shipper([outlet]);
  shipper.add(scene.put(5, 1, segment(1, 6)));
  const far = scene.put(5 + Number(AHEAD), 3);
  shipper.add(far);
  await until(
    () => !scene.spooled.includes(far),
    () => up.files.join(' '),
  );
  outlet.finish();
  expect(await shipper.finish(10_000)).toBe(1);
  expect(scene.named('wal.state').map(({ data }) => data['state'])).toEqual(['WAL_INVALID']);
  expect(scene.spooled).toEqual([name(5)]);
});

test('however many files wait for a repository, only as many as are shipped at once are begun', async () => {
  const begun: string[] = [];
  const lane = new ShippingLane<SpooledFile>({
    concurrency: 3,
    ship: ({ file }) => {
      begun.push(file.name);
      return new Promise(() => undefined);
    },
    onShipped: async () => undefined,
    onLeft: () => undefined,
    onKept: () => undefined,
  });
  for (const number of numbers(0, 50_000)) {
    const file = { kind: 'segment', name: name(number), timeline: 1, log: 0, index: number } as const;
    lane.add({ file, size: SIZE, number: BigInt(number) });
  }
  expect(lane.left).toBe(50_000);
  await until(
    () => begun.length === 3,
    () => begun.join(' '),
  );
  expect(begun).toEqual([0, 1, 2].map(name));
  expect(lane.firstMissing).toBe(0n);
});

test('one outage is one message, whatever is given up meanwhile, and its end is told once', async () => {
  const up = new Faulty('up');
  const [outlet] = scene.outlets(up.repository);
  const run = (subject: string, last: AbortSignal): Promise<void> =>
    outlet.run((repository) => repository.open().then(() => undefined), {
      subject,
      last,
      signal: new AbortController().signal,
    });
  await up.repository.open({ create: true });
  for (const code of ['STORAGE_UNAVAILABLE', 'STORAGE_UNAVAILABLE'] as ErrorCode[]) {
    up.down = code;
    for (const subject of ['1.tail', '2.tail', '3.tail']) {
      const last = new AbortController();
      const tried = run(subject, last.signal);
      const calls = up.calls;
      await until(
        () => up.calls > calls,
        () => subject,
      );
      last.abort();
      await expect(tried).rejects.toMatchObject({ code });
    }
    up.down = undefined;
    await run('4', new AbortController().signal);
    await run('5', new AbortController().signal);
  }
  expect(scene.named('wal.ship_failed')).toHaveLength(2);
  expect(scene.named('wal.state').map(({ data }) => data['state'])).toEqual(['shipping', 'shipping']);
});

test('H-08 H-22 WAL of a timeline waits for its history, which another server may have archived otherwise; that of others does not', async () => {
  const faulty = new Faulty('main');
  await faulty.repository.open({ create: true });
  const archive = faulty.repository.wal(SYSTEM);
  await archive.push('00000002.history', { bytes: Buffer.from('1\t0/1200028\tother\n') });
  const theirs = segment(2, 18);
  await archive.push(segmentName(2, 18n, SIZE), { bytes: theirs });
  const outlets = scene.outlets(faulty.repository);
  const shipper = scene.shipper(outlets);
  const put = (history: string, content: string): void => {
    writeFileSync(scene.spool.path(SYSTEM, history), content);
    shipper.add(history);
  };
  put('00000002.history', '1\t0/1500028\tours\n');
  put('00000003.history', '1\t0/1500028\tours\n');
  for (const timeline of [2, 1, 3]) shipper.add(scene.put(21, timeline));
  await until(
    () => scene.named('wal.conflict').length > 0 && scene.spooled.length === 2,
    () => scene.spooled.join(' '),
  );
  expect(scene.spooled).toEqual(['00000002.history', segmentName(2, 21n, SIZE)]);
  expect([shipper.isHeld(outlets[0], 2), shipper.isHeld(outlets[0], 3)]).toEqual([true, false]);
  expect(scene.named('wal.conflict')[0]?.data['message']).toMatch('two servers were promoted to timeline 2');

  const lineage = [
    { timeline: 1, start: 0n, end: 0x1500028n },
    { timeline: 2, start: 0x1500028n, end: undefined },
  ];
  const ends = await archiveEnds(faulty.repository, SYSTEM, { segmentSize: SIZE, lineage });
  expect([...ends], 'WAL of the other timeline 2 is none of the server').toEqual([
    [1, 22n * BigInt(SIZE)],
    [3, 22n * BigInt(SIZE)],
  ]);
  await shipper.finish(1000);
});
