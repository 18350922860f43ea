/** The text of the config file that `pgark init` writes. */
import { stringify } from 'yaml';
import { formatBytes } from '../../documents/format.ts';
import type { ServerFacts } from '../../postgres/server-facts.ts';

export interface TemplateInput {
  readonly cluster: string;
  /** Without a password; absent: the libpq environment. */
  readonly url?: string;
  /** Whether a password stood in the URL and was left out. */
  readonly passwordLeftOut: boolean;
  readonly storage: Readonly<Record<string, unknown>>;
  readonly codecs: readonly string[];
  /** Names of the codecs that are installed, for the comment. */
  readonly installedCodecs: readonly string[];
  readonly facts?: ServerFacts;
}

/** What must be changed on the server or decided before the archive can work; for the file and for the terminal. */
export function serverHints(facts: ServerFacts): readonly string[] {
  const hints: string[] = [];
  const setting = (name: string): string => facts.settings.get(name) ?? '';
  if (facts.versionNumber < 150_000 || facts.versionNumber >= 190_000) {
    hints.push(`PostgreSQL ${facts.version} is not supported: pgark works with 15 to 18`);
  }
  if (setting('wal_level') === 'minimal') {
    hints.push('wal_level is minimal: set wal_level = replica and restart the server');
  }
  if (Number(setting('max_wal_senders')) < 2) {
    hints.push(
      `max_wal_senders is ${setting('max_wal_senders')}: set it to 4 or more and restart (receive and backup take one each)`,
    );
  }
  if (Number(setting('max_replication_slots')) <= facts.slots.length) {
    hints.push(`all ${setting('max_replication_slots')} of max_replication_slots are taken: raise it and restart`);
  }
  if (!facts.mayReplicate) hints.push(`role "${facts.user}" may not replicate: ALTER ROLE "${facts.user}" REPLICATION`);
  else if (facts.replicationProblem !== undefined) {
    hints.push(
      `a replication connection fails: ${facts.replicationProblem}; pg_hba.conf needs a line for the database "replication"`,
    );
  }
  if (setting('max_slot_wal_keep_size') !== '' && setting('max_slot_wal_keep_size') !== '-1') {
    hints.push(
      `max_slot_wal_keep_size is ${setting('max_slot_wal_keep_size')}: a receiver that is away for longer than that much WAL loses its slot`,
    );
  }
  if (setting('data_checksums') === 'off')
    hints.push('data checksums are off: damaged pages are not noticed while a backup runs');
  return hints;
}

/** A commented config: what is set, what was found, and the keys that most people change. */
export function configText(input: TemplateInput): string {
  const { facts } = input;
  const slot = facts?.slots.find(({ name }) => name === 'pgark');
  const lines = [
    '# pgark.yaml: checked by "pgark config check"; every key is in docs/reference/config.md.',
    ...(facts === undefined ? ['# Written without looking at a server.'] : factLines(facts)),
    '',
    `cluster: ${flow(input.cluster)}  # its name in the repository`,
    '',
    ...postgresLines(input),
    '',
    'repositories:',
    '  - name: primary',
    `    storage: ${flow(input.storage)}`,
    `    codecs: ${flow(input.codecs.map((use) => ({ use })))}  # in order of application; ${installed(input.installedCodecs)}`,
    '',
    'receive:',
    `  slot: pgark  # ${slot === undefined ? 'created by "pgark receive"' : `exists on the server, ${slot.active ? 'in use now' : 'not in use now'}`}`,
    '  # spool: /var/lib/pgark/spool  # WAL that is not in the storage yet; of the user who runs pgark',
    '  # ack: local  # or remote: PostgreSQL is told of WAL only when the storage has it',
    '',
    'backup:',
    '  checkpoint: fast  # spread: gentler, begins later',
    '  # maxRate: 100MiB  # bytes per second',
    '',
  ];
  return lines.join('\n');
}

function factLines(facts: ServerFacts): readonly string[] {
  const setting = (name: string): string => facts.settings.get(name) ?? 'unknown';
  const archive = facts.settings.get('archive_mode') ?? 'off';
  const slots = facts.slots.map(({ name, type, active }) => `${name} (${type}${active ? ', active' : ''})`).join(', ');
  const found = [
    `Server ${facts.host}: PostgreSQL ${facts.version}, ${facts.inRecovery ? 'a standby' : 'a primary'}${facts.size === undefined ? '' : `, ${formatBytes(facts.size)} of databases`}${facts.tablespaces === 0 ? '' : `, tablespaces: ${facts.tablespaces}`}.`,
    `wal_segment_size ${setting('wal_segment_size')}, wal_level ${setting('wal_level')}, max_wal_senders ${setting('max_wal_senders')}, max_replication_slots ${setting('max_replication_slots')}.`,
    `Replication slots: ${slots === '' ? 'none' : slots}.`,
    ...(archive === 'off' ? [] : [`archive_mode is ${archive}, archive_command "${setting('archive_command')}".`]),
  ];
  const hints = serverHints(facts);
  return [...found, ...(hints.length === 0 ? [] : ['', 'To do:', ...hints.map((hint) => `- ${hint}`)])].map((line) =>
    `# ${line.replaceAll(/[\r\n]+/g, ' ')}`.trimEnd(),
  );
}

function postgresLines({ url, passwordLeftOut }: TemplateInput): readonly string[] {
  const password =
    '  # password: { file: /etc/pgark/password }  # or { env: NAME }, { command: [PROGRAM, ...] }, or ~/.pgpass';
  if (url === undefined) {
    return [
      '# The server is that of the libpq environment (PGHOST, PGUSER, ...) unless it is named here.',
      '# postgres:',
      `#   url: postgres://pgark@db1,db2/?target_session_attrs=primary`,
    ];
  }
  return [
    'postgres:',
    `  url: ${flow(url)}`,
    ...(passwordLeftOut
      ? ['  # The password of the given URL was left out: this file holds no secret.', password]
      : [password]),
  ];
}

function installed(codecs: readonly string[]): string {
  return codecs.length === 0
    ? 'none is installed, see "npm install @pgark/plugins"'
    : `installed: ${codecs.join(', ')}`;
}

/** A value as YAML on one line. */
function flow(value: unknown): string {
  return stringify(value, { collectionStyle: 'flow', lineWidth: 0 }).trimEnd();
}
