import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Storage } from '@pgark/sdk';
import { describeStorage } from '@pgark/sdk/testing';
import { GcsStorage, type GcsStorageOptions } from '@pgark/storage-gcs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { storageStack } from '../../core/src/storage/stack.ts';
import { freePort } from '../support/free-port.ts';
import { gcsMissing, startGcsServer, type GcsServer } from '../support/gcs-server.ts';
import { silentLogger } from '../support/silent-logger.ts';

describe.skipIf(gcsMissing !== undefined)(
  `storage gcs on fake-gcs-server${gcsMissing ? ` (${gcsMissing})` : ''}`,
  () => {
    let server: GcsServer;
    let closedPort: number;

    /** The emulator knows no credentials: this refuses every request as the real server does. */
    const refusing = createServer((request, response) => {
      request.resume();
      const message = 'pgark@project.iam.gserviceaccount.com does not have permission for this.';
      const body = { error: { code: 403, message, errors: [{ message, domain: 'global', reason: 'forbidden' }] } };
      response.writeHead(403, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    });

    beforeAll(async () => {
      server = await startGcsServer();
      await server.createBucket('archive');
      closedPort = await freePort();
      await new Promise<void>((resolve) => refusing.listen(0, '127.0.0.1', resolve));
    });
    afterAll(async () => {
      await server?.stop();
      refusing.closeAllConnections();
      refusing.close();
    });

    const open = async (options: Partial<GcsStorageOptions> = {}): Promise<Storage> =>
      new GcsStorage(
        // Chunks small enough for the suite's objects to be sent in several.
        { bucket: 'archive', endpoint: server.endpoint, anonymous: true, chunkSize: 1024 * 1024, ...options },
        { directory: '/' },
      );
    const broken = {
      missing: () => open({ bucket: 'missing' }),
      denied: () => open({ endpoint: `http://127.0.0.1:${(refusing.address() as AddressInfo).port}` }),
      unavailable: () => open({ endpoint: `http://127.0.0.1:${closedPort}` }),
    };
    // The server gives a thousand keys at a time: the listings must go beyond.
    describeStorage('gcs', { create: open, reopen: () => open(), broken, listLength: 1100 });

    test('STOR-05 H-52 of racing writers whose objects take several requests exactly one succeeds', async () => {
      const storage = await open({ chunkSize: 256 * 1024 });
      const key = 'race/large';
      const bodies = Array.from({ length: 6 }, (_, writer) => Buffer.alloc(1_000_000, writer));
      const results = await Promise.allSettled(
        bodies.map((bytes) => storage.put(key, body(bytes), { ifAbsent: true })),
      );
      const winner = results.findIndex(({ status }) => status === 'fulfilled');
      for (const [writer, result] of results.entries()) {
        if (writer !== winner) expect(result).toMatchObject({ status: 'rejected', reason: { code: 'STORAGE_EXISTS' } });
      }
      const stored: Uint8Array[] = [];
      for await (const chunk of storage.get(key)) stored.push(chunk);
      expect(Buffer.concat(stored).equals(bodies[winner] ?? Buffer.alloc(0))).toBe(true);
      await storage.remove([key]);
      await storage.close();
    });

    const stack = async (storage: Promise<Storage>, retry = {}): Promise<Storage> =>
      storageStack(await storage, { logger: silentLogger, prefix: 'prefix', retry });
    describeStorage('gcs through storageStack', {
      create: () => stack(open()),
      reopen: () => stack(open()),
      broken: {
        missing: () => stack(broken.missing()),
        denied: () => stack(broken.denied()),
        unavailable: () => stack(broken.unavailable(), { deadline: 0 }),
      },
      knownGaps: [{ id: 'STOR-01/longest', reason: 'the prefix takes its part of the 900 bytes' }],
    });
  },
);

async function* body(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield bytes;
}
