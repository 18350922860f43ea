/**
 * The whole cycle on a bucket with Object Lock, with credentials that can neither delete nor overwrite; then somebody with all the credentials
 * there are overwrites and deletes everything, and the archive of the moment before is restored.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Secret } from '@pgark/sdk';
import { S3Storage } from '@pgark/storage-s3';
import { describe, expect, test } from 'vitest';
import { TestArchive, type BackupFacts } from '../support/archive.ts';
import { later } from '../support/later.ts';
import { giveToServer, PostgresServer } from '../support/postgres.ts';
import { flushedAll } from '../support/receiving.ts';
import { restored, startAndPromote } from '../support/restoring.ts';
import { startVersity, versityMissing, type VersityServer } from '../support/s3-server.ts';
import { silentLogger } from '../support/silent-logger.ts';
import { WriteOnceGateway } from '../support/write-once-gateway.ts';

const BUCKET = 'archive';
const SECRET = 'secret of the writer';
const PAGE = readFileSync(new URL('../../docs/how-to/immutability.md', import.meta.url), 'utf8');

/** The statements of the page's policy for a role, for a user of the server. */
function statementsOf(role: string, user: string): readonly object[] {
  const [, json] = new RegExp(`\\*\\*${role}\\*\\*[^]*?\`\`\`json\n([^]*?)\`\`\``).exec(PAGE) ?? [];
  if (json === undefined) throw new Error(`the page has no policy for ${role}`);
  const policy = JSON.parse(json.replaceAll('my-backups', BUCKET)) as { Statement: object[] };
  return policy.Statement.map((statement) => ({ ...statement, Principal: { AWS: [user] } }));
}

interface Stored {
  readonly key: string;
  readonly version: string;
}

/** Every version of every object, and every delete marker; but for leases, which end by themselves and are not locked. */
async function everything(server: VersityServer): Promise<{ readonly versions: Stored[]; readonly markers: Stored[] }> {
  const versions: Stored[] = [];
  const markers: Stored[] = [];
  for (let from: object = {}; ;) {
    const page = await server.admin.listObjectVersions({ Bucket: BUCKET, ...from });
    const add = (
      to: Stored[],
      entries: readonly { Key?: string | undefined; VersionId?: string | undefined }[] = [],
    ): void => {
      for (const { Key: key = '', VersionId: version = '' } of entries)
        if (!key.includes('/leases/')) to.push({ key, version });
    };
    add(versions, page.Versions);
    add(markers, page.DeleteMarkers);
    if (page.IsTruncated !== true) return { versions, markers };
    from = { KeyMarker: page.NextKeyMarker, VersionIdMarker: page.NextVersionIdMarker };
  }
}

/** Overwrites half of the objects, deletes the others, and then tries to delete every version. Gives those whose delete was refused. */
async function attack(server: VersityServer): Promise<readonly Stored[]> {
  const { admin } = server;
  const { versions } = await everything(server);
  for (const [at, { key: Key }] of versions.entries()) {
    if (at % 2 === 0) await admin.putObject({ Bucket: BUCKET, Key, Body: 'encrypted: pay here' });
    else await admin.deleteObject({ Bucket: BUCKET, Key });
  }
  const refused: Stored[] = [];
  for (const { key: Key, version: VersionId } of versions) {
    try {
      await admin.deleteObject({ Bucket: BUCKET, Key, VersionId, BypassGovernanceRetention: true });
    } catch (error) {
      expect(error).toMatchObject({ name: 'AccessDenied' });
      refused.push({ key: Key, version: VersionId });
    }
  }
  return refused;
}

const reason = versityMissing === undefined ? '' : ` (${versityMissing})`;

