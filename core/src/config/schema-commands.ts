/** The sections of the config that are named after what pgark does. */
import * as z from 'zod';
import { choice, count, duration, flag, secret, size, text, typeNames } from './schema-types.ts';

/** What a section gives is typed where the whole is: see `sectionSchema`. */
type Section = z.ZodType<object, object>;

export const LISTEN: RegExp = /^(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.-]{1,253}):\d{1,5}$/;

const guardian = z.strictObject({
  interval: z
    .union([z.literal('off').transform(() => undefined), duration({ least: '1s', most: '1h' })], {
      error: 'must be a duration such as 30s, or off',
    })
    .register(typeNames, { name: 'duration or `off`' })
    .prefault('30s')
    .describe('Time between looks at the slot and the server; `off` watches over nothing.'),
  maxLag: size({ least: '1MiB' })
    .prefault('1GiB')
    .describe('WAL that the server keeps for the slot before that is told as `RECEIVER_LAGGING`.'),
  closeHoles: flag()
    .default(true)
    .describe('Bring WAL that a repository lacks from another one, or from a server that still has it.'),
  backup: flag().default(false).describe('Take a base backup when a repository lacks WAL that nobody has any more.'),
  slots: choice(['primary', 'all'])
    .default('primary')
    .describe('Where the slot is: `all` makes it on each host of the URL, and moves it along on the standbys.'),
  patroni: z
    .array(
      text('a URL').refine(
        (value) => /^https?:$/.test(URL.parse(value)?.protocol ?? ''),
        'must be an http or https URL',
      ),
    )
    .default([])
    .describe(
      'URLs of the REST API of Patroni, one for each member, with the same host names as the URL of the server; the receiver follows the leader.',
    ),
});

export const receive: Section = z.strictObject({
  slot: text()
    .regex(/^[a-z0-9_]{1,63}$/, 'must be up to 63 lower case letters, digits and underscores')
    .default('pgark')
    .describe('Replication slot, and application name for `synchronous_standby_names`.'),
  spool: text('a path').default('/var/lib/pgark/spool').describe('Folder for WAL that is not in the storage yet.'),
  ack: choice(['local', 'remote'])
    .default('local')
    .describe(
      'What counts as flushed for PostgreSQL: `local` synced in the spool, `remote` confirmed by the storage, of several repositories by one.',
    ),
  statusInterval: duration({ least: '1s', most: '10m' })
    .prefault('10s')
    .describe('Time between reports to the server.'),
  createSlot: flag().default(true).describe('Create the slot when it does not exist.'),
  onGap: choice(['continue', 'stop'])
    .default('continue')
    .describe('What to do after WAL was lost: report it and go on, or report it and stop.'),
  shipConcurrency: count(1, 64).default(2).describe('Segments that are shipped at once into each repository.'),
  tail: z
    .union([z.literal('off').transform(() => undefined), duration({ least: '1s', most: '1d' })], {
      error: 'must be a duration such as 10s, or off',
    })
    .register(typeNames, { name: 'duration or `off`' })
    .prefault('off')
    .describe('Time between slices of the unfinished segment that are shipped too; `off` ships whole segments only.'),
  guardian: guardian.prefault({}).describe('What watches over slot, server and archive, and what it may do.'),
});

export const backup: Section = z.strictObject({
  checkpoint: choice(['spread', 'fast'])
    .default('fast')
    .describe('`fast` begins at once with a burst of writes on the server; `spread` waits for a gentle checkpoint.'),
  maxRate: size({ least: '32KiB', most: '1GiB' })
    .optional()
    .describe('Bytes per second that the server sends at most.'),
  partSize: size({ least: '1MiB', most: '1TiB' })
    .prefault('256MiB')
    .describe('Size of a tar part before it is encoded.'),
  walTimeout: duration({ least: '0s' })
    .prefault('5m')
    .describe('How long to wait until the WAL of the backup is archived.'),
  label: text().max(900, 'must be at most 900 characters').optional().describe('Text that is kept with the backup.'),
});

