/** The connection breaks in the middle of a put whose body comes only once: it goes on over another one. */
import { readdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { storageStack } from '../../../core/src/storage/stack.ts';
import { FAULTS, putThroughOutage, SILENCE } from '../../../test/support/outage.ts';
import { Proxy } from '../../../test/support/proxy.ts';
import { noSshd, SftpServer } from '../../../test/support/sftp-server.ts';
import { silentLogger } from '../../../test/support/silent-logger.ts';
import { keysOf, MIB, open, read, temporaryFiles } from './helpers.ts';

describe.skipIf(noSshd !== undefined)(`puts that are interrupted ${noSshd ?? ''}`, () => {
  let server: SftpServer;
  let proxy: Proxy;
  let archive: string;
  beforeAll(async () => {
    server = await SftpServer.start();
  });
  afterAll(() => server.stop());
  beforeEach(async () => {
    proxy = await Proxy.listen({ port: server.port });
    archive = `archive-${Math.random().toString(36).slice(2)}`;
    onTestFinished(() => proxy.close());
  });

  test.each(FAULTS)(
    'STOR-18 a body that comes once arrives whole through an outage (%s)',
    async (fault) => {
      const limits = fault === 'silence' ? { timeout: SILENCE, connectTimeout: SILENCE } : {};
      const storage = open(server, archive, { port: proxy.port, hostKey: server.fingerprint(), ...limits });
      const outage = await putThroughOutage(storage, proxy, 'key', fault, { bytes: 32 * MIB, after: 16 * MIB });
      expect(outage.connections).toBeGreaterThan(0);
      expect(outage.retries.filter(({ what }) => /^put key: bytes from \d+$/.test(what)).length).toBeGreaterThan(0);
      if (fault !== 'cut') expect(outage.taken).toBeLessThanOrEqual(6 * MIB);
      const direct = open(server, archive);
      expect((await read(direct, 'key')).equals(outage.content)).toBe(true);
      expect(await keysOf(direct)).toEqual(['key']);
      expect(temporaryFiles(server, archive)).toEqual([]);
    },
    60_000,
  );

  /** The stack around a storage, and a body that calls back in its middle. */
  const putWith = (between: () => void): Promise<void> => {
    const storage = open(server, archive, { port: proxy.port, hostKey: server.fingerprint() });
    const stack = storageStack(storage, { logger: silentLogger, retry: { firstDelay: 1, deadline: 3000 } });
    async function* body(): AsyncGenerator<Uint8Array, void, undefined> {
      yield randomBytes(8 * MIB);
      between();
      yield randomBytes(8 * MIB);
    }
    return stack.put('key', body(), { ifAbsent: true });
  };

  test.each([
    ['lost', (path: string) => truncateSync(path, MIB)],
    ['changed', (path: string) => writeFileSync(path, Buffer.alloc(8 * MIB))],
  ])('bytes that the server had confirmed and has %s fail the put, and nothing is published', async (_, damage) => {
    let damaged = 0;
    const put = putWith(() => {
      proxy.cut();
      const folder = join(server.archives, archive, '.pgark-tmp');
      for (const name of readdirSync(folder)) {
        damage(join(folder, name));
        damaged++;
      }
    });
    await expect(put).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE', message: expect.stringContaining('lost') });
    expect(damaged).toBe(1);
    expect(await keysOf(open(server, archive))).toEqual([]);
  });

  test('after the deadline it fails, and publishes nothing', async () => {
    let cut = 0;
    await expect(putWith(() => (cut = proxy.cut({ refuse: true })))).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      retriable: true,
    });
    expect(cut).toBe(1);
    expect(await keysOf(open(server, archive))).toEqual([]);
  });
});
