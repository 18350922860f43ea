import type { ReplicationConnection } from '../postgres/replication/connection.ts';

/**
 * Whether the server hands its WAL to an `archive_command` or `archive_library`, and drops what that has taken. A standby does so only
 * with `archive_mode: always`, but it has the settings of its primary.
 */
export async function archivesByItself(connection: ReplicationConnection): Promise<boolean> {
  if ((await connection.show('archive_mode')) === 'off') return false;
  return (await connection.show('archive_command')) !== '' || (await connection.show('archive_library')) !== '';
}