export const restore: Section = z.strictObject({
  identities: z.array(secret).default([]).describe('Keys that open encrypted objects.'),
  concurrency: count(1, 64).default(4).describe('Objects that are read at once.'),
  walRetry: duration({ least: '0s' })
    .prefault('60s')
    .describe('How long `pgark wal-fetch` tries again while the storage fails, before it stops the recovery.'),
});

export const push: Section = z.strictObject({
  onFullDisk: choice(['keep', 'drop'])
    .default('keep')
    .describe(
      'What happens to a segment that cannot be archived while the disk of `pg_wal` is about to fill: `keep` fails, and PostgreSQL keeps it; `drop` records a gap and lets it go, so that the server lives on.',
    ),
  minFree: size({ least: '1MiB' })
    .prefault('1GiB')
    .describe('Free space of the disk of `pg_wal` below which it is about to fill.'),
});

export const tls: Section = z.strictObject({
  certificate: text('a path').describe(
    'Makes it HTTPS; without `tls` it is plain HTTP. File with the certificate of the server and those that lead to its CA.',
  ),
  key: text('a path').describe('File with the key of the certificate.'),
  clientCa: text('a path')
    .optional()
    .describe('File with the CA of clients: a certificate that it signed is a credential, as good as the token.'),
});

export const serve: Section = z.strictObject({
  listen: text()
    .regex(LISTEN, 'must be an address and a port such as 127.0.0.1:8732, [::1]:8732 or 0.0.0.0:8732')
    .default('127.0.0.1:8732')
    .describe('Where it listens. Any but an address of this host alone needs `tls`, and `token` or `tls.clientCa`.'),
  tls: tls.optional().describe('HTTPS; without it, plain HTTP.'),
  token: secret.optional().describe('What clients show as `Authorization: Bearer`; at least 16 characters.'),
  folder: text('a path')
    .optional()
    .describe('Where files lie while they are verified and sent; without it, the folder for temporary files.'),
  maxRequests: count(1, 10_000)
    .default(100)
    .describe(
      'Requests that are answered at once, each with up to one segment in `folder`; others are told to come again.',
    ),
  maxFetches: count(1, 256).default(4).describe('Files that are read from the storage at once; other requests wait.'),
  stallTimeout: duration({ least: '1s', most: '1d' })
    .prefault('5m')
    .describe('Time in which a client takes nothing at all, after which its download is cut off.'),
});

