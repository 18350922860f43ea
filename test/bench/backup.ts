/**
 * `pgark backup` to the file system, beside `pg_basebackup -Ft` on the same server, both with an fsync at the end. By default the
 * peer asks for a manifest of CRC32C; `sha256` makes it ask for what pgark always asks for.
 */
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { giveToServer, type PostgresServer } from '../support/postgres.ts';
import { archive, pgark, TOOLS } from './cluster.ts';
import { runCommand, Watched, type Command, type Figure } from './measure.ts';

export interface BackupVariant {
  readonly zstd: boolean;
  readonly sha256: boolean;
}

export async function benchBackup(
  server: PostgresServer,
  options: BackupVariant & { readonly rounds: number },
): Promise<{ figure: Figure; peaks: Readonly<Record<string, number>> }> {
  const { zstd, sha256 } = options;
  const name = `backup_${zstd ? 'zstd' : 'plain'}${sha256 ? '_sha256' : ''}`;
  const { config, folder } = archive(server, name, zstd ? [{ use: 'zstd', level: 1 }] : []);
  const target = join(server.folder, 'basebackup');
  const flags = [
    '-Ft',
    ...(zstd ? ['--compress=client-zstd:1'] : []),
    ...(sha256 ? ['--manifest-checksums=SHA256'] : []),
  ];
  const ours: Command = { ...pgark(config, ['backup', '--checkpoint', 'fast']), asServer: true };
  const peer: Command = {
    program: `${TOOLS}/pg_basebackup`,
    args: ['-D', target, '-X', 'none', '--checkpoint=fast', ...flags, '-d', server.url()],
    asServer: true,
  };
  // Both run beside the same receiver: pgark needs it to have the WAL of the backup, the peer gets the same company.
  const receiver = new Watched({ ...pgark(config, ['receive']), asServer: true });
  const seconds: { ours: number[]; peer: number[] } = { ours: [], peer: [] };
  const peaks = { backup: 0, restore: 0 };
  try {
    while ((await server.value(`SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'`)) === '0')
      await sleep(100);
    for (let round = 0; round <= options.rounds; round++) {
      const own = await runCommand(ours);
      if (round === 0 && !sha256) peaks.restore = await restorePeak(config, folder);
      const [systemId = ''] = readdirSync(join(folder, 'repository', 'bench')).filter((entry) => /^\d+$/.test(entry));
      rmSync(join(folder, 'repository', 'bench', systemId, 'backups'), { recursive: true });
      mkdirSync(target);
      giveToServer(target);
      const other = await runCommand(peer);
      rmSync(target, { recursive: true });
      peaks.backup = Math.max(peaks.backup, own.peakBytes);
      if (round === 0) continue; // fills the caches
      seconds.ours.push(own.seconds);
      seconds.peer.push(other.seconds);
    }
  } finally {
    await receiver.stop('SIGINT');
    await server.query(`SELECT pg_drop_replication_slot('pgark_${name}')`);
  }
  const figure: Figure = {
    name: zstd ? 'backup, zstd 1' : 'backup, not compressed',
    unit: 's',
    better: 'less',
    ...seconds,
    peerName: `pg_basebackup ${flags.join(' ')}`,
  };
  return { figure, peaks };
}

/** Peak memory of restoring the newest backup. */
async function restorePeak(config: string, folder: string): Promise<number> {
  const directory = join(folder, 'restored');
  const { peakBytes } = await runCommand({ ...pgark(config, ['restore', directory]), asServer: true });
  rmSync(directory, { recursive: true });
  return peakBytes;
}
