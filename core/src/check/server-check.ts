import type { ReceiveConfig } from '../config/config.ts';
import type { ServerFacts } from '../postgres/server-facts.ts';
import type { Finding } from './finding.ts';

/** Milliseconds; more is a sign of no NTP. */
const MOST_SKEW = 10_000;

type Outcome = Omit<Finding, 'subject' | 'check'>;

/** Whether a server is set up for what the archive needs of it. `systemIds` are those that the archive holds. */
export function checkServer(
  facts: ServerFacts,
  { receive }: { readonly receive: Pick<ReceiveConfig, 'slot' | 'createSlot'> },
): readonly Finding[] {
  const findings: readonly (readonly [check: string, outcome: Outcome])[] = [
    ['version', version(facts)],
    ['replication', replication(facts)],
    ['wal_level', walLevel(facts)],
    ['senders', senders(facts)],
    ['slot', slot(facts, receive)],
    ['durability', durability(facts)],
    ['checksums', checksums(facts)],
    ['archiving', archiving(facts, receive.slot)],
    ['clock', clock(facts)],
  ];
  return findings.map(([check, outcome]) => ({ subject: 'server', check, ...outcome }));
}

const ok = (message: string): Outcome => ({ state: 'ok', message });
const failed = (message: string, hint: string): Outcome => ({ state: 'failed', message, hint });
const warning = (message: string, hint: string): Outcome => ({ state: 'warning', message, hint });

function version({ version: text, versionNumber, host, inRecovery }: ServerFacts): Outcome {
  if (versionNumber < 150_000)
    return failed(`${host} runs PostgreSQL ${text}`, 'pgark works with PostgreSQL 15 and later.');
  return ok(`PostgreSQL ${text} on ${host}, ${inRecovery ? 'a standby' : 'a primary'}`);
}

function replication({ mayReplicate, replicationProblem, user }: ServerFacts): Outcome {
  if (replicationProblem === undefined) return ok(`"${user}" can open a replication connection`);
  if (!mayReplicate)
    return failed(`role "${user}" may not replicate: ${replicationProblem}`, `Run: ALTER ROLE "${user}" REPLICATION;`);
  return failed(
    `a replication connection is refused: ${replicationProblem}`,
    `Add a line for database "replication" and user "${user}" to pg_hba.conf, and reload.`,
  );
}

function walLevel({ settings }: ServerFacts): Outcome {
  const level = settings.get('wal_level');
  if (level === 'replica' || level === 'logical') return ok(`wal_level is ${level}`);
  return failed(`wal_level is ${level ?? 'unknown'}`, "Set wal_level = 'replica' and restart the server.");
}

/** A backup and a receiver need one each. */
function senders({ settings, walSenders, slots }: ServerFacts): Outcome {
  const most = Number(settings.get('max_wal_senders'));
  const free = most - walSenders;
  if (most < 2)
    return failed(
      `max_wal_senders is ${most}`,
      'Set max_wal_senders to 10 and restart: a receiver and a backup need two.',
    );
  if (free < 1 && !slots.some(({ active }) => active))
    return warning(`all ${most} WAL senders are in use`, 'Raise max_wal_senders and restart.');
  return ok(`${walSenders} of ${most} WAL senders are in use`);
}

function slot(
  { settings, slots, host }: ServerFacts,
  { slot: name, createSlot }: Pick<ReceiveConfig, 'slot' | 'createSlot'>,
): Outcome {
  const limit = settings.get('max_slot_wal_keep_size') ?? '-1';
  const found = slots.find((one) => one.name === name);
  if (found === undefined) {
    const most = Number(settings.get('max_replication_slots'));
    if (slots.length >= most)
      return failed(
        `no slot "${name}", and all ${most} slots are in use`,
        'Raise max_replication_slots and restart, or drop a slot that nobody uses.',
      );
    if (createSlot) return ok(`no slot "${name}" yet: "pgark receive" creates it`);
    return failed(
      `no slot "${name}" on ${host}`,
      `Run: SELECT pg_create_physical_replication_slot('${name}', true); or set createSlot.`,
    );
  }
  if (found.type !== 'physical')
    return failed(`slot "${name}" is a ${found.type} one`, 'Name another slot in the config (receive.slot).');
  if (found.walStatus === 'lost')
    return failed(`slot "${name}" has lost its WAL`, 'Start "pgark receive", which makes it anew and reports the gap.');
  if (found.walStatus === 'unreserved')
    return warning(`slot "${name}" is about to lose its WAL`, 'Start "pgark receive" at once.');
  const state = found.active ? 'in use' : 'not in use: its WAL piles up in pg_wal until "pgark receive" runs';
  if (limit === '-1')
    return warning(
      `slot "${name}" is ${state}; it may keep any amount of WAL`,
      'Set max_slot_wal_keep_size to what the disk of pg_wal can hold, or a long outage fills it.',
    );
  return found.active
    ? ok(`slot "${name}" is ${state}`)
    : warning(`slot "${name}" is ${state}`, 'Start "pgark receive".');
}

function durability({ settings }: ServerFacts): Outcome {
  for (const name of ['fsync', 'full_page_writes'])
    if (settings.get(name) !== 'on')
      return failed(
        `${name} is off: a crash of the machine can destroy the cluster, and the WAL cannot mend it`,
        `Set ${name} = on and reload, then take a new backup.`,
      );
  return ok('fsync and full_page_writes are on');
}

function checksums({ settings }: ServerFacts): Outcome {
  if (settings.get('data_checksums') === 'on') return ok('pages have checksums');
  return warning(
    'pages have no checksums: damage on the disk goes into backups unseen',
    'Run "pg_checksums --enable" while the server is stopped.',
  );
}

function archiving({ settings, slots }: ServerFacts, name: string): Outcome {
  const mode = settings.get('archive_mode') ?? 'off';
  const command = settings.get('archive_command') ?? '';
  const library = settings.get('archive_library') ?? '';
  const streams = slots.some((one) => one.name === name);
  if (mode === 'off')
    return streams
      ? ok('archive_mode is off: WAL comes by the slot alone')
      : warning('archive_mode is off and nothing streams yet', 'Start "pgark receive", or set archive_command.');
  if (library === '' && (command === '' || command === '(disabled)'))
    return warning(
      'archive_mode is on without a command: WAL piles up in pg_wal',
      `Set archive_command = 'pgark wal-push "%p" "%f"', or archive_mode = off.`,
    );
  const what = library === '' ? `archive_command is ${command}` : `archive_library is ${library}`;
  return ok(what);
}

function clock({ clockAhead, host }: ServerFacts): Outcome {
  if (Math.abs(clockAhead) <= MOST_SKEW) return ok('the clocks agree');
  const seconds = Math.round(Math.abs(clockAhead) / 1000);
  return warning(
    `the clock of ${host} is ${seconds} s ${clockAhead > 0 ? 'ahead of' : 'behind'} this one`,
    'Run NTP on both: a restore goes by the time of the server, and ages are counted by this one.',
  );
}
