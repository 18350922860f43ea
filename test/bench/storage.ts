/** pgark on S3 (versitygw on loopback, a process on the same machine) beside pgark on the file system, both with zstd 1. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { PostgresServer } from '../support/postgres.ts';
import { startVersity, versityMissing, type VersityServer } from '../support/s3-server.ts';
import { archive, pgark, streaming, type Archive } from './cluster.ts';
import { runCommand, Watched, type Figure, type Run } from './measure.ts';

/** Plain WAL that each run ships. */
const SEGMENTS = 96;
const SEGMENT_BYTES = 16 * 1024 * 1024;
const CODECS = [{ use: 'zstd', level: 1 }];
const SOURCE_SLOT = 'bench_source';

export interface StorageResult {
  readonly figures: readonly Figure[];
  readonly peaks: Readonly<Record<string, number>>;
}

export async function benchStorage(server: PostgresServer, rounds: number): Promise<StorageResult> {
  if (versityMissing !== undefined) throw new Error(`S3 cannot be measured: ${versityMissing}`);
  const s3 = await startVersity({ buckets: ['bench'] });
  try {
    const shipping = await benchShipping(server, s3, rounds);
    const signed = await benchBackups(server, s3, { rounds, signPayload: true });
    const unsigned = await benchBackups(server, s3, { rounds, signPayload: false });
    return {
      figures: [...shipping.figures, ...signed.figures, ...unsigned.figures],
      peaks: { ...shipping.peaks, ...signed.peaks, ...unsigned.peaks },
    };
  } finally {
    await s3.stop();
  }
}

/** An archive in a prefix of its own, as runs may not find each other's objects. */
function onS3(server: PostgresServer, s3: VersityServer, name: string, options: object = {}): Archive {
  const { endpoint, accessKeyId, secretAccessKey } = s3;
  const storage = { use: 's3', bucket: 'bench', endpoint, accessKeyId, secretAccessKey, ...options };
  return archive(server, name, CODECS, storage);
}

/** WAL that waits on the server is received and shipped: the time until the last segment is stored. */
async function benchShipping(server: PostgresServer, s3: VersityServer, rounds: number): Promise<StorageResult> {
  await server.query(`SELECT pg_create_physical_replication_slot('${SOURCE_SLOT}', true)`);
  const until = await makeWal(server);
  const rates: { ours: number[]; peer: number[] } = { ours: [], peer: [] };
  let peakBytes = 0;
  const ship = async (archiveOf: (name: string) => Archive, name: string): Promise<number> => {
    const { folder, config } = archiveOf(name);
    await server.query(`SELECT pg_copy_physical_replication_slot('${SOURCE_SLOT}', 'pgark_${name}')`);
    try {
      const run = await runCommand({ ...pgark(config, ['receive', '--until', until, '--json']), asServer: true });
      checkShipped(run);
      peakBytes = Math.max(peakBytes, run.peakBytes);
      return (SEGMENTS * SEGMENT_BYTES) / 1e6 / run.seconds;
    } finally {
      await server.query(`SELECT pg_drop_replication_slot('pgark_${name}')`);
      rmSync(folder, { recursive: true });
    }
  };
  for (let round = 0; round < rounds; round++) {
    // Each has a repository of its own, or the second would find its segments there.
    await clear(s3);
    rates.ours.push(await ship((name) => onS3(server, s3, name), `ship_s3_${round}`));
    rates.peer.push(await ship((name) => archive(server, name, CODECS), `ship_fs_${round}`));
  }
  await server.query(`SELECT pg_drop_replication_slot('${SOURCE_SLOT}')`);
  const name = 'WAL received and shipped to S3, zstd 1';
  const figure: Figure = { name, unit: 'MB/s', better: 'more', ...rates, peerName: 'the same to the file system' };
  return { figures: [figure], peaks: { 'receive to S3': peakBytes } };
}

/** What was left in the spool was not shipped, and its time not measured. */
function checkShipped({ stdout }: Run): void {
  const shipped = stdout.split('\n').filter((line) => line.includes('"wal.shipped"')).length;
  if (shipped < SEGMENTS) throw new Error(`${shipped} of ${SEGMENTS} segments were shipped`);
}

/** WAL as inserts make it; gives the LSN behind its last segment. */
async function makeWal(server: PostgresServer): Promise<string> {
  await server.query('CREATE TABLE IF NOT EXISTS wal_source (n bigint, line text)');
  const from = await server.value('SELECT pg_current_wal_lsn()');
  const done = `SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '${from}') > ${(SEGMENTS + 1) * SEGMENT_BYTES}`;
  while ((await server.value(done)) !== 'true') {
    await server.query(
      `INSERT INTO wal_source SELECT n, md5(n::text) || ' of customer ' || n % 100003 FROM generate_series(1, 500000) n`,
    );
  }
  await server.query('TRUNCATE wal_source');
  return server.value(`SELECT '${from}'::pg_lsn + ${(SEGMENTS + 1) * SEGMENT_BYTES}`);
}

/**
 * Backups with parts of 256 MiB, and of 1 GiB for the memory. Over http the signature covers the bytes, for which both sides hash them;
 * over https to AWS, and here without `signPayload`, a CRC32 does.
 */
async function benchBackups(
  server: PostgresServer,
  s3: VersityServer,
  { rounds, signPayload }: { readonly rounds: number; readonly signPayload: boolean },
): Promise<StorageResult> {
  await clear(s3);
  const seconds: { ours: number[]; peer: number[] } = { ours: [], peer: [] };
  const remote = onS3(server, s3, 'storage_s3', signPayload ? {} : { checksums: 'crc32', signPayload });
  const local = archive(server, 'storage_fs', CODECS);
  let peakBytes = 0;
  const backup = async ({ config }: Archive, flags: readonly string[] = []): Promise<Run> =>
    runCommand({ ...pgark(config, ['backup', '--checkpoint', 'fast', ...flags]), asServer: true });
  const receivers = [remote, local].map(({ config }) => new Watched({ ...pgark(config, ['receive']), asServer: true }));
  try {
    await streaming(server, receivers);
    for (let round = 0; round <= rounds; round++) {
      const own = await backup(remote);
      const peer = await backup(local);
      if (round === 0) continue; // fills the caches
      seconds.ours.push(own.seconds);
      seconds.peer.push(peer.seconds);
    }
    ({ peakBytes } = await backup(remote, ['--part-size', '1GiB']));
  } finally {
    for (const receiver of receivers) await receiver.stop('SIGINT');
    for (const name of ['storage_s3', 'storage_fs']) {
      await server.query(`SELECT pg_drop_replication_slot('pgark_${name}')`);
      rmSync(join(server.folder, name), { recursive: true });
    }
  }
  const name = `backup to S3, zstd 1, bytes ${signPayload ? 'signed' : 'with a CRC32'}`;
  const figure: Figure = { name, unit: 's', better: 'less', ...seconds, peerName: 'the same to the file system' };
  return { figures: [figure], peaks: { [`${name}, parts of 1 GiB`]: peakBytes } };
}

async function clear(s3: VersityServer): Promise<void> {
  for (;;) {
    const { Contents = [] } = await s3.admin.listObjectsV2({ Bucket: 'bench' });
    if (Contents.length === 0) return;
    for (const { Key } of Contents) await s3.admin.deleteObject({ Bucket: 'bench', Key: Key ?? '' });
  }
}
