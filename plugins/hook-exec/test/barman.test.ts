/** Scripts that were written for Barman, run by `mode: barman`. */
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import plugin from '@pgark/hook-exec';
import { EVENT_NAMES, exampleEvent, makeEvent, type ArchiveEvent } from '@pgark/sdk';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { configuredHook } from '../../../test/support/configured-hook.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'pgark-barman-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** The variables that each run of a script got, as it wrote them. */
async function runs(event: ArchiveEvent, end = 'exit 0'): Promise<readonly Readonly<Record<string, string>>[]> {
  const path = join(folder, 'script.sh');
  writeFileSync(path, `#!/bin/sh\nenv | grep ^BARMAN_ | sort >>runs; echo >>runs\n${end}\n`);
  chmodSync(path, 0o755);
  const hook = await configuredHook(plugin, { command: ['./script.sh'], mode: 'barman' }, { directory: folder });
  await hook.handle(event, { signal: new AbortController().signal });
  return readRuns();
}

function readRuns(): readonly Readonly<Record<string, string>>[] {
  const path = join(folder, 'runs');
  const blocks = existsSync(path)
    ? readFileSync(path, 'utf8')
        .split('\n\n')
        .filter((block) => block !== '')
    : [];
  return blocks.map((block) =>
    Object.fromEntries(
      block.split('\n').map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
    ),
  );
}

const common = { BARMAN_SERVER: 'main', BARMAN_RETRY: '1' };
const backup = { ...common, BARMAN_HOOK: 'backup_retry_script', BARMAN_BACKUP_ID: '20261129T010203Z-3f9a' };

test('before a backup, after it, and after one that failed', async () => {
  const id = { id: '20261129T010203Z-3f9a' };
  expect(await runs({ ...exampleEvent('backup.started'), data: id })).toEqual([
    { ...backup, BARMAN_PHASE: 'pre', BARMAN_STATUS: 'EMPTY', BARMAN_ERROR: '' },
  ]);
  rmSync(join(folder, 'runs'));
  expect(
    await runs({ ...exampleEvent('backup.finished'), data: { ...exampleEvent('backup.finished').data, ...id } }),
  ).toEqual([{ ...backup, BARMAN_PHASE: 'post', BARMAN_STATUS: 'DONE', BARMAN_ERROR: '' }]);
  rmSync(join(folder, 'runs'));
  const failed = { ...id, code: 'STORAGE_FULL', message: 'no space\nleft' } as const;
  expect(await runs({ ...exampleEvent('backup.failed'), data: failed })).toEqual([
    { ...backup, BARMAN_PHASE: 'post', BARMAN_STATUS: 'FAILED', BARMAN_ERROR: 'no space left' },
  ]);
});

test('a backup that is suspect is told with an error', async () => {
  const { data, ...rest } = exampleEvent('backup.finished');
  const suspect = makeEvent('backup.finished', { ...data, suspect: true }, rest);
  expect(await runs(suspect)).toMatchObject([{ BARMAN_STATUS: 'DONE', BARMAN_ERROR: suspect.summary }]);
  expect(suspect.summary).toContain('SUSPECT');
});

test('after a WAL file was archived, or was not', async () => {
  const archive = {
    ...common,
    BARMAN_HOOK: 'archive_retry_script',
    BARMAN_PHASE: 'post',
    BARMAN_TIMESTAMP: '1795914123',
  };
  const shipped = exampleEvent('wal.shipped');
  expect(await runs(shipped)).toEqual([
    { ...archive, BARMAN_SEGMENT: shipped.data.file, BARMAN_SIZE: String(shipped.data.bytes), BARMAN_ERROR: '' },
  ]);
  rmSync(join(folder, 'runs'));
  const failed = exampleEvent('wal.ship_failed');
  expect(await runs(failed)).toEqual([
    { ...archive, BARMAN_SEGMENT: failed.data.file, BARMAN_ERROR: failed.data.message },
  ]);
});

test('before and after backups are deleted: once for each', async () => {
  const backups = ['one', 'two', 'three'];
  const planned = { ...exampleEvent('expire.planned'), data: { ...exampleEvent('expire.planned').data, backups } };
  const ids = (seen: readonly Readonly<Record<string, string>>[]): unknown =>
    seen.map(({ BARMAN_HOOK: hook, BARMAN_PHASE: phase, BARMAN_BACKUP_ID: id }) => [hook, phase, id]);
  expect(ids(await runs(planned))).toEqual(backups.map((id) => ['delete_retry_script', 'pre', id]));
  rmSync(join(folder, 'runs'));
  const finished = { ...exampleEvent('expire.finished'), data: { ...exampleEvent('expire.finished').data, backups } };
  expect(ids(await runs(finished))).toEqual(backups.map((id) => ['delete_retry_script', 'post', id]));
});

test('after a restore', async () => {
  const { data, ...rest } = exampleEvent('restore.finished');
  expect(await runs({ ...rest, data })).toEqual([
    {
      ...common,
      BARMAN_HOOK: 'recovery_retry_script',
      BARMAN_PHASE: 'post',
      BARMAN_BACKUP_ID: data.backup,
      BARMAN_STATUS: 'DONE',
      BARMAN_DESTINATION_DIRECTORY: data.directory,
      BARMAN_ERROR: '',
    },
  ]);
});

test('ABORT_STOP before a deletion refuses it, at the first backup that the script does not want deleted', async () => {
  const backups = ['one', 'two', 'three'];
  const planned = { ...exampleEvent('expire.planned'), data: { ...exampleEvent('expire.planned').data, backups } };
  await expect(runs(planned, '[ "$BARMAN_BACKUP_ID" = two ] && exit 63; exit 0')).rejects.toMatchObject({
    code: 'HOOK_REJECTED',
  });
  expect(readRuns().map(({ BARMAN_BACKUP_ID: id }) => id)).toEqual(['one', 'two']);
});

test('events that Barman knows nothing of run nothing', async () => {
  const known = [
    'backup.started',
    'backup.finished',
    'backup.failed',
    'wal.shipped',
    'wal.ship_failed',
    'expire.planned',
    'expire.finished',
    'restore.finished',
    'restore.failed',
  ];
  const others = EVENT_NAMES.filter((name) => !known.includes(name));
  expect(others.length).toBe(EVENT_NAMES.length - known.length);
  for (const name of others) expect(await runs(exampleEvent(name)), name).toEqual([]);
  expect(await runs({ ...exampleEvent('backup.failed'), name: 'backup.polished' as never })).toEqual([]);
});

test('a failed restore is told as Barman does: after it, with the error', async () => {
  const failed = exampleEvent('restore.failed');
  expect(await runs(failed)).toMatchObject([
    { BARMAN_HOOK: 'recovery_retry_script', BARMAN_PHASE: 'post', BARMAN_ERROR: failed.data.message },
  ]);
});
