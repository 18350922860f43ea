/** The rows of the error table; see `errors.ts`. */

/**
 * `code: [meaning, retriable, exit code, hint]`. Exit codes: 1 the work failed or the thing is not there, 2 the surroundings failed
 * (network, storage, server, disk), 3 the command or the config is wrong, 4 data is damaged or in conflict.
 */
export const TABLE = {
  INTERNAL: ['a fault of pgark itself', false, 1, 'Report this with the log; the archive was not changed by it.'],
  ABORTED: ['the operation was cancelled', false, 1, 'Run the command again; nothing half-done is visible.'],
  USAGE: ['the command line is wrong', false, 3, 'Run the command with --help.'],

  CONFIG_INVALID: ['the config is not valid', false, 3, 'Run "pgark config check".'],
  CONFIG_NOT_FOUND: ['no config file was found', false, 3, 'Write one with "pgark init", or name it with --config.'],
  SECRET_UNAVAILABLE: [
    'a secret could not be read from its source',
    false,
    3,
    'Check the env, file or command that the config names.',
  ],

  PLUGIN_NOT_FOUND: [
    'a plugin named by the config is not installed',
    false,
    3,
    'Install the package beside the config file or beside pgark.',
  ],
  PLUGIN_INCOMPATIBLE: [
    'a plugin is of another kind or API version',
    false,
    3,
    'Install a version of the plugin made for this pgark.',
  ],
  PLUGIN_INVALID: ['a plugin breaks the plugin contract', false, 3, 'Report it to the author of the plugin.'],
  PLUGIN_OPTIONS: [
    'the options of a plugin are not valid',
    false,
    3,
    'Correct the section of the config that the message names.',
  ],
  HOOK_FAILED: [
    'a hook could not be told of an event',
    true,
    2,
    'Check what the hook delivers to; "policy: warn" lets the work go on.',
  ],
  HOOK_REJECTED: [
    'what a hook delivers to has refused an event, and would refuse it again',
    false,
    2,
    'Check the options of the hook, such as its address and credentials.',
  ],

  STORAGE_NOT_FOUND: ['the storage answered that it has no such object', false, 1, 'Check the name with "pgark list".'],
  STORAGE_EXISTS: [
    'an object of that name exists and objects are written once',
    false,
    4,
    'Nothing was changed; compare the two writers.',
  ],
  STORAGE_DENIED: ['the storage refused the request', false, 2, 'Check credentials and permissions of the storage.'],
  STORAGE_MISCONFIGURED: [
    'the storage itself is not there or not usable',
    false,
    2,
    'Check bucket, path and endpoint in the config.',
  ],
  STORAGE_UNAVAILABLE: [
    'the storage could not be reached or failed',
    true,
    2,
    'Check network and health of the storage; the work is retried.',
  ],
  STORAGE_FULL: [
    'the storage has no space left',
    true,
    2,
    'Make space in the storage; the work goes on by itself afterwards.',
  ],
  STORAGE_CORRUPT: [
    'the storage returned other bytes than were stored',
    false,
    4,
    'Read the object from another repository and check the storage.',
  ],
  STORAGE_UNSUPPORTED: [
    'the storage cannot do what is asked of it',
    false,
    3,
    'Use a storage that can, set it up for it, or leave it out.',
  ],
  STORAGE_INVALID_KEY: ['a key or range is not valid', false, 3, 'Report it: keys are made by pgark.'],

  CODEC_CORRUPT: [
    'stored bytes are truncated or altered',
    false,
    4,
    'Read the object from another repository and check the storage.',
  ],
  CODEC_UNKNOWN: [
    'no installed codec reads this suffix',
    false,
    3,
    'Install the codec plugin with which the object was written.',
  ],
  CODEC_KEY: ['no configured key opens the object', false, 3, 'Add the identity to restore.identities in the config.'],

  CHECK_FAILED: [
    'a command that looks for what does not work, such as "pgark check", found something',
    false,
    1,
    'Mend what the lines marked "failed" say.',
  ],

  REPOSITORY_FORMAT: [
    'the repository is of another format or not one',
    false,
    4,
    'Check bucket and prefix; use a pgark that knows this format.',
  ],
  REPOSITORY_CHANGED: [
    'another repository answers than the one that was used before',
    false,
    4,
    'Check that the disk of the storage is mounted, and the bucket and prefix in the config.',
  ],
  REPOSITORY_BEHIND: [
    'some of the repositories have it, others do not',
    true,
    2,
    'Mend the repositories that the message names, and bring them up with "pgark copy".',
  ],
  REPOSITORY_NOT_FOUND: [
    'the repository holds nothing for this cluster yet',
    false,
    1,
    'Check "cluster" and the storage in the config. A new archive is made by "pgark receive", or by "pgark backup --create".',
  ],

  WAL_NOT_FOUND: [
    'the archive answered that it has no such WAL file',
    false,
    1,
    'This is normal at the end of the archive.',
  ],
  WAL_CONFLICT: [
    'the archive holds the same WAL file with other content',
    false,
    4,
    'Two servers share one archive: give each cluster its own name.',
  ],
  WAL_INVALID: ['a WAL file is not what its name says', false, 4, 'Check the file; it was not archived.'],
  WAL_GAP: [
    'WAL between two positions is neither archived nor on the server',
    false,
    4,
    'Take a new base backup now: what lies before the gap cannot be continued.',
  ],
  SYSTEM_MISMATCH: [
    'the system identifier is that of another cluster',
    false,
    4,
    'Point the config at the right server, or give this cluster its own name.',
  ],
  TIMELINE_DIVERGED: [
    'the server never had WAL that the archive holds',
    false,
    4,
    'The former primary went further than the new one; see docs/how-to/streaming.md.',
  ],
  WAL_SERVER_UNAVAILABLE: [
    'the server of WAL files could not be reached, or could not look',
    true,
    2,
    'Check that "pgark serve" runs, its log, and the network.',
  ],
  WAL_SERVER_DENIED: [
    'the server of WAL files and this host do not accept each other',
    false,
    2,
    'Check the token, the certificates and the names in them.',
  ],

  SLOT_MISSING: [
    'the replication slot does not exist',
    false,
    2,
    'Let pgark receive create it; then take a new base backup if a gap is reported.',
  ],
  SLOT_INVALIDATED: [
    'the server has invalidated the replication slot',
    false,
    4,
    'Drop the slot, start pgark receive, and take a new base backup.',
  ],
  SLOT_BUSY: [
    'another receiver uses the replication slot',
    true,
    2,
    'Stop the other receiver, or give this one a slot of its own.',
  ],
  STREAM_PROTOCOL: [
    'the server sent something that the protocol does not allow here',
    true,
    2,
    'Report it with the log; the connection is made anew.',
  ],
  SPOOL_FULL: [
    'the disk of the spool has no space left',
    true,
    2,
    'Make space for the spool; receiving goes on by itself afterwards.',
  ],
  SPOOL_INVALID: [
    'a file in the spool is not what it should be',
    false,
    4,
    'Move the named file away after a look at it.',
  ],
  SPOOL_LOCKED: ['another process uses the spool', false, 2, 'Stop it, or give this receiver a spool of its own.'],
  SPOOL_UNAVAILABLE: [
    'the spool cannot be read or written',
    true,
    2,
    'Check permissions and health of the disk that the message names.',
  ],

  AGENT_RUNNING: [
    'another agent works for the same config',
    false,
    2,
    'Stop it, or leave it at work: one agent serves all servers of the host that use the config.',
  ],
  AGENT_SOCKET: [
    'the socket of the agent cannot be used',
    false,
    2,
    'Check the folder of the socket: it must belong to the user of the agent, and nobody else may write into it.',
  ],

  SERVER_UNREACHABLE: [
    'the PostgreSQL server could not be reached',
    true,
    2,
    'Check host, port and network, and that the server runs.',
  ],
  SERVER_AUTH: [
    'the PostgreSQL server refused the login',
    false,
    2,
    'Check user, password, pg_hba.conf (database "replication") and the REPLICATION attribute.',
  ],
  SERVER_TLS: [
    'the TLS requirements of the connection cannot be met',
    false,
    2,
    'Check sslmode, sslrootcert and the certificate of the server.',
  ],
  SERVER_NO_MATCH: ['no host satisfies target_session_attrs', true, 2, 'Check the hosts; a failover may be under way.'],
  SERVER_ERROR: ['the PostgreSQL server reported an error', false, 2, 'See the message of the server.'],
  SERVER_UNSUPPORTED: ['this version of PostgreSQL is not supported', false, 3, 'pgark supports PostgreSQL 15 to 18.'],

  BACKUP_NOT_FOUND: ['there is no such backup', false, 1, 'See "pgark list".'],
  BACKUP_SUSPECT: [
    'the server found damaged pages while the backup ran',
    false,
    4,
    'Check the named files on the server; the backup is kept and marked suspect.',
  ],
  BACKUP_CORRUPT: [
    'a backup does not match its manifest',
    false,
    4,
    'Use another backup, see "pgark list", and check the storage.',
  ],
  BACKUP_WAL_TIMEOUT: [
    'the WAL that makes the backup usable did not reach the archive in time',
    true,
    2,
    'Check that "pgark receive" runs or that archive_command succeeds.',
  ],

  RETENTION_BUSY: [
    'something else is at work in the repository that must not be disturbed, or must not disturb',
    true,
    2,
    'Run the command again when the other one has ended; one that was killed is forgotten after a quarter of an hour.',
  ],
  VERIFY_DAMAGED: [
    'a verification found what is missing, damaged or in conflict',
    false,
    4,
    'See above what cannot be restored; with several repositories "pgark verify --heal" mends one from another, else take a new backup.',
  ],
  VERIFY_INCOMPLETE: [
    'a verification could not look at everything: of that, nothing is known',
    true,
    2,
    'Mend what the message names, and run it again; "--resume" goes on where it ended.',
  ],

  RESTORE_UNREACHABLE: [
    'the target cannot be reached from what the archive holds',
    false,
    1,
    'Choose a target inside the windows that the plan shows.',
  ],
  RESTORE_TARGET_IN_USE: [
    'the target directory is in use or not empty',
    false,
    3,
    'Choose an empty directory; pgark never deletes a data directory.',
  ],
  RESTORE_FAILED: [
    'files could not be written into the target',
    true,
    2,
    'Fix the cause and run the same command again; it resumes.',
  ],

  RUN_BUSY: ['a run of this kind goes on already', true, 2, 'Wait for its end, or cancel it; "pgark runs" shows it.'],
  RUN_NOT_FOUND: ['there is no such run, or not in this daemon', false, 1, 'List them with "pgark runs".'],
  SCHEDULER_WAITING: [
    'this daemon is not the one that runs the jobs of the cluster',
    true,
    2,
    'Ask the daemon that does, or mend what keeps this one from asking the server.',
  ],

  DRILL_FAILED: [
    'a drill found that the backup does not give the database back',
    false,
    4,
    'See which check failed; take a new backup, and keep older ones until it is proven.',
  ],
  DRILL_INCONCLUSIVE: [
    'a drill ended without a verdict, for a reason of the host that it ran on',
    true,
    2,
    'Mend what the message names and run the drill again; nothing is known about the backup.',
  ],
} as const;