const absolute = (what: string): z.ZodString => text(what).regex(/^\//, `must be ${what}`);

export const agent: Section = z
  .strictObject({
    socket: absolute('an absolute path')
      .max(100, 'must be at most 100 letters, as systems want it of sockets')
      .optional()
      .describe('Socket that it listens on; without it, one that the commands find by the path of the config file.'),
    folder: text('a path')
      .optional()
      .describe(
        'Folder for segments that it has fetched ahead, best on the disk of the data directory, never inside it. Without it, `.agent` in `receive.spool`, or a temporary folder.',
      ),
    concurrency: count(1, 64)
      .default(2)
      .describe('Segments that it archives ahead at once in each repository, or fetches ahead at once.'),
    prefetch: size({ least: '0B', most: '1TiB' })
      .prefault('256MiB')
      .describe('Bytes of segments that it fetches ahead for a recovery; 0 fetches none.'),
    script: flag()
      .default(false)
      .describe(
        'Whether the `restore_command` that `pgark restore` writes asks it by `pgark-wal`, a shell script that wants curl and starts faster than Node; needs `socket`.',
      ),
  })
  .refine(({ script, socket }) => !script || socket !== undefined, {
    error: 'is needed for agent.script: the script does not look for it',
    path: ['socket'],
  });

const threshold = (fallback: string): z.ZodPrefault<z.ZodUnion<readonly z.ZodType<number | undefined, string>[]>> =>
  z
    .union([z.literal('off').transform(() => undefined), duration({ least: '1s' })], {
      error: 'must be a duration such as 26h, or off',
    })
    .register(typeNames, { name: 'duration or `off`' })
    .prefault(fallback);

export const status: Section = z.strictObject({
  cache: text('a path')
    .optional()
    .describe(
      'Folder in which listings of repositories are remembered; without it, `pgark` in the folder for caches of the user. It can be deleted at any time.',
    ),
  cacheAge: threshold('1h').describe(
    'Time after which everything is listed again, not only what is new; `off` remembers nothing.',
  ),
  backupWarning: threshold('26h').describe('Age of the newest good backup from which `--nagios` warns.'),
  backupCritical: threshold('50h').describe('Age of the newest good backup that is critical.'),
  walWarning: threshold('15m').describe(
    'Time since the last WAL was archived, while the server has more, from which `--nagios` warns.',
  ),
  walCritical: threshold('1h').describe(
    'Time since the last WAL was archived, while the server has more, that is critical.',
  ),
  gaps: choice(['ignore', 'warning', 'critical'])
    .default('critical')
    .describe('What WAL that is missing behind the oldest backup means for `--nagios`.'),
});

const keepRules = {
  window: duration({ least: '1h' })
    .optional()
    .describe(
      'Any moment of this time can be restored to: backups of it stay, and the one that leads to its beginning.',
    ),
  keep: count(1, 10_000).optional().describe('So many of the newest backups stay.'),
  hourly: count(1, 10_000).optional().describe('The newest backup of each of the last so many hours stays, by UTC.'),
  daily: count(1, 10_000).optional().describe('The same by days.'),
  weekly: count(1, 1000).optional().describe('The same by weeks, which begin on Mondays.'),
  monthly: count(1, 1000).optional().describe('The same by months.'),
  yearly: count(1, 100).optional().describe('The same by years.'),
};

export const retention: Section = z.strictObject({
  ...keepRules,
  minimum: count(1, 1000)
    .default(1)
    .describe('So many good backups of each line of timelines stay whatever the rules say.'),
  proven: count(1, 1000)
    .default(1)
    .describe('So many backups of each line stay of those that a drill or a verification found good.'),
  wal: choice(['all', 'consistent'])
    .default('all')
    .describe(
      'WAL from the oldest kept backup on; or, for backups that only `hourly` to `yearly`, a pin or a proof keeps, what makes them consistent.',
    ),
  labels: z
    .array(
      z.strictObject({
        label: text().describe('Label of the backups; `*` stands for any text.'),
        ...keepRules,
      }),
    )
    .default([])
    .describe(
      'Rules for backups of a label, in place of those above; the first that fits counts. Without a limit they stay.',
    ),
});

export const drill: Section = z.strictObject({
  folder: text('a path')
    .optional()
    .describe(
      'Folder that the drill restores into and clears afterwards: absent or empty, with room for the whole database. Short, for a socket lies in it.',
    ),
  bin: text('a path')
    .optional()
    .describe(
      'Folder of the PostgreSQL programs of the major version of the backup; without it, they are looked for in `PATH` and where packages put them.',
    ),
  user: text('a user')
    .optional()
    .describe('As root: USER or USER:GROUP that the server runs as; without it, owner of the folder, or `postgres`.'),
  role: text('a role').default('postgres').describe('Superuser of the restored cluster that the checks run as.'),
  preload: z
    .array(text('a library'))
    .default([])
    .describe(
      'Libraries that the server of the drill loads; none of those of the old server are, as they may act outside. Needed where an extension writes WAL of its own.',
    ),
  checks: z
    .array(
      z.strictObject({
        name: text().max(100, 'must be at most 100 characters').optional().describe('Its name in results.'),
        sql: text('a statement').describe('Statement that must succeed.'),
        database: text('a database').default('postgres').describe('Database that it runs in.'),
        expect: z
          .string({ error: 'must be a text' })
          .optional()
          .describe('What the first column of the first row must be, as text.'),
      }),
    )
    .max(50, 'must be at most 50 checks')
    .default([])
    .describe('Statements about your own data that must succeed. Their results are shown and never stored.'),
  amcheck: flag()
    .default(true)
    .describe('Check all tables and B-tree indexes with the extension amcheck, where the server of the drill has it.'),
  timeout: duration({ least: '1s' })
    .prefault('15m')
    .describe('Time without progress after which the drill gives up, and the most that one statement may take.'),
  keep: flag().default(false).describe('Leave the restored cluster, stopped, in the folder until the next drill.'),
});
