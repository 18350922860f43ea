/**
 * `pgark backup` to the file system, beside `pg_basebackup -Ft` and pgBackRest on the same server, all with an fsync at the end. By default
 * pg_basebackup asks for a manifest of CRC32C; `sha256` makes it ask for what pgark always asks for.
 */
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { giveToServer, type PostgresServer } from '../support/postgres.ts';
import { archive, encrypted, pgark, streaming, TOOLS, type Archive } from './cluster.ts';
import { installed } from './machine.ts';
import { runCommand, Watched, type Command, type Figure, type Run } from './measure.ts';
import { costsOf, runPairs } from './pairs.ts';
import { PgBackRest } from './pgbackrest.ts';

export interface BackupResult {
  readonly figures: readonly Figure[];
  readonly peaks: Readonly<Record<string, number>>;
  readonly leftOut: readonly string[];
}

interface Variant {
  /** Part of the slot's name. */
  readonly id: string;
  readonly title: string;
  readonly codecs: readonly object[];
  readonly peer: BackupPeer;
  readonly target?: NonNullable<Figure['target']>;
}

interface BackupPeer {
  readonly name: string;
  /** From nothing to a backup; only the command is timed. */
  run(): Promise<Run>;
}

const ZSTD = [{ use: 'zstd', level: 1 }];

export async function benchBackup(server: PostgresServer, rounds: number): Promise<BackupResult> {
  const leftOut: string[] = [];
  const sealed = encrypted(server.folder);
  if (sealed === undefined) leftOut.push('backup, zstd 1 + age: the codec or age-keygen is missing');
  const rest = installed('pgbackrest') ? new PgBackRest(server) : undefined;
  if (rest === undefined) leftOut.push('beside pgBackRest: pgbackrest is not installed');

  const sha256 = '--manifest-checksums=SHA256';
  const client = '--compress=client-zstd:1';
  const variants: Variant[] = [
    { id: 'plain', title: 'not compressed', codecs: [], peer: baseBackup(server) },
    { id: 'plain_sha256', title: 'not compressed', codecs: [], peer: baseBackup(server, sha256) },
    { id: 'zstd', title: 'zstd 1', codecs: ZSTD, peer: baseBackup(server, client) },
    { id: 'zstd_sha256', title: 'zstd 1', codecs: ZSTD, peer: baseBackup(server, client, sha256) },
  ];
  const target = { ratio: 1 };
  if (sealed !== undefined)
    variants.push({ id: 'age', title: 'zstd 1 + age', codecs: sealed, peer: baseBackup(server, client), target });
  if (rest !== undefined) {
    const peer: BackupPeer = {
      name: PgBackRest.title,
      run: async () => {
        await rest.renew();
        return runCommand(rest.backup);
      },
    };
    variants.push({ id: 'zstd_rest', title: 'zstd 1', codecs: ZSTD, peer });
    if (sealed !== undefined) variants.push({ id: 'age_rest', title: 'zstd 1 + age', codecs: sealed, peer, target });
  }

  const figures: Figure[] = [];
  const peaks: Record<string, number> = {};
  for (const variant of variants) {
    const figure = await benchVariant(server, variant, rounds);
    figures.push(figure);
    const command = `backup, ${variant.title}`;
    peaks[command] = Math.max(peaks[command] ?? 0, figure.cost?.ours.peakBytes ?? 0);
  }
  const restored = await benchRestore(server, rest, rounds);
  if (restored.cost !== undefined) peaks['restore, zstd 1'] = restored.cost.ours.peakBytes;
  return { figures: [...figures, restored], peaks, leftOut };
}

function baseBackup(server: PostgresServer, ...flags: readonly string[]): BackupPeer {
  const target = join(server.folder, 'basebackup');
  const command: Command = {
    program: `${TOOLS}/pg_basebackup`,
    args: ['-Ft', '-D', target, '-X', 'none', '--checkpoint=fast', ...flags, '-d', server.url()],
    asServer: true,
    family: true,
  };
  const run = async (): Promise<Run> => {
    mkdirSync(target);
    giveToServer(target);
    const done = await runCommand(command);
    rmSync(target, { recursive: true });
    return done;
  };
  return { name: ['pg_basebackup -Ft', ...flags].join(' '), run };
}

