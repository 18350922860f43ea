import { describe, expect, test } from 'vitest';
import { ancestry } from '../../src/postgres/timeline.ts';
import { furthestEnds, leastEnds } from '../../src/receive/frontier.ts';
import { holdings } from '../../src/receive/start-position.ts';

const SIZE = 1024 * 1024;
/** Timeline 2 left 1 within segment 10, timeline 3 left 2 at the start of segment 20. */
const lineage = ancestry(3, [
  { timeline: 1, end: BigInt(10 * SIZE + 40), reason: '' },
  { timeline: 2, end: BigInt(20 * SIZE), reason: '' },
]);
const history = { segmentSize: SIZE, lineage };

type Ends = Readonly<Record<number, number>>;
const from = (ends: Ends): ReadonlyMap<number, bigint> =>
  new Map(Object.entries(ends).map(([timeline, number]) => [Number(timeline), BigInt(number * SIZE)]));
const plain = (ends: ReadonlyMap<number, bigint>): Ends =>
  Object.fromEntries([...ends].map(([timeline, lsn]) => [timeline, Number(lsn) / SIZE]));
/** Where a stream would begin, as timeline and segment. */
const start = (ends: ReadonlyMap<number, bigint>): readonly [number, number] | undefined => {
  const { position } = holdings(ends, lineage);
  return position && [position.timeline, Number(position.lsn) / SIZE];
};

describe('leastEnds', () => {
  test.each<Ends>([{}, { 1: 7 }, { 1: 10 }, { 1: 12 }, { 1: 10, 2: 20 }, { 1: 5, 2: 15, 3: 22, 5: 40 }, { 4: 3 }])(
    'of one archive they are its own: %o',
    (ends) => {
      expect(plain(leastEnds([from(ends)], history))).toEqual(ends);
    },
  );

  test.each<[string, readonly Ends[], readonly [number, number] | undefined]>([
    [
      'the one that is behind on one timeline',
      [
        { 1: 10, 2: 15 },
        { 1: 10, 2: 12 },
      ],
      [2, 12],
    ],
    ['an older timeline comes before the newest', [{ 1: 10, 2: 15 }, { 1: 5 }], [1, 5]],
    ['a timeline that is held to its end goes on with the next one', [{ 1: 10, 2: 15 }, { 1: 10 }], [2, 10]],
    ['what lies beyond the end of a timeline is not behind', [{ 1: 10, 2: 15 }, { 1: 14 }], [2, 10]],
    ['over two timelines', [{ 3: 25 }, { 2: 20 }], [3, 20]],
    ['nothing does not count', [{ 1: 10, 2: 15 }, {}], [2, 15]],
    ['another history does not count', [{ 1: 10, 2: 15 }, { 7: 3 }], [2, 15]],
    ['the least of three', [{ 3: 25 }, { 3: 22 }, { 2: 13 }], [2, 13]],
    ['none has anything', [{}, {}], undefined],
  ])('%s', (_, all, expected) => {
    expect(start(leastEnds(all.map(from), history))).toEqual(expected);
    expect(start(leastEnds(all.toReversed().map(from), history))).toEqual(expected);
  });

  test('a timeline that is no ancestor of the server’s stays known, for it may be newer', () => {
    expect(plain(leastEnds([from({ 1: 10, 2: 15, 9: 30 }), from({ 1: 5 })], history))).toEqual({ 1: 5, 9: 30 });
  });
});

test('furthestEnds: what one of them has need not come from the server', () => {
  expect(plain(furthestEnds([from({ 1: 10, 2: 15 }), from({ 1: 12, 9: 3 })]))).toEqual({ 1: 12, 2: 15, 9: 3 });
});
