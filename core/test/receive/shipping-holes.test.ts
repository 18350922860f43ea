/** WAL that one repository lacks, as shipping finds it. */
import { writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { segmentName } from '../../src/postgres/wal-file.ts';
import type { Fact } from '../../src/repository/facts.ts';
import { HoleWatch } from '../../src/receive/hole-watch.ts';
import type { Shipper } from '../../src/receive/shipper.ts';
import { Faulty, Scene, segment, SIZE, SYSTEM, until } from './shipping-scene.ts';

let scene: Scene;
beforeEach(() => {
  scene = new Scene();
});
afterEach(() => {
  scene.destroy();
});

function add(shipper: Shipper, from: number, to: number): void {
  for (let number = from; number < to; number++) shipper.add(scene.put(number));
}

describe('a hole in one repository', () => {
  let owed: readonly Fact[] = [];
  beforeEach(() => {
    owed = [];
  });
  const watched = (outlets: Parameters<Scene['shipper']>[0]): Shipper =>
    scene.shipper(outlets, {
      holes: new HoleWatch({
        systemId: SYSTEM,
        outlets,
        owed: () => owed,
        isNew: () => false,
        onEvent: scene.onEvent,
        logger: scene.logger,
      }),
    });
  const behind = (): readonly unknown[] =>
    scene
      .named('wal.state')
      .filter(({ data }) => data['state'] === 'REPOSITORY_BEHIND')
      .map(({ data }) => data['message']);
  const holding = async (name: string, held: readonly number[], timeline = 1): Promise<Faulty> => {
    const made = new Faulty(name);
    await made.repository.open({ create: true });
    for (const number of held) {
      const file = segmentName(timeline, BigInt(number), SIZE);
      await made.repository.wal(SYSTEM).push(file, { bytes: segment(timeline, number) });
    }
    return made;
  };

  test('is told once, when it is back, also when it is longer than what is looked through later', async () => {
    const [up, other] = [await holding('up', [399]), await holding('other', [4, 5])];
    other.down = 'STORAGE_UNAVAILABLE';
    const shipper = watched(scene.outlets(up.repository, other.repository));
    add(shipper, 400, 404);
    await until(
      () => up.files.length === 5,
      () => up.files.join(' '),
    );
    expect(behind()).toEqual([]);
    other.down = undefined;
    await until(
      () => scene.spooled.length === 0,
      () => scene.spooled.join(' '),
    );
    expect(await shipper.finish(10_000)).toBe(0);
    expect(behind()).toEqual([
      'repository other lacks WAL from 0/600000 on timeline 1 to 0/19000000 on timeline 1, which was not in the spool for it',
    ]);
    expect(scene.logs.filter((line) => line.startsWith('warn: repository other lacks WAL'))).toHaveLength(1);
  });

  test.each<[string, readonly number[], object | undefined]>([
    ['holds what comes before', [398, 399], undefined],
    ['is new', [], undefined],
    ['is ahead', [399, 400, 401], undefined],
    ['has on record that it is lost', [4, 5], { timeline: 1, to_timeline: 1, from: '0/600000', to: '0/19000000' }],
  ])('is not told of a repository that %s', async (_, held, gap) => {
    const other = await holding('other', held);
    if (gap !== undefined) {
      const data = { ...gap, reason: 'removed' };
      await other.repository.facts(SYSTEM).add('wal', { kind: 'gap', time: 0, data });
    }
    const shipper = watched(scene.outlets((await holding('up', [399])).repository, other.repository));
    add(shipper, 400, 403);
    expect(await shipper.finish(20_000)).toBe(0);
    expect(behind()).toEqual([]);
  });

  test.each<[string, readonly number[], number]>([
    ['is told over a change of timelines', [4, 5], 1],
    ['is none when the old timeline is there up to the switch', [8, 9], 0],
  ])('%s', async (_, held, count) => {
    const [up, other] = [await holding('up', [9]), await holding('other', held)];
    const shipper = watched(scene.outlets(up.repository, other.repository));
    writeFileSync(scene.spool.path(SYSTEM, '00000002.history'), '1\t0/A00028\tno recovery target specified\n');
    shipper.add('00000002.history');
    shipper.add(scene.put(10, 2));
    expect(await shipper.finish(20_000)).toBe(0);
    expect(behind()).toHaveLength(count);
    expect(other.files).toContain('00000002.history');
  });

  test.each<[string, readonly number[], string, string]>([
    ['nothing behind the gap yet', [4, 5], '0/600000', '0/19000000'],
    ['WAL from behind it', [300, 301, ...Array.from({ length: 10 }, (_, at) => 390 + at)], '0/12E00000', '0/18600000'],
  ])('is not told of a repository that has %s, and not yet the record of it', async (_, held, from, to) => {
    const other = await holding('other', held);
    const data = { timeline: 1, to_timeline: 1, from, to, reason: 'removed' };
    owed = [{ kind: 'gap', time: 0, data }];
    const shipper = watched(scene.outlets((await holding('up', [399])).repository, other.repository));
    add(shipper, 400, 403);
    expect(await shipper.finish(20_000)).toBe(0);
    expect(behind()).toEqual([]);
  });

  test('cannot be looked for in facts that are damaged: said, and shipping goes on', async () => {
    const other = await holding('other', [4, 5]);
    await other.repository.facts(SYSTEM).add('wal', { kind: 'gap', time: 0, data: {} });
    const [fact = ''] = other.stored.filter((key) => key.includes('/facts/'));
    expect(fact).not.toBe('');
    await other.storage.remove([fact]);
    await other.storage.put(
      fact,
      (async function* () {
        yield Buffer.from('{');
      })(),
      { ifAbsent: true },
    );
    const shipper = watched(scene.outlets((await holding('up', [399])).repository, other.repository));
    add(shipper, 400, 402);
    expect(await shipper.finish(20_000)).toBe(0);
    expect(scene.logs).toContainEqual(expect.stringMatching(/^warn: cannot look for holes: /));
  });
});
