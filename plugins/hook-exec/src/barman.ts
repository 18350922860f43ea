import type { ArchiveEvent } from '@pgark/sdk';
import { variable } from './environment.ts';

type Variables = Readonly<Record<string, string>>;

/**
 * The variables of Barman's hook scripts (https://docs.pgbarman.org/release/latest/user_guide/hook_scripts.html), for each run of the script that
 * an event comes to: one, one for each backup of an expiry, or none for an event that Barman knows nothing of.
 *
 * What pgark does not have, such as the folder of a backup or the file of a segment, is not set: an empty variable would say that there is none.
 */
export function barmanRuns(event: ArchiveEvent): readonly Variables[] {
  const data = event.data as Readonly<Record<string, unknown>>;
  const backup = (phase: 'pre' | 'post', status: string, error = ''): readonly Variables[] => [
    run(event, 'backup_retry_script', phase, { ...backupOf(data['id']), BARMAN_STATUS: status, BARMAN_ERROR: error }),
  ];
  switch (event.name as string) {
    case 'backup.started':
      return backup('pre', 'EMPTY');
    case 'backup.finished':
      // A backup with damaged pages is one, but no script should take it for a good one.
      return backup('post', 'DONE', event.severity === 'critical' ? variable(event.summary) : '');
    case 'backup.failed':
      return backup('post', 'FAILED', variable(data['message'] ?? event.summary));
    case 'wal.shipped':
      return [run(event, 'archive_retry_script', 'post', { ...segmentOf(event), BARMAN_ERROR: '' })];
    case 'wal.ship_failed':
      return [
        run(event, 'archive_retry_script', 'post', {
          ...segmentOf(event),
          BARMAN_ERROR: variable(data['message'] ?? event.summary),
        }),
      ];
    case 'expire.planned':
      return deleted(event, 'pre', data['backups']);
    case 'expire.finished':
      return deleted(event, 'post', data['backups']);
    case 'restore.finished':
      return restored(event, '');
    case 'restore.failed':
      return restored(event, variable(data['message'] ?? event.summary));
    default:
      return [];
  }
}

function run(event: ArchiveEvent, hook: string, phase: 'pre' | 'post', more: Variables): Variables {
  return {
    BARMAN_SERVER: variable(event.cluster),
    BARMAN_PHASE: phase,
    BARMAN_HOOK: hook,
    // The exit code counts, as that of Barman's retry scripts.
    BARMAN_RETRY: '1',
    ...more,
  };
}

function backupOf(id: unknown): Variables {
  return typeof id === 'string' ? { BARMAN_BACKUP_ID: variable(id) } : {};
}

function segmentOf({ data, time }: ArchiveEvent): Variables {
  const { file, bytes } = data as Readonly<Record<string, unknown>>;
  return {
    BARMAN_SEGMENT: variable(file ?? ''),
    BARMAN_TIMESTAMP: String(time / 1000),
    ...(typeof bytes === 'number' ? { BARMAN_SIZE: String(bytes) } : {}),
  };
}

function restored(event: ArchiveEvent, error: string): readonly Variables[] {
  const { backup, directory } = event.data as Readonly<Record<string, unknown>>;
  return [
    run(event, 'recovery_retry_script', 'post', {
      ...backupOf(backup),
      BARMAN_STATUS: 'DONE',
      BARMAN_DESTINATION_DIRECTORY: variable(directory ?? ''),
      BARMAN_ERROR: error,
    }),
  ];
}

function deleted(event: ArchiveEvent, phase: 'pre' | 'post', backups: unknown): readonly Variables[] {
  const ids = Array.isArray(backups) ? (backups as unknown[]) : [];
  return ids.map((id) =>
    run(event, 'delete_retry_script', phase, { ...backupOf(id), BARMAN_STATUS: 'DONE', BARMAN_ERROR: '' }),
  );
}
