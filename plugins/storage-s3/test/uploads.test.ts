/** How objects are sent: how many requests, how many at once, how much of the body in memory, and what failures leave behind. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { versityMissing } from '../../../test/support/s3-server.ts';
import { behindGateway, failure, MIB, openStorage, randomBody, readBack } from './helpers.ts';

describe.skipIf(versityMissing !== undefined)('uploads', () => {
  const scene = behindGateway();

  test.each([
    ['of a known size', { size: 16 * MIB }],
    ['of an unknown size', {}],
  ])('H-56 a WAL segment %s is one request', async (_, size) => {
    const storage = openStorage(scene.gateway.port);
    const { body, sent } = randomBody(16 * MIB);
    const key = `segment${'size' in size}`;
    await storage.put(key, body, { ifAbsent: true, ...size });
    expect(scene.gateway.operations).toEqual(['PutObject']);
    expect(scene.gateway.passed[0]?.headers['if-none-match']).toBe('*');
    expect((await readBack(storage, key)).equals(sent())).toBe(true);
    await storage.close();
  });

  test('H-56 a large object goes in parts, several at once, with a bounded part of it in memory', async () => {
    const storage = openStorage(scene.gateway.port, { partSize: '5MiB', parallelParts: 3, singlePut: '5MiB' });
    let arrived = 0;
    let ahead = 0;
    scene.gateway.before = async ({ operation }) => {
      // Slow enough for the body to run ahead if it could.
      if (operation === 'UploadPart') await sleep(30).then(() => (arrived += 5 * MIB));
      return 'pass';
    };
    const { body, sent } = randomBody(64 * MIB, { onTaken: (total) => (ahead = Math.max(ahead, total - arrived)) });
    await storage.put('large', body, { ifAbsent: true });
    expect(scene.gateway.operations.filter((name) => name === 'UploadPart')).toHaveLength(13);
    expect(scene.gateway.inFlight.get('UploadPart')?.most).toBe(3);
    // Three on their way, one being filled; and the chunk that was not used up.
    expect(ahead).toBeLessThanOrEqual(4 * 5 * MIB + MIB);
    expect((await readBack(storage, 'large')).equals(sent())).toBe(true);
    expect(await scene.uploadsLeft()).toEqual([]);
    await storage.close();
  });

  test('with a known size parts are sent at once, without waiting for singlePut', async () => {
    const storage = openStorage(scene.gateway.port, { partSize: '5MiB' });
    const { body, sent } = randomBody(23 * MIB);
    await storage.put('known', body, { ifAbsent: true, size: 23 * MIB });
    expect(scene.gateway.operations.filter((name) => name === 'UploadPart')).toHaveLength(5);
    expect((await readBack(storage, 'known')).equals(sent())).toBe(true);
    await storage.close();
  });

  describe('an upload that fails leaves no parts behind', () => {
    const open = (): ReturnType<typeof openStorage> =>
      openStorage(scene.gateway.port, { partSize: '5MiB', singlePut: '5MiB', parallelParts: 2 });
    const begun = (): number => scene.gateway.operations.filter((name) => name === 'CreateMultipartUpload').length;

    const remains = async (): Promise<unknown> => ({ begun: begun(), left: await scene.uploadsLeft() });
    const NOTHING = { begun: 1, left: [] };

    test('by an abort', async () => {
      const storage = open();
      const abort = new AbortController();
      const { body } = randomBody(64 * MIB, { onTaken: (total) => total > 20 * MIB && abort.abort() });
      const error = await failure(storage.put('aborted', body, { ifAbsent: true, signal: abort.signal }));
      expect(error.code).toBe('ABORTED');
      await storage.close();
      expect(await remains()).toEqual(NOTHING);
    });

    test('by a body that throws, whose error comes back', async () => {
      const storage = open();
      const { body } = randomBody(64 * MIB, { failAfter: 22 * MIB });
      await expect(storage.put('thrown', body, { ifAbsent: true })).rejects.toThrow('the source failed');
      await storage.close();
      expect(await remains()).toEqual(NOTHING);
    });

    test('by a part whose connection is cut, even while the body is silent', async () => {
      const storage = open();
      let parts = 0;
      scene.gateway.before = async ({ operation }) => (operation === 'UploadPart' && ++parts === 2 ? 'cut' : 'pass');
      async function* silent(): AsyncGenerator<Uint8Array, void, undefined> {
        yield* randomBody(16 * MIB).body;
        await new Promise(() => undefined);
      }
      const error = await failure(storage.put('cut', silent(), { ifAbsent: true }));
      expect([error.code, error.retriable]).toEqual(['STORAGE_UNAVAILABLE', true]);
      expect(parts).toBeGreaterThanOrEqual(2);
      await storage.close();
      expect(await remains()).toEqual(NOTHING);
    });

    test('by a key that another writer took meanwhile', async () => {
      const storage = open();
      const other = openStorage(scene.server.port);
      let taken = false;
      scene.gateway.before = async ({ operation }) => {
        if (operation === 'UploadPart' && !taken) {
          taken = true;
          await other.put('taken', randomBody(10).body, { ifAbsent: true });
        }
        return 'pass';
      };
      const error = await failure(storage.put('taken', randomBody(12 * MIB).body, { ifAbsent: true }));
      expect(error.code).toBe('STORAGE_EXISTS');
      expect((await storage.stat('taken')).size).toBe(10);
      await other.close();
      await storage.close();
      expect(await remains()).toEqual(NOTHING);
    });
  });

  test.each([
    ['one request', 100_000],
    ['parts', 6 * MIB],
  ])('H-51 of 20 writers with %s exactly one succeeds, and the object is its', async (name, bytes) => {
    const storages = Array.from({ length: 20 }, () =>
      openStorage(scene.gateway.port, { singlePut: '1MiB', partSize: '5MiB' }),
    );
    const bodies = storages.map((_, writer) => randomBody(bytes + writer));
    const key = `race-${name}`;
    const results = await Promise.all(
      storages.map((storage, writer) =>
        storage.put(key, bodies[writer]?.body ?? randomBody(0).body, { ifAbsent: true }).then(
          () => 'stored',
          (error: { code?: string }) => error.code,
        ),
      ),
    );
    const winner = results.indexOf('stored');
    expect(results.toSpliced(winner, 1)).toEqual(Array.from({ length: 19 }, () => 'STORAGE_EXISTS'));
    const content = await readBack(openStorage(scene.server.port), key);
    expect(content.equals(bodies[winner]?.sent() ?? Buffer.of())).toBe(true);
    expect(await scene.uploadsLeft()).toEqual([]);
    for (const storage of storages) await storage.close();
  });

  test('an upload whose answer is lost has succeeded when the object has its bytes, and no other', async () => {
    const storage = openStorage(scene.gateway.port);
    const direct = openStorage(scene.server.port);
    const { body, sent } = randomBody(100_000);
    let cuts = 0;
    scene.gateway.before = async ({ operation }) => {
      if (operation !== 'PutObject') return 'pass';
      cuts += 1;
      // The gateway loses the answer: the object gets there some other way.
      if (cuts === 1) await direct.put('lost', bodyOf(sent()), { ifAbsent: true });
      return 'cut';
    };
    await storage.put('lost', body, { ifAbsent: true });
    const other = await failure(storage.put('lost', randomBody(100_000).body, { ifAbsent: true }));
    expect(other.code).toBe('STORAGE_EXISTS');
    const nothing = await failure(storage.put('never', randomBody(100_000).body, { ifAbsent: true }));
    expect(nothing.code).toBe('STORAGE_UNAVAILABLE');
    expect(cuts).toBe(3);
    await storage.close();
    await direct.close();
  });

  test('H-55 checksums are sent where the provider takes them, and Content-MD5 where S3 demands one', async () => {
    const put = async (options: Parameters<typeof openStorage>[1]): Promise<readonly string[]> => {
      const storage = openStorage(scene.gateway.port, { region: 'us-east-1', pathStyle: true, ...options });
      scene.gateway.passed.length = 0;
      await storage.put('checked', randomBody(10).body, { ifAbsent: false });
      await storage.remove(['checked']);
      await storage.close();
      return scene.gateway.passed.map(({ headers }) =>
        Object.keys(headers)
          .filter((name) => name.startsWith('x-amz-checksum-') || name === 'content-md5')
          .join(),
      );
    };
    expect(await put({ provider: 'aws' })).toEqual(['x-amz-checksum-crc32', 'x-amz-checksum-crc32']);
    expect(await put({ provider: 'ceph' })).toEqual(['', 'content-md5']);
  });

  test('with signPayload: false the bytes are not hashed for the signature, and those that change on the way are refused', async () => {
    const unsigned = { checksums: 'crc32', signPayload: false, partSize: '5MiB', singlePut: '5MiB' } as const;
    const storage = openStorage(scene.gateway.port, unsigned);
    const whole = randomBody(100_000);
    await storage.put('whole', whole.body, { ifAbsent: true });
    const large = randomBody(12 * MIB);
    await storage.put('in-parts', large.body, { ifAbsent: true });
    const uploads = scene.gateway.passed.filter(
      ({ operation }) => operation === 'PutObject' || operation === 'UploadPart',
    );
    expect(uploads.map(({ headers }) => headers['x-amz-content-sha256'])).toEqual(Array(4).fill('UNSIGNED-PAYLOAD'));
    expect(uploads.every(({ headers }) => headers['x-amz-checksum-crc32'] !== undefined)).toBe(true);
    expect((await readBack(storage, 'whole')).equals(whole.sent())).toBe(true);
    expect((await readBack(storage, 'in-parts')).equals(large.sent())).toBe(true);
    scene.gateway.alterBodies = true;
    for (const [key, bytes] of [
      ['altered', 100_000],
      ['altered-in-parts', 12 * MIB],
    ] as const) {
      const error = await failure(storage.put(key, randomBody(bytes).body, { ifAbsent: true }));
      expect(error.code, error.message).toBe('STORAGE_UNAVAILABLE');
    }
    expect(scene.gateway.altered).toBeGreaterThanOrEqual(2);
    scene.gateway.alterBodies = false;
    for (const key of ['altered', 'altered-in-parts'])
      expect((await failure(storage.stat(key))).code).toBe('STORAGE_NOT_FOUND');
    expect(await scene.uploadsLeft()).toEqual([]);
    await storage.close();
  });
});

async function* bodyOf(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield bytes;
}
