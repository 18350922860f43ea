import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Storage } from '@pgark/sdk';
import { describeStorage } from '@pgark/sdk/testing';
import { GcsStorage, type GcsStorageOptions } from '@pgark/storage-gcs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { storageStack } from '../../core/src/storage/stack.ts';
import { freePort } from '../support/free-port.ts';
import { gcsMissing, startGcsServer, type GcsServer } from '../support/gcs-server.ts';
import { gaps, STACK_GAPS } from '../support/known-gaps.ts';
import { SCALE } from '../support/scale.ts';
import { silentLogger } from '../support/silent-logger.ts';
import { SILENCE_TIMEOUT, SlowPeers, STALL_TIMEOUT } from '../support/slow-peers.ts';

/** The emulator knows no credentials: this refuses every request as the real server does. */
function refusing(status: number, message: string, reason: string): Server {
  return createServer((request, response) => {
    request.resume();
    const body = { error: { code: status, message, errors: [{ message, domain: 'global', reason }] } };
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  });
}

describe.skipIf(gcsMissing !== undefined)(
  `storage gcs on fake-gcs-server${gcsMissing ? ` (${gcsMissing})` : ''}`,
  () => {
    let server: GcsServer;
    let closedPort: number;

    const refusals = {
      denied: refusing(403, 'pgark@project.iam.gserviceaccount.com does not have permission for this.', 'forbidden'),
      credentials: refusing(401, 'Invalid Credentials', 'authError'),
    };
    const peers = new SlowPeers();

    beforeAll(async () => {
      server = await startGcsServer();
      await server.createBucket('archive');
      closedPort = await freePort();
      for (const refusal of Object.values(refusals)) {
        await new Promise<void>((resolve) => refusal.listen(0, '127.0.0.1', resolve));
      }
    });
    afterAll(async () => {
      await peers.close();
      await server?.stop();
      for (const refusal of Object.values(refusals)) {
        refusal.closeAllConnections();
        refusal.close();
      }
    });

    const open = async (options: Partial<GcsStorageOptions> = {}): Promise<Storage> =>
      new GcsStorage(
        // Chunks small enough for the suite's objects to be sent in several.
        { bucket: 'archive', endpoint: server.endpoint, anonymous: true, chunkSize: 1024 * 1024, ...options },
        { directory: '/' },
      );
    const onPort = (port: number, options: Partial<GcsStorageOptions> = {}): Promise<Storage> =>
      open({ endpoint: `http://127.0.0.1:${port}`, ...options });
    const openThrough =
      (timeout: number) =>
      (port: number): Promise<Storage> =>
        onPort(port, { timeout: timeout / 1000 });
    const portOf = (refusal: Server): number => (refusal.address() as AddressInfo).port;
    const broken = {
      missing: () => open({ bucket: 'missing' }),
      denied: () => onPort(portOf(refusals.denied)),
      credentials: () => onPort(portOf(refusals.credentials)),
      unavailable: () => onPort(closedPort),
    };
    describeStorage('gcs', {
      create: open,
      reopen: () => open(),
      broken: {
        ...broken,
        silent: () => peers.silent(server.port, openThrough(SILENCE_TIMEOUT)),
        slow: () => peers.slow(server.port, openThrough(STALL_TIMEOUT)),
      },
      // The server gives a thousand keys at a time: the listings must go beyond.
      listLength: 1100,
      partsLength: 3_500_000,
      scale: SCALE,
      knownGaps: [
        ...gaps('fake-gcs-server has no disk that could be full', 'STOR-06/full'),
        ...gaps('fake-gcs-server takes the question how far an upload has come for its end', 'STOR-18/overlap-parts'),
        ...(SCALE === 'full'
          ? gaps('fake-gcs-server takes seven times the size of an upload in memory', 'STOR-09/large')
          : []),
      ],
    });

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
        credentials: () => stack(broken.credentials()),
        unavailable: () => stack(broken.unavailable(), { deadline: 0 }),
      },
      knownGaps: STACK_GAPS,
    });
  },
);

async function* body(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield bytes;
}
