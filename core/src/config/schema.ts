/**
 * Every key of the config, declared once: this schema validates the file, names the environment variables
 * (`keys.ts`), and is what `pgark config schema`, `pgark config explain` and the reference are made from.
 */
import * as z from 'zod';
import { EVENT_NAMES, exampleEvent, isGate } from '../contracts/event-table.ts';
import type { EventName, Severity } from '../contracts/hook.ts';
import { Secret } from '../contracts/secret.ts';
import type { Config, GuardianConfig, ReceiveConfig, RepositoryConfig } from './config.ts';
import { choice, count, duration, flag, size, text, typeNames } from './schema-types.ts';

const EVENTS = EVENT_NAMES as readonly [EventName, ...EventName[]];
/** From the least to the worst. */
const SEVERITIES = ['info', 'warning', 'critical'] as const satisfies readonly Severity[];
const GATES = EVENT_NAMES.filter(isGate).map((name) => exampleEvent(name));
const namesOf = (events: readonly { readonly name: EventName }[]): string => events.map(({ name }) => name).join(', ');

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
const PREFIX = /^(?!\.{1,2}(?:\/|$))[A-Za-z0-9._=@ -]+(?:\/(?!\.{1,2}(?:\/|$))[A-Za-z0-9._=@ -]+)*$/;
const LISTEN = /^(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.-]{1,253}):\d{1,5}$/;
const nameMessage = 'must be up to 63 letters, digits, dots, dashes and underscores, beginning with a letter or digit';

const secret = z.union(
  [
    text().transform((value) => new Secret(value)),
    z.strictObject({ env: text().describe('Environment variable that holds it.') }),
    z.strictObject({ file: text().describe('File that holds it; relative to the config file.') }),
    z.strictObject({
      command: z.array(text()).min(1).describe('Program and arguments that print it; no shell.'),
    }),
  ],
  { error: 'must be a text, {env: NAME}, {file: PATH} or {command: [PROGRAM, ARGUMENT...]}' },
);

const use = text('the name of a plugin').describe(
  'Short name, full name of a package, or a path that begins with `./`, relative to the config file.',
);
const plugin = z.looseObject({ use }, { error: 'must be a section with "use"' });

/** In a list of codecs, alone: it holds none, and that is meant. Not the name of a plugin. */
const NO_CODEC = 'none';

function noneAlone(list: readonly z.output<typeof plugin>[], context: z.RefinementCtx): void {
  for (const [at, { use, ...options }] of list.entries()) {
    if (use !== NO_CODEC) continue;
    const complain = (key: string, message: string): void =>
      context.addIssue({ code: 'custom', path: [at, key], message });
    if (list.length > 1) complain('use', '"none" means no codec at all: take it out, or all the others');
    for (const key of Object.keys(options)) complain(key, 'not a known key: "none" has no options');
  }
}

const repository = z.strictObject({
  name: text().regex(NAME, nameMessage).default('primary').describe('Its name in messages.'),
  storage: plugin.describe('Where objects are kept: the plugin and, beside `use`, its options.'),
  codecs: z
    .array(plugin)
    .superRefine(noneAlone)
    .transform((list) => list.filter(({ use }) => use !== NO_CODEC))
    .prefault([])
    .describe(
      'Codecs in order of application, such as compression, then encryption; each with its options. `none`, alone, says that there is to be none.',
    ),
  prefix: text()
    .regex(PREFIX, 'must be names joined by single slashes, without "." and ".."')
    .max(300, 'must be at most 300 letters')
    .optional()
    .describe('All keys of the archive begin with it and a slash: for a storage that others use too.'),
  readOnly: flag().default(false).describe('Never written to, only read: for hosts that restore from it.'),
  lock: duration({ least: '1s', most: '3650d' })
    .optional()
    .describe(
      'How long the storage is to refuse to change or delete an object, from when it is stored; without it, nothing is locked. The storage must be set up for it.',
    ),
  stallTimeout: duration({ least: '1s', most: '1h' })
    .prefault('2m')
    .describe('Time without progress after which a call of the storage is cancelled and tried again.'),
  maxCalls: count(1, 1000).optional().describe('Calls of the storage at once; without it, no limit.'),
  maxUploadRate: size({ least: '32KiB' })
    .optional()
    .describe('Bytes per second into the storage; without it, no limit.'),
  maxDownloadRate: size({ least: '32KiB' })
    .optional()
    .describe('Bytes per second out of the storage; without it, no limit.'),
});