describe.skipIf(versityMissing !== undefined)(`an archive that cannot be changed${reason}`, () => {
  test('the whole cycle with a writer that can neither delete nor overwrite; everything survives an attack', async () => {
    const store = later(await startVersity({ buckets: [], lockedBuckets: [BUCKET] }), (started) => started.stop());
    store.addUser('writer', SECRET);
    store.addUser('recovery', SECRET);
    const Statement = [...statementsOf('Writer', 'writer'), ...statementsOf('Recovery', 'recovery')];
    await store.admin.putBucketPolicy({ Bucket: BUCKET, Policy: JSON.stringify({ Version: '2012-10-17', Statement }) });
    const gateway = later(await WriteOnceGateway.listen(store.port), (listening) => listening.close());
    const storage = {
      use: 's3',
      provider: 'versitygw',
      bucket: BUCKET,
      endpoint: gateway.endpoint,
      accessKeyId: 'writer',
      secretAccessKey: SECRET,
      objectLock: 'compliance',
      // So that parts of a backup go as uploads in parts.
      singlePut: '1MiB',
      partSize: '5MiB',
    };
    const primary = { name: 'primary', storage, prefix: 'prod', lock: '1h', codecs: [{ use: 'zstd', level: 1 }] };
    const second = { ...primary, name: 'second', prefix: 'prod/second' };
    const server = later(await PostgresServer.start({ major: 18 }), (started) => started.destroy());
    const archive = later(new TestArchive(server, { config: { repositories: [primary] } }), (made) => made.destroy());

    const written = (name: string, repositories: readonly object[]): string => {
      const path = join(archive.folder, `${name}.json`);
      const config = JSON.parse(readFileSync(archive.config, 'utf8')) as object;
      writeFileSync(path, JSON.stringify({ ...config, repositories }));
      giveToServer(path);
      return path;
    };
    const { findings } = await archive.json<{ findings: { check: string; state: string; message: string }[] }>([
      'check',
      '--no-server',
    ]);
    expect(findings.filter(({ state }) => state === 'failed')).toEqual([]);
    const found = (check: string): string => findings.find((finding) => finding.check === check)?.message ?? '';
    expect(found('retention lock')).toContain('replacing it is refused, deleting it is refused');
    expect(found('remove')).toContain('these credentials may not delete');

    const receiver = later(await archive.receive(server), (started) => started.kill());
    // Not a load: rows before, between and behind the backups.
    await server.query('CREATE TABLE rows AS SELECT n, md5(n::text) AS text FROM generate_series(1, 20000) n');
    const first = await archive.backup(['--part-size', '8MiB']);
    await server.query('INSERT INTO rows SELECT n, md5(n::text) FROM generate_series(20001, 40000) n');
    const early = (await everything(store)).versions.filter(({ key }) => !key.includes('/check/'));
    // The second one with a longer lock: those of all that is needed have less than half of that left, and are extended.
    const longer = written('longer', [{ ...primary, lock: '3h' }]);
    const last = await archive.backup(['--config', longer, '--part-size', '8MiB']);
    const extended: string[] = [];
    for (const { key: Key, version: VersionId } of early) {
      const { Retention } = await store.admin.getObjectRetention({ Bucket: BUCKET, Key, VersionId });
      if ((Retention?.RetainUntilDate?.getTime() ?? 0) > Date.now() + 2.5 * 3_600_000) extended.push(Key);
    }
    const isOfFirst = (key: string): boolean => key.includes(first.id) || key.endsWith('/pgark.json');
    expect(extended.filter(isOfFirst)).toEqual(early.map(({ key }) => key).filter(isOfFirst));
    expect(extended.some((key) => key.includes('/wal/'))).toBe(true);
    await server.query('INSERT INTO rows SELECT n, md5(n::text) FROM generate_series(40001, 60000) n');
    const segment = await server.value('SELECT pg_walfile_name(pg_switch_wal())');
    await flushedAll(server);
    expect(await receiver.stop(), receiver.output).toBe(0);
    await archive.run(['wal-push', join(server.data, 'pg_wal', segment), segment]);

    const both = written('both', [primary, second]);
    await archive.run(['--config', both, 'copy', '--from', 'primary', '--to', 'second']);

    // H-53: what is given up on the way leaves nothing, and nothing locked.
    const before = await everything(store);
    const direct = new S3Storage(
      { ...storage, provider: 'versitygw', objectLock: 'compliance', secretAccessKey: new Secret(SECRET) },
      { directory: '/', logger: silentLogger },
    );
    const abort = new AbortController();
    const body = (async function* () {
      for (let part = 0; part < 4; part++) {
        yield Buffer.alloc(6 * 1024 * 1024, part);
        if (part === 2) abort.abort();
      }
    })();
    const options = { ifAbsent: true, retainUntil: new Date(Date.now() + 60_000), signal: abort.signal };
    await expect(direct.put('prod/given-up', body, options)).rejects.toMatchObject({ code: 'ABORTED' });
    await direct.close();
    expect((await store.admin.listMultipartUploads({ Bucket: BUCKET })).Uploads ?? []).toEqual([]);
    expect(await everything(store)).toEqual(before);

    // Every object is one version, and locked, but those that the check has made to see whether it may delete them.
    expect(before.markers).toEqual([]);
    const own = before.versions.filter(({ key }) => !key.includes('/check/'));
    expect(new Set(own.map(({ key }) => key)).size).toBe(own.length);
    for (const { key: Key, version: VersionId } of own) {
      const { Retention } = await store.admin.getObjectRetention({ Bucket: BUCKET, Key, VersionId });
      expect(Retention, Key).toMatchObject({ Mode: 'COMPLIANCE' });
      expect(Retention?.RetainUntilDate?.getTime(), Key).toBeGreaterThan(Date.now() + 50 * 60_000);
    }

    const expectAll = async (name: string, args: readonly string[]): Promise<void> => {
      const clone = later(await restored(archive, 18, name, args), (opened) => opened.destroy());
      await startAndPromote(clone);
      expect(await clone.value('SELECT count(*) FROM rows WHERE text = md5(n::text)')).toBe('60000');
      await clone.stop();
    };
    await expectAll('before', []);

    const moment = new Date().toISOString();
    await server.stop();
    const refused = await attack(store);
    const after = await everything(store);
    for (const stored of own) {
      expect(refused, `the delete of ${stored.key} must have been refused`).toContainEqual(stored);
      expect(after.versions, stored.key).toContainEqual(stored);
    }
    expect(after.markers.length, 'objects must have been hidden').toBeGreaterThan(own.length / 3);
    const shown = await archive.run(['list']).catch((error: unknown) => String(error));
    expect(shown).toMatch(/there are no backups|is not a format marker/);
    const reader = { ...storage, endpoint: store.endpoint, accessKeyId: 'recovery' };
    const recovery = ['--config', written('recovery', [{ ...primary, storage: reader, readOnly: true }])];
    const listed = await archive.json<BackupFacts[]>([...recovery, 'list', '--as-of', moment]);
    expect(listed.map(({ id }) => id)).toEqual([first.id, last.id]);
    await expectAll('after', [...recovery, '--as-of', moment]);
  });
});