/** All run beside the same receiver: pgark needs it to have the WAL of the backup, the peers get the same company. */
async function withReceiver<Result>(
  server: PostgresServer,
  { config }: Archive,
  slot: string,
  work: () => Promise<Result>,
): Promise<Result> {
  const receiver = new Watched({ ...pgark(config, ['receive']), asServer: true });
  try {
    await streaming(server, [receiver]);
    return await work();
  } finally {
    await receiver.stop('SIGINT');
    await server.query(`SELECT pg_drop_replication_slot($1)`, [slot]);
  }
}

/** `pgark backup` into an archive. */
export async function takeBackup({ config }: Archive): Promise<Run> {
  return runCommand({ ...pgark(config, ['backup', '--checkpoint', 'fast']), asServer: true });
}

/** So that the next one begins where this one began. */
export function removeBackups({ folder }: Archive): void {
  const cluster = join(folder, 'repository', 'bench');
  for (const systemId of readdirSync(cluster).filter((entry) => /^\d+$/.test(entry)))
    rmSync(join(cluster, systemId, 'backups'), { recursive: true, force: true });
}

async function benchVariant(server: PostgresServer, variant: Variant, rounds: number): Promise<Figure> {
  const name = `backup_${variant.id}`;
  const own = archive(server, name, variant.codecs);
  const runs = await withReceiver(server, own, `pgark_${name}`, () =>
    runPairs({
      rounds,
      ours: async () => {
        const run = await takeBackup(own);
        removeBackups(own);
        return run;
      },
      peer: () => variant.peer.run(),
    }),
  );
  rmSync(own.folder, { recursive: true });
  return {
    name: `backup, ${variant.title}`,
    unit: 's',
    better: 'less',
    ours: runs.ours.map(({ seconds }) => seconds),
    peer: runs.peer.map(({ seconds }) => seconds),
    peerName: variant.peer.name,
    ...(variant.target === undefined ? {} : { target: variant.target }),
    ...costsOf(runs),
  };
}

/** The newest backup into an empty folder, ready to be started and synced; no server recovers from it here. */
async function benchRestore(server: PostgresServer, rest: PgBackRest | undefined, rounds: number): Promise<Figure> {
  const own = archive(server, 'restore', ZSTD);
  const folder = join(server.folder, 'restored');
  const into = async (command: Command): Promise<Run> => {
    mkdirSync(folder, { mode: 0o700 });
    giveToServer(folder);
    const run = await runCommand(command);
    // Whoever restored less than a whole cluster was not faster.
    const lost = readdirSync(join(server.data, 'base'))
      .filter((name) => /^\d+$/.test(name)) // pgsql_tmp is in no backup
      .filter((name) => countFiles(join(folder, 'base', name)) < countFiles(join(server.data, 'base', name)) * 0.95);
    if (lost.length > 0) throw new Error(`${command.program} did not restore the databases ${lost.join(', ')}`);
    rmSync(folder, { recursive: true });
    return run;
  };
  return withReceiver(server, own, 'pgark_restore', async () => {
    await takeBackup(own);
    if (rest !== undefined) {
      await rest.renew();
      await runCommand(rest.backup);
    }
    const runs = await runPairs({
      rounds,
      ours: () => into({ ...pgark(own.config, ['restore', folder]), asServer: true }),
      ...(rest === undefined ? {} : { peer: () => into(rest.restore(folder)) }),
    });
    const seconds = (side: readonly Run[]): number[] => side.map((run) => run.seconds);
    return {
      name: 'restore, zstd 1',
      unit: 's',
      better: 'less',
      ours: seconds(runs.ours),
      ...(rest === undefined ? {} : { peer: seconds(runs.peer), peerName: PgBackRest.title, target: { ratio: 1 } }),
      ...costsOf(runs),
    };
  });
}

/** A database's files are all in one folder; a temporary one more or less does not matter. */
function countFiles(folder: string): number {
  return readdirSync(folder).length;
}
