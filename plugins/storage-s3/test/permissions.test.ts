/** The policies of the how-to, as printed there, on a server that enforces them. */
import { readFileSync } from 'node:fs';
import { Secret } from '@pgark/sdk';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startVersity, versityMissing, type VersityServer } from '../../../test/support/s3-server.ts';
import { failure, MIB, openStorage, randomBody, readBack } from './helpers.ts';

const PAGE = readFileSync(new URL('../../../docs/how-to/storage-s3.md', import.meta.url), 'utf8');

/** The policy that follows `**Role**` on the page, for a user of the test's bucket. */
function policyOf(role: string, user: string, bucket: string): string {
  const [, json] = new RegExp(`\\*\\*${role}\\*\\*[^]*?\`\`\`json\n([^]*?)\`\`\``).exec(PAGE) ?? [];
  if (json === undefined) throw new Error(`the page has no policy for ${role}`);
  const policy = JSON.parse(json.replaceAll('my-backups', bucket)) as { Statement: object[] };
  return JSON.stringify({
    ...policy,
    Statement: policy.Statement.map((statement) => ({ ...statement, Principal: { AWS: [user] } })),
  });
}

describe.skipIf(versityMissing !== undefined)('permissions', () => {
  let server: VersityServer;
  beforeAll(async () => {
    server = await startVersity({ buckets: ['archive', 'read', 'retain'] });
  });
  afterAll(() => server.stop());

  const open = async (role: string, bucket: string): Promise<ReturnType<typeof openStorage>> => {
    const user = role.toLowerCase();
    server.addUser(user, 'the-secret-of-the-user');
    const keys = { accessKeyId: user, secretAccessKey: new Secret('the-secret-of-the-user') };
    const storage = openStorage(server.port, { bucket, singlePut: '1MiB', partSize: '5MiB', ...keys });
    // Without the policy nothing is allowed: the server does look at it.
    expect((await failure(storage.stat('prod/object'))).code).toBe('STORAGE_DENIED');
    await server.admin.putBucketPolicy({ Bucket: bucket, Policy: policyOf(role, user, bucket) });
    return storage;
  };
  const keysOf = async (storage: ReturnType<typeof openStorage>): Promise<string[]> => {
    const keys: string[] = [];
    for await (const { key } of storage.list('prod/')) keys.push(key);
    return keys;
  };

  test('a writer adds, also in parts, reads and lists, leaves no parts behind, and deletes nothing', async () => {
    const storage = await open('Writer', 'archive');
    for (const bytes of [100, 6 * MIB]) {
      const { body, sent } = randomBody(bytes);
      await storage.put(`prod/${bytes}`, body, { ifAbsent: true });
      expect((await readBack(storage, `prod/${bytes}`)).equals(sent())).toBe(true);
      expect((await failure(storage.put(`prod/${bytes}`, randomBody(5).body, { ifAbsent: true }))).code).toBe(
        'STORAGE_EXISTS',
      );
    }
    expect((await failure(storage.stat('prod/nothing'))).code).toBe('STORAGE_NOT_FOUND');
    const failing = randomBody(20 * MIB, { failAfter: 12 * MIB }).body;
    await expect(storage.put('prod/fails', failing, { ifAbsent: true })).rejects.toThrow('the source failed');
    expect((await server.admin.listMultipartUploads({ Bucket: 'archive' })).Uploads ?? []).toEqual([]);
    expect((await failure(storage.remove(['prod/100']))).code).toBe('STORAGE_DENIED');
    expect((await failure(storage.put('elsewhere', randomBody(5).body, { ifAbsent: true }))).code).toBe(
      'STORAGE_DENIED',
    );
    expect(await keysOf(storage)).toEqual(['prod/100', `prod/${6 * MIB}`]);
    await storage.close();
  });

  test('a reader reads and lists, and writes nothing', async () => {
    const owner = openStorage(server.port, { bucket: 'read' });
    await owner.put('prod/object', randomBody(5).body, { ifAbsent: true });
    const storage = await open('Reader', 'read');
    expect(await keysOf(storage)).toEqual(['prod/object']);
    expect((await readBack(storage, 'prod/object')).byteLength).toBe(5);
    expect((await failure(readBack(storage, 'prod/nothing'))).code).toBe('STORAGE_NOT_FOUND');
    expect((await failure(storage.put('prod/new', randomBody(5).body, { ifAbsent: true }))).code).toBe(
      'STORAGE_DENIED',
    );
    expect((await failure(storage.remove(['prod/object']))).code).toBe('STORAGE_DENIED');
    await storage.close();
    await owner.close();
  });

  test('retention deletes', async () => {
    const owner = openStorage(server.port, { bucket: 'retain' });
    await owner.put('prod/object', randomBody(5).body, { ifAbsent: true });
    const storage = await open('Retention', 'retain');
    expect(await storage.remove(['prod/object', 'prod/nothing'])).toEqual({ retained: [] });
    expect(await keysOf(storage)).toEqual([]);
    await storage.close();
    await owner.close();
  });
});
