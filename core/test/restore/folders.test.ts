import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { BackupRecord } from '../../src/repository/backup-record.ts';
import { planFolders } from '../../src/restore/folders.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'pgark-folders-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const part = (archive: string, plainSize: number): unknown => ({ archive, plainSize });
const backup = {
  tablespaces: [
    { oid: '163', location: '/old/one' },
    { oid: '16384', location: '/old/two' },
    { oid: '16385', location: 'pg_tblspc/16385' },
  ],
  parts: [part('base', 100), part('base', 50), part('163', 7), part('16384', 9), part('16385', 1)],
} as unknown as BackupRecord;

test('H-32 tablespaces are mapped by location or OID, never by a part of either', async () => {
  const directory = join(folder, 'data');
  const tablespaces = new Map([
    ['163', join(folder, 'one')],
    ['/old/two', join(folder, 'two')],
  ]);
  const planned = await planFolders(backup, { directory, tablespaces });
  expect(planned.tablespaces).toEqual([
    { oid: '163', from: '/old/one', to: join(folder, 'one') },
    { oid: '16384', from: '/old/two', to: join(folder, 'two') },
    { oid: '16385', from: 'pg_tblspc/16385', to: undefined },
  ]);
  expect(planned.folders.map(({ path, needed }) => ({ path, needed }))).toEqual([
    { path: directory, needed: 151 },
    { path: join(folder, 'one'), needed: 7 },
    { path: join(folder, 'two'), needed: 9 },
  ]);
  for (const { free } of planned.folders) expect(free).toBeGreaterThan(0);
});

test.each([
  [[['1638', '/x']], /no tablespace 1638/],
  [[['/old', '/x']], /no tablespace \/old/],
  [[['163', 'relative']], /not absolute/],
  [[['16385', '/x']], /lies inside the data directory/],
  [
    [
      ['163', '/same'],
      ['16384', '/same'],
    ],
    /collides/,
  ],
  [
    [
      ['163', '/above'],
      ['16384', '/above/below'],
    ],
    /collides/,
  ],
] as const)('the mapping %j is refused', async (mapping, message) => {
  await expect(
    planFolders(backup, { directory: join(folder, 'data'), tablespaces: new Map(mapping) }),
  ).rejects.toMatchObject({
    code: 'USAGE',
    message: expect.stringMatching(message) as string,
  });
});

test('space that is not there is said', async () => {
  const large = { ...backup, tablespaces: [], parts: [part('base', 2 ** 52)] } as unknown as BackupRecord;
  const { warnings } = await planFolders(large, { directory: join(folder, 'not', 'yet', 'there') });
  expect(warnings).toEqual([expect.stringContaining('not enough space')]);
});