/** Messages, options and the memory of the receiver tell repositories, and hooks, apart by their names. */
function uniqueNames(
  key: 'repositories' | 'hooks',
): (list: readonly { readonly name?: string | undefined }[], context: z.RefinementCtx) => void {
  return (list, context) => {
    for (const [at, { name }] of list.entries()) {
      const first = list.findIndex((other) => other.name === name);
      if (first === at || name === undefined) continue;
      const message = `is named "${name}" like ${key}[${first}]: give each a name of its own`;
      context.addIssue({ code: 'custom', path: [at], message });
    }
  };
}

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

const receive = z.strictObject({
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

const backup = z.strictObject({
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

const restore = z.strictObject({
  identities: z.array(secret).default([]).describe('Keys that open encrypted objects.'),
  concurrency: count(1, 64).default(4).describe('Objects that are read at once.'),
  walRetry: duration({ least: '0s' })
    .prefault('60s')
    .describe('How long `pgark wal-fetch` tries again while the storage fails, before it stops the recovery.'),
});

const push = z.strictObject({
  onFullDisk: choice(['keep', 'drop'])
    .default('keep')
    .describe(
      'What happens to a segment that cannot be archived while the disk of `pg_wal` is about to fill: `keep` fails, and PostgreSQL keeps it; `drop` records a gap and lets it go, so that the server lives on.',
    ),
  minFree: size({ least: '1MiB' })
    .prefault('1GiB')
    .describe('Free space of the disk of `pg_wal` below which it is about to fill.'),
});

const serve = z.strictObject({
  listen: text()
    .regex(LISTEN, 'must be an address and a port such as 127.0.0.1:8732, [::1]:8732 or 0.0.0.0:8732')
    .default('127.0.0.1:8732')
    .describe('Where it listens. Any but an address of this host alone needs `tls`, and `token` or `tls.clientCa`.'),
  tls: z
    .strictObject({
      certificate: text('a path').describe(
        'Makes it HTTPS; without `tls` it is plain HTTP. File with the certificate of the server and those that lead to its CA.',
      ),
      key: text('a path').describe('File with the key of the certificate.'),
      clientCa: text('a path')
        .optional()
        .describe('File with the CA of clients: a certificate that it signed is a credential, as good as the token.'),
    })
    .optional()
    .describe('HTTPS; without it, plain HTTP.'),
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

const agent = z.strictObject({
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
});

const threshold = (fallback: string): z.ZodPrefault<z.ZodUnion<readonly z.ZodType<number | undefined, string>[]>> =>
  z
    .union([z.literal('off').transform(() => undefined), duration({ least: '1s' })], {
      error: 'must be a duration such as 26h, or off',
    })
    .register(typeNames, { name: 'duration or `off`' })
    .prefault(fallback);

const status = z.strictObject({
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

const retention = z.strictObject({
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

const drill = z.strictObject({
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

const hook = z.looseObject(
  {
    use,
    name: text()
      .regex(NAME, nameMessage)
      .optional()
      .describe(
        'Its name in messages and in the spool; without it, that of the plugin, with a number where it is used twice.',
      ),
    events: z
      .array(choice(EVENTS))
      .min(1)
      .optional()
      .describe('Events that it is told of; without it, all. The end of what it was told of is always told.'),
    severity: choice(SEVERITIES).default('info').describe('The least severity that it is told of.'),
    quiet: duration({ least: '0s', most: '4w' })
      .prefault('1h')
      .describe(
        'Time in which a condition that stays, such as an outage, is told once; `0s` tells each of its events.',
      ),
    policy: choice(['warn', 'fail'])
      .default('warn')
      .describe(
        '`fail`: it is asked before a backup is taken or anything is removed, and where it fails that is not done.',
      ),
    timeout: duration({ least: '100ms', most: '1h' }).prefault('10s').describe('Time for one delivery.'),
    retries: count(0, 20)
      .default(2)
      .describe('Further tries after a failed delivery. What then waits is tried again until it is told.'),
    spool: size({ least: '64KiB' })
      .prefault('8MiB')
      .describe('How much may wait for it, beside the spool of the receiver, while it cannot be told.'),
  },
  { error: 'must be a section with "use"' },
);

/** A gate that is never asked would only seem to guard something. */
function asksAll({ policy, events, severity }: z.infer<typeof hook>, context: z.RefinementCtx): void {
  if (policy !== 'fail') return;
  const asked = GATES.filter(({ name }) => events?.includes(name) ?? true);
  const unasked = asked.filter((gate) => SEVERITIES.indexOf(gate.severity) < SEVERITIES.indexOf(severity));
  if (asked.length === 0) {
    const message = `has no event that a hook with "policy: fail" is asked about: ${namesOf(GATES)}`;
    context.addIssue({ code: 'custom', path: ['events'], message });
  } else if (unasked.length > 0) {
    const message = `keeps a hook with "policy: fail" from being asked about ${namesOf(unasked)}`;
    context.addIssue({ code: 'custom', path: ['severity'], message });
  }
}

const section = z
  .strictObject({
    cluster: text()
      .regex(NAME, nameMessage)
      .default('main')
      .describe('Name of the cluster in the repository; under `clusters` the name of the section.'),
    postgres: z
      .strictObject({
        url: secret
          .optional()
          .describe('Connection URI or key=value string; without it, the environment of libpq (`PGHOST`, ...).'),
        password: secret.optional().describe('Password, when it does not stand in the URL or in `~/.pgpass`.'),
      })
      .prefault({})
      .describe('The server.'),
    repositories: z
      .array(repository, { error: 'must be a list of repositories' })
      .min(1, 'must hold a repository')
      .superRefine(uniqueNames('repositories'))
      .describe(
        'Where the archive is. Everything is read once and written to all; reading takes the first that has it.',
      ),
    receive: receive.prefault({}).describe('`pgark receive`.'),
    backup: backup.prefault({}).describe('`pgark backup`.'),
    restore: restore.prefault({}).describe('`pgark restore` and `pgark wal-fetch`.'),
    push: push.prefault({}).describe('`pgark wal-push`.'),
    drill: drill.prefault({}).describe('`pgark drill`.'),
    agent: agent
      .refine(({ script, socket }) => !script || socket !== undefined, {
        error: 'is needed for agent.script: the script does not look for it',
        path: ['socket'],
      })
      .prefault({})
      .describe('`pgark agent`.'),
    serve: serve.prefault({}).describe('`pgark serve`.'),
    status: status.prefault({}).describe('`pgark status` and `pgark map`.'),
    retention: retention
      .optional()
      .describe(
        'What `pgark expire` keeps: whatever any of the rules keeps. Without it, and without a limit in it, nothing is removed.',
      ),
    concurrency: count(1, 256).optional().describe('Threads for codecs; without it, as many as there are CPUs.'),
    hooks: z
      .array(hook.superRefine(asksAll))
      .superRefine(uniqueNames('hooks'))
      .default([])
      .describe('Who is told of events: the plugin, when, and its options.'),
    log: z
      .strictObject({
        level: choice(['debug', 'info', 'warn', 'error']).default('info').describe('The least level that is shown.'),
        format: choice(['auto', 'json', 'pretty'])
          .default('auto')
          .describe(
            '`pretty` are lines for people, `json` is one object per line; `auto` is `json` with `--json`, else `pretty`.',
          ),
      })
      .prefault({})
      .describe('Messages on stderr.'),
  })
  .describe('One cluster.');

type LooseSection = { readonly use: string } & Readonly<Record<string, unknown>>;

/** What the schema makes of a section: a {@link Config} whose plugin sections are still as written. */
export interface ParsedSection extends Omit<Config, 'repositories' | 'hooks' | 'concurrency' | 'receive'> {
  readonly receive: Omit<ReceiveConfig, 'guardian'> & {
    readonly guardian: Omit<GuardianConfig, 'interval'> & { readonly interval?: number };
  };
  readonly repositories: readonly (Omit<RepositoryConfig, 'storage' | 'codecs'> & {
    readonly storage: LooseSection;
    readonly codecs: readonly LooseSection[];
  })[];
  readonly hooks: readonly (LooseSection & {
    readonly name?: string;
    readonly severity: Severity;
    readonly quiet: number;
    readonly spool: number;
    readonly events?: readonly EventName[];
    readonly policy: 'warn' | 'fail';
    readonly timeout: number;
    readonly retries: number;
  })[];
  readonly concurrency?: number;
}

/** The schema of one cluster's section. */
export function sectionSchema(): z.ZodType<ParsedSection> {
  // zod types an absent key as `undefined`; the keys are really absent, as `exactOptionalPropertyTypes` wants them.
  return section as unknown as z.ZodType<ParsedSection>;
}

/** The name that the reference gives a schema's type, if it has one of its own. */
export function typeName(schema: z.core.$ZodType): string | undefined {
  return typeNames.get(schema)?.name;
}

/** The JSON Schema of a config file, for editors. */
export function jsonSchema(): Record<string, unknown> {
  const cluster = section.meta({ id: 'cluster' });
  const file = z.union([cluster, z.strictObject({ clusters: z.record(z.string().regex(NAME), cluster) })]);
  return { title: 'pgark.yaml', ...z.toJSONSchema(file, { io: 'input', target: 'draft-2020-12' }) };
}
