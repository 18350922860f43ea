import { expect, test } from 'vitest';
import { provenAt } from '../../src/retention/backup-facts.ts';
import type { Fact } from '../../src/repository/facts.ts';

const drill = (time: number, outcome: string): Fact => ({ kind: 'drill', time, data: { outcome } });
const verify = (time: number, level: string, { findings = 0, skipped = 0 } = {}): Fact => ({
  kind: 'verify',
  time,
  data: {
    level,
    finished: '2026-11-22T06:45:31.000Z',
    skipped: { objects: skipped, some: [] },
    findingCount: findings,
    findings: [],
  },
});

test('a drill, or a verification that read all of it, proves a backup', () => {
  expect(provenAt([])).toBeUndefined();
  expect(provenAt([drill(5, 'proven')])).toBe(5);
  expect(provenAt([verify(6, 'full'), drill(5, 'proven')])).toBe(6);
  for (const fact of [verify(6, 'sample'), verify(6, 'chain'), verify(6, 'full', { skipped: 1 })])
    expect(provenAt([fact])).toBeUndefined();
});

test('what says nothing of the backup takes nothing from its proof, and what was found damaged does', () => {
  const proven = drill(5, 'proven');
  for (const fact of [drill(6, 'inconclusive'), verify(6, 'sample'), verify(6, 'full', { skipped: 3 })])
    expect(provenAt([proven, fact])).toBe(5);
  for (const fact of [drill(6, 'failed'), verify(6, 'sample', { findings: 1 })]) {
    expect(provenAt([proven, fact])).toBeUndefined();
    expect(provenAt([fact, drill(7, 'proven')])).toBe(7);
  }
});
