/** The storage of examples/storage-plugin keeps the contract, on its own server. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Secret, type Storage } from '@pgark/sdk';
import { describeStorage, runStorageClause, STORAGE_CLAUSES, testContext } from '@pgark/sdk/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { DepotStorageOptions } from '../../examples/storage-plugin/plugin/src/depot-storage.ts';
import plugin from '../../examples/storage-plugin/plugin/src/index.ts';
import { Depot } from '../../examples/storage-plugin/server/depot.ts';
import { createDepotServer } from '../../examples/storage-plugin/server/http.ts';
import { freePort } from '../support/free-port.ts';
import { SCALE } from '../support/scale.ts';
import { SILENCE_TIMEOUT, SlowPeers, STALL_TIMEOUT } from '../support/slow-peers.ts';

const MIB = 1024 * 1024;
const folder = mkdtempSync(join(tmpdir(), 'pgark-depot-'));
const peers = new SlowPeers();
let depot: Depot;
let server: Server;
let port = 0;

beforeAll(async () => {
  depot = new Depot({
    folder,
    buckets: new Map([
      ['archive', undefined],
      ['small', 4 * MIB],
    ]),
  });
  const tokens = new Map([
    ['a token', ['archive', 'small', 'nothing']],
    ['of another bucket', ['elsewhere']],
  ]);
  server = createDepotServer(depot, tokens).listen(0, '127.0.0.1');
  await once(server, 'listening');
  port = (server.address() as AddressInfo).port;
});
afterAll(async () => {
  await peers.close();
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
  depot.close();
  rmSync(folder, { recursive: true });
});

const open = async (more: Partial<DepotStorageOptions> = {}): Promise<Storage> =>
  plugin.create(
    { url: `http://127.0.0.1:${port}`, bucket: 'archive', token: new Secret('a token'), ...more },
    testContext({ directory: folder }),
  );

const behind = (timeout: number) => (at: number) =>
  open({ url: `http://127.0.0.1:${at}`, idleSeconds: timeout / 1000 });

// Whatever has more than 64 KiB goes by several requests.
const inBlocks = (): Promise<Storage> => open({ blockSize: 64 * 1024 });

describeStorage('depot', {
  create: inBlocks,
  reopen: inBlocks,
  partsLength: MIB,
  listLength: 100,
  scale: SCALE,
  broken: {
    missing: () => open({ bucket: 'nothing' }),
    denied: () => open({ token: new Secret('of another bucket') }),
    credentials: () => open({ token: new Secret('a wrong one') }),
    unavailable: async () => open({ url: `http://127.0.0.1:${await freePort()}` }),
    silent: () => peers.silent(port, behind(SILENCE_TIMEOUT)),
    slow: () => peers.slow(port, behind(STALL_TIMEOUT)),
    full: () => open({ bucket: 'small', blockSize: MIB }),
  },
});

describe('storage depot, objects by one request', () => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  for (const clause of STORAGE_CLAUSES.filter(({ id }) => /^STOR-(?:02|03|04|18)\//.test(id))) {
    test(`${clause.title} [${clause.id}]`, async () => {
      const result = await runStorageClause(clause, { create: () => open(), partsLength: 9 * MIB }, seed);
      expect(result, `seed ${seed}`).toMatchObject({ outcome: 'passed' });
    });
  }
});
