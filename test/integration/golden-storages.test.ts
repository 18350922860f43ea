/**
 * The golden test once more, on every storage over the network: load, a backup, the server and all that is local gone, restore. Only
 * what lies in the storage can bring the cluster back.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { TestArchive } from '../support/archive.ts';
import { ACCOUNT, ACCOUNT_KEY, azureMissing, AzureServer } from '../support/azure-server.ts';
import { expectClean } from '../support/amcheck.ts';
import { gcsMissing, startGcsServer } from '../support/gcs-server.ts';
import { later } from '../support/later.ts';
import { ledger, Writers } from '../support/load.ts';
import { PostgresServer } from '../support/postgres.ts';
import { flushedAll } from '../support/receiving.ts';
import { restoredAlone } from '../support/restoring.ts';
import { startFauxS3, startVersity, versityMissing, type S3Server } from '../support/s3-server.ts';
import { noSshd, SftpServer } from '../support/sftp-server.ts';

interface Place {
  readonly name: string;
  /** Why it cannot be tried here. */
  readonly missing: string | undefined;
  /** Starts the storage and gives the section of the config. */
  readonly start: () => Promise<Readonly<Record<string, unknown>>>;
}

const s3 = ({ endpoint, accessKeyId, secretAccessKey }: S3Server): Readonly<Record<string, unknown>> => ({
  use: 's3',
  bucket: 'archive',
  endpoint,
  accessKeyId,
  secretAccessKey,
});

const PLACES: readonly Place[] = [
  {
    name: 's3 (fauxqs)',
    missing: undefined,
    start: async () => s3(later(await startFauxS3(['archive']), (server) => server.stop())),
  },
  {
    name: 's3 (versitygw)',
    missing: versityMissing,
    start: async () => ({
      ...s3(later(await startVersity({ buckets: ['archive'] }), (server) => server.stop())),
      provider: 'minio',
    }),
  },
  {
    name: 'azure (azurite)',
    missing: azureMissing,
    start: async () => {
      const server = later(await AzureServer.start(), (started) => started.stop());
      const container = await server.createContainer('archive');
      return { use: 'azure', account: ACCOUNT, container, accountKey: ACCOUNT_KEY, endpoint: server.endpoint() };
    },
  },
  {
    name: 'gcs (fake-gcs-server)',
    missing: gcsMissing,
    start: async () => {
      const server = later(await startGcsServer(), (started) => started.stop());
      await server.createBucket('archive');
      return { use: 'gcs', bucket: 'archive', endpoint: server.endpoint, anonymous: true };
    },
  },
  {
    name: 'sftp (OpenSSH)',
    missing: noSshd,
    start: async () => {
      const server = later(await SftpServer.start(), (started) => started.stop());
      return {
        use: 'sftp',
        host: server.host,
        port: server.port,
        user: server.user,
        path: server.archives,
        privateKey: readFileSync(server.privateKeyFile, 'utf8'),
        knownHosts: server.knownHosts,
      };
    },
  },
];

describe('the golden test on', () => {
  for (const { name, missing, start } of PLACES) {
    test.skipIf(missing !== undefined)(`${name}${missing === undefined ? '' : ` (${missing})`}`, async () => {
      const storage = await start();
      const server = later(await PostgresServer.start({ major: 18 }), (started) => started.destroy());
      const repositories = [{ storage, prefix: 'some/prefix', codecs: [{ use: 'zstd', level: 1 }] }];
      const archive = later(new TestArchive(server, { config: { repositories } }), (made) => made.destroy());
      const checked = await archive.json<{ findings: { subject: string; check: string; state: string }[] }>([
        'check',
        '--no-server',
      ]);
      const probed = checked.findings.filter(({ subject }) => subject.startsWith('repository'));
      expect(probed.filter(({ state }) => state === 'failed')).toEqual([]);
      expect(probed.find(({ check }) => check === 'remove')).toMatchObject({ state: 'ok' });

      const receiver = later(await archive.receive(server), (started) => started.kill());
      const writers = await Writers.start(server);
      await archive.backup(['--part-size', '8MiB']);
      await server.query('CREATE TABLE wide AS SELECT n, md5(n::text) AS text FROM generate_series(1, 200000) n');
      const acknowledged = await writers.stop();
      expect(writers.total, 'the load must have run').toBeGreaterThan(100);
      await server.query('SELECT pg_switch_wal()');
      await flushedAll(server);
      // In order, it ships what is whole before it ends.
      expect(await receiver.stop(), receiver.output).toBe(0);
      const clone = await restoredAlone(archive, server);
      const found = await ledger(clone);
      expect(found.holes).toBe(0);
      found.last.forEach((last, session) => {
        expect(last, `session ${session}`).toBeGreaterThanOrEqual(acknowledged[session] ?? 0);
      });
      expect(await clone.value('SELECT count(*) FROM wide')).toBe('200000');
      await expectClean(clone);
    });
  }
});
