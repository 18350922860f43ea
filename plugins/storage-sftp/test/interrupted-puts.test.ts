/** The connection breaks in the middle of a put whose body comes only once: it goes on over another one. */
import { readdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { storageStack } from '../../../core/src/storage/stack.ts';
import { FAULTS, putThroughOutage, SILENCE } from '../../../test/support/outage.ts';
import { noSshd } from '../../../test/support/sftp-server.ts';
import { silentLogger } from '../../../test/support/silent-logger.ts';
import { behindProxy, keysOf, MIB, open, read, temporaryFiles } from './helpers.ts';

describe.skipIf(noSshd !== undefined)(`puts that are interrupted ${noSshd ?? ''}`, () => {
  const scene = behindProxy();

  test.each(FAULTS)(
    'STOR-18 a body that comes once arrives whole through an outage (%s)',
    async (fault) => {
      const limits = fault === 'silence' ? { timeout: SILENCE, connectTimeout: SILENCE } : {};
      const storage = open(scene.server, scene.archive, {
        port: scene.proxy.port,
        hostKey: scene.server.fingerprint(),
        ...limits,
      });
      const outage = await putThroughOutage(storage, scene.proxy, 'key', fault, { bytes: 32 * MIB, after: 16 * MIB });
      expect(outage.connections).toBeGreaterThan(0);
      expect(outage.retries.filter(({ what }) => /^put key: bytes from \d+$/.test(what)).length).toBeGreaterThan(0);
      if (fault !== 'cut') expect(outage.taken).toBeLessThanOrEqual(6 * MIB);
      const direct = open(scene.server, scene.archive);
      expect((await read(direct, 'key')).equals(outage.content)).toBe(true);
      expect(await keysOf(direct)).toEqual(['key']);
      expect(temporaryFiles(scene.server, scene.archive)).toEqual([]);
    },
    60_000,
  );

  /** The stack around a storage, and a body that calls back in its middle. */
  const putWith = (between: () => void): Promise<void> => {
    const storage = open(scene.server, scene.archive, { port: scene.proxy.port, hostKey: scene.server.fingerprint() });
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
      scene.proxy.cut();
      const folder = join(scene.server.archives, scene.archive, '.pgark-tmp');
      for (const name of readdirSync(folder)) {
        damage(join(folder, name));
        damaged++;
      }
    });
    await expect(put).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE', message: expect.stringContaining('lost') });
    expect(damaged).toBe(1);
    expect(await keysOf(open(scene.server, scene.archive))).toEqual([]);
  });

  test('after the deadline it fails, and publishes nothing', async () => {
    let cut = 0;
    await expect(putWith(() => (cut = scene.proxy.cut({ refuse: true })))).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      retriable: true,
    });
    expect(cut).toBe(1);
    expect(await keysOf(open(scene.server, scene.archive))).toEqual([]);
  });
});
