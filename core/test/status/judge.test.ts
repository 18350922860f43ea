import { expect, test } from 'vitest';
import type { StatusConfig } from '../../src/config/config.ts';
import { ArchiveError } from '../../src/contracts/errors.ts';
import { canRestoreTo } from '../../src/documents/status-document.ts';
import type { ClusterStatus } from '../../src/status/cluster-status.ts';
import { judge, perfdata } from '../../src/status/judge.ts';

const CONFIG: StatusConfig = {
  backupWarning: 10_000,
  backupCritical: 20_000,
  walWarning: 1000,
  walCritical: 2000,
  gaps: 'warning',
};

function status(change: {
  backupAge?: number;
  lag?: ClusterStatus['lag'];
  ends?: readonly string[];
  failures?: number;
  read?: number;
}): ClusterStatus {
  const { backupAge, lag = { bytes: 0, seconds: 0 }, ends = ['end-of-archive'], failures = 0, read = 1 } = change;
  const error = new ArchiveError('STORAGE_UNAVAILABLE', 'it is down');
  return {
    lag,
    lastBackup: backupAge === undefined ? undefined : { backup: {}, ageSeconds: backupAge },
    map: {
      repositories: Array.from({ length: read }, () => ({})),
      failures: Array.from({ length: failures }, () => ({ repository: 'far', error })),
    },
    system: {
      latest: 1,
      gaps: [],
      lines: [{ timeline: 1, windows: ends.map((kind) => ({ to: { timeline: 1, lsn: 1n }, end: { kind } })) }],
    },
  } as unknown as ClusterStatus;
}

const level = (of: ClusterStatus, config = CONFIG): string => judge(of, config, String).level;

test('the worst that is known counts, and not knowing is no success', () => {
  expect(level(status({ backupAge: 5 }))).toBe('ok');
  expect(level(status({ backupAge: 10 }))).toBe('warning');
  expect(level(status({ backupAge: 20 }))).toBe('critical');
  expect(level(status({}))).toBe('critical');
  expect(level(status({ backupAge: 5, lag: { bytes: 1, seconds: 1 } }))).toBe('warning');
  expect(level(status({ backupAge: 5, lag: { bytes: 1, seconds: 2 } }))).toBe('critical');
  expect(level(status({ backupAge: 5, lag: { bytes: undefined, seconds: undefined } }))).toBe('unknown');
  expect(level(status({ backupAge: 20, lag: { bytes: undefined, seconds: undefined } }))).toBe('critical');
  expect(level(status({ backupAge: 5, failures: 1 }))).toBe('warning');
  expect(level(status({ failures: 1, read: 0 }))).toBe('unknown');
});

test('what a repository holds that could not be read is unknown, not missing', () => {
  const unread = status({ failures: 1 });
  expect(judge(unread, CONFIG, String)).toMatchObject({
    level: 'critical',
    reasons: [
      'there is no backup that can be restored in what could be read',
      'repository far could not be read: it is down',
    ],
  });
  expect(canRestoreTo({ ...unread, cluster: 'main', system: undefined })).toBe(
    'main: unknown, not all could be read of far; in what was read: nothing is archived',
  );
  const empty = status({});
  expect(judge(empty, CONFIG, String).reasons).toEqual(['there is no backup that can be restored']);
  expect(canRestoreTo({ ...empty, cluster: 'main', system: undefined })).toBe(
    'main cannot be restored: nothing is archived',
  );
});

test('a hole between windows is what the config says, one behind the newest backup is critical', () => {
  const between = status({ backupAge: 5, ends: ['missing', 'end-of-archive'] });
  expect(level(between)).toBe('warning');
  expect(level(between, { ...CONFIG, gaps: 'critical' })).toBe('critical');
  expect(level(between, { ...CONFIG, gaps: 'ignore' })).toBe('ok');
  for (const kind of ['missing', 'conflict', 'damaged'])
    expect(level(status({ backupAge: 5, ends: [kind] }), { ...CONFIG, gaps: 'ignore' })).toBe('critical');
});

test('values that are not known are U, thresholds are in seconds', () => {
  const { metrics } = judge(status({ backupAge: 5, lag: { bytes: undefined, seconds: undefined } }), CONFIG, String);
  expect(perfdata(metrics)).toBe('backup_age=5s;10;20 wal_age=U;1;2 wal_lag=U gaps=0');
});
