/** A streaming standby, made by a plain copy of a stopped server. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { giveToServer, PostgresServer, removeFolder, temporaryFolder } from './postgres.ts';

/** A standby of `primary`, which must be stopped while it is copied; both run afterwards. Remove with {@link destroyStandby}. */
export async function startStandby(primary: PostgresServer): Promise<PostgresServer> {
  const data = join(temporaryFolder('standby'), 'data');
  execFileSync('cp', ['-a', primary.data, data]);
  writeFileSync(join(data, 'standby.signal'), '');
  giveToServer(join(data, 'standby.signal'));
  await primary.start();
  const standby = await PostgresServer.open(primary.major, data, {
    primary_conninfo: `host=127.0.0.1 port=${primary.port} user=postgres application_name=standby`,
  });
  await standby.start();
  return standby;
}

/**
 * Promotes a standby and waits until it is a primary. The function does not wait itself: its snapshot would be in the way of what is
 * still to be replayed, until the server cancels it for the conflict.
 */
export async function promote(standby: PostgresServer): Promise<void> {
  await standby.query('SELECT pg_promote(false)');
  while ((await standby.value('SELECT pg_is_in_recovery()')) === 'true') await sleep(20);
}

/** Waits until the standby has replayed all that the primary has. */
export async function caughtUp(primary: PostgresServer, standby: PostgresServer): Promise<void> {
  const lsn = await primary.value('SELECT pg_current_wal_flush_lsn()');
  while ((await standby.value('SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn', [lsn])) !== 'true') await sleep(20);
}

export async function destroyStandby(standby: PostgresServer): Promise<void> {
  await standby.destroy();
  removeFolder(join(standby.data, '..'));
}
