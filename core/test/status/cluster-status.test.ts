import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { MapCache } from '../../src/map/map-cache.ts';
import { drawMap } from '../../src/map/recovery-map.ts';
import { STATUS_FILE } from '../../src/receive/status-file.ts';
import type { Repository } from '../../src/repository/repository.ts';
import { clusterStatus, gapsOf, type ClusterStatus } from '../../src/status/cluster-status.ts';
import { judge } from '../../src/status/judge.ts';
import { readReceiverState } from '../../src/status/receiver-state.ts';
import type { ServerState } from '../../src/status/server-state.ts';
import { backup, push, repository, SYSTEM } from '../map/archive.ts';
import { MB } from '../postgres-formats/wal-writer.ts';
import { formatLsn } from '../../src/postgres/lsn.ts';
import { pluginContext } from '../repository/repository.ts';

const DAY = 86_400_000;
const CONFIG = {
  backupWarning: DAY,
  backupCritical: 2 * DAY,
  walWarning: DAY,
  walCritical: 2 * DAY,
  gaps: 'warning',
} as const;

function server(timeline: number, end: number): ServerState {
  return {
    state: 'answered',
    host: 'db',
    systemId: SYSTEM,
    inRecovery: false,
    timeline,
    walEnd: formatLsn(BigInt(end * MB)),
  };
}

async function statusOf(archive: Repository, of: ServerState, time: number): Promise<ClusterStatus> {
  const cache = new MapCache({ folder: undefined, age: 0, logger: pluginContext.logger });
  const map = await drawMap([archive], { list: (one) => cache.list(one) });
  return clusterStatus({ config: { cluster: 'main' }, time, receiver: { state: 'absent' }, server: of, map });
}

test('H-12 what seems to come from the future is of unknown age, and not new', async () => {
  const archive = await repository();
  await push(archive, [1, 2, 3]);
  await backup(archive, 1);
  // The backup stopped at 01:10, and the storage took the WAL when this test ran.
  const late = await statusOf(archive, server(1, 5), Date.parse('2026-01-01T00:00:00Z'));
  expect(late.lastBackup).toMatchObject({ ageSeconds: undefined, aheadSeconds: 4200 });
  expect(late.archived?.ageSeconds).toBeUndefined();
  const { level, reasons, metrics } = judge(late, CONFIG, (seconds) => `${seconds} s`);
  expect(level).toBe('unknown');
  expect(reasons[0]).toBe('the newest good backup seems to come from 4200 s ahead: clocks differ');
  expect(metrics.slice(0, 2).map(({ value }) => value)).toEqual([undefined, undefined]);
  // A little is nothing.
  const near = await statusOf(archive, server(1, 4), Date.parse('2026-01-01T01:08:00Z'));
  expect(near.lastBackup).toMatchObject({ ageSeconds: 0, aheadSeconds: 0 });
});

test('WAL of another timeline, as a clone archives it by mistake, does not stand for that of the server', async () => {
  const archive = await repository();
  await push(archive, [1, 2, 3]);
  await backup(archive, 1);
  await push(archive, [3, 4, 5, 6, 7, 8, 9], 2);
  const status = await statusOf(archive, server(1, 8), Date.now() + DAY);
  expect(status.archived).toMatchObject({ timeline: 1, segment: '000000010000000000000003' });
  expect(status.lag.bytes).toBe(4 * MB);
  expect(judge(status, CONFIG, String).level).not.toBe('ok');
  expect((await statusOf(archive, server(2, 10), Date.now())).lag.bytes).toBe(0);
});

test('WAL that is on record as lost behind the newest backup is a gap, though nothing has come after it yet', async () => {
  const archive = await repository();
  await push(archive, [1, 2, 3]);
  await backup(archive, 1);
  const lose = (from: number, to: number, time: number): Promise<unknown> =>
    archive.facts(SYSTEM).add('wal', {
      kind: 'gap',
      time,
      data: { timeline: 1, to_timeline: 1, from: formatLsn(BigInt(from * MB)), to: formatLsn(BigInt(to * MB)) },
    });
  const kinds = async (): Promise<readonly string[]> => {
    const { system } = await statusOf(archive, server(1, 8), Date.now());
    return system === undefined ? [] : gapsOf(system).map(({ kind }) => kind);
  };
  expect(await kinds()).toEqual([]);
  // Before the first backup: nothing that can be restored is lost by it.
  await lose(0, 1, 1);
  expect(await kinds()).toEqual([]);
  await lose(4, 6, 2);
  expect(await kinds()).toEqual(['end']);
  expect(judge(await statusOf(archive, server(1, 8), Date.now()), CONFIG, String).level).toBe('critical');
  await push(archive, [6, 7]);
  expect(await kinds()).toEqual(['end']);
  await backup(archive, 6);
  expect(await kinds()).toEqual(['between']);
});

test('a status of a receiver that was written by a clock ahead is not one of a moment ago', async () => {
  const spool = mkdtempSync(join(tmpdir(), 'pgark-status-'));
  try {
    mkdirSync(join(spool, 'main'));
    const status = { format: 1, time: new Date(Date.now() + DAY).toISOString(), state: 'streaming', host: 'elsewhere' };
    writeFileSync(join(spool, 'main', STATUS_FILE), JSON.stringify({ ...status, pid: 1, repositories: [] }));
    expect(await readReceiverState(spool, 'main')).toMatchObject({ state: 'stale' });
    expect(await readReceiverState(spool, 'main', Date.now() + DAY)).toMatchObject({ state: 'running' });
  } finally {
    rmSync(spool, { recursive: true });
  }
});
