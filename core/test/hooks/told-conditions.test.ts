import { mkdirSync, readdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { ToldCondition } from '../../src/hooks/fold.ts';
import { ToldConditions } from '../../src/hooks/told-conditions.ts';
import { temporaryFolder } from './support.ts';

const state = (told: ToldCondition['told']): ToldCondition => ({
  key: 'backup',
  told,
  since: 1,
  severity: 'warning',
  folded: 0,
});

describe('what was told of a condition', () => {
  test('outlives the process', () => {
    const folder = temporaryFolder();
    new ToldConditions(folder).set('backup', state('open'));
    const next = new ToldConditions(folder);
    expect(next.get('backup')).toEqual(state('open'));
    next.set('backup', undefined);
    expect(new ToldConditions(folder).get('backup')).toBeUndefined();
  });

  test('is what was set last, also where the file of it cannot be changed, and until it can', () => {
    const folder = temporaryFolder();
    const conditions = new ToldConditions(folder);
    conditions.set('backup', state('open'));
    // As on a full disk: what is there can be read, and nothing can be written.
    const inTheWay = join(folder, `${readdirSync(folder)[0]}.${process.pid}.tmp`);
    mkdirSync(inTheWay);
    conditions.set('backup', state('closed'));
    expect(new ToldConditions(folder).get('backup')).toEqual(state('open'));
    expect(conditions.get('backup')).toEqual(state('closed'));
    rmdirSync(inTheWay);
    conditions.set('backup', state('open'));
    expect(conditions.get('backup')).toEqual(state('open'));
    conditions.set('backup', undefined);
    expect(conditions.get('backup')).toBeUndefined();
  });
});
