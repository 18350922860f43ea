import { expect, test } from 'vitest';
import { timeOfUlid, versionAt, type Version } from '../src/versions.ts';

const version = (id: string | undefined, time: number): Version => ({ key: 'key', id, size: 1, time });

test('the version of a moment is the newest that was there', () => {
  const versions = [version('c', 300), version(undefined, 200), version('a', 100)];
  expect([50, 100, 150, 200, 250, 300, 999].map((moment) => versionAt(versions, moment)?.id)).toEqual([
    undefined,
    'a',
    'a',
    undefined,
    undefined,
    'c',
    'c',
  ]);
  expect(versionAt([], 100)).toBeUndefined();
});

test('of several in one second the newest counts, and an object before its delete marker', () => {
  expect(versionAt([version('b', 100), version('a', 100)], 100)?.id).toBe('b');
  expect(versionAt([version('a', 100), version(undefined, 100)], 100)?.id).toBe('a');
  expect(versionAt([version(undefined, 100), version('a', 100)], 100)?.id).toBe('a');
});

test('the time of a ULID', () => {
  expect(timeOfUlid('01ARZ3NDEKTSV4RRFFQ69G5FAV')).toBe(1469922850259);
  for (const id of ['null', '', '3/L4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY+MTRCxf3vjVBH40Nr8X8gdRQBpUMLUo', '8'.repeat(26)]) {
    expect(timeOfUlid(id)).toBeUndefined();
  }
});
