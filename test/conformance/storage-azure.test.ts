import { Secret, type Storage } from '@pgark/sdk';
import { describeStorage } from '@pgark/sdk/testing';
import { AzureStorage, type AzureStorageOptions } from '@pgark/storage-azure';
import { afterAll, beforeAll, describe } from 'vitest';
import { storageStack } from '../../core/src/storage/stack.ts';
import { ACCOUNT, ACCOUNT_KEY, AzureServer, azureMissing, sasOf } from '../support/azure-server.ts';
import { freePort } from '../support/free-port.ts';
import { BROKEN, gaps, STACK_GAPS } from '../support/known-gaps.ts';
import { SCALE } from '../support/scale.ts';
import { SILENCE_TIMEOUT, SlowPeers, STALL_TIMEOUT } from '../support/slow-peers.ts';
import { silentLogger } from '../support/silent-logger.ts';

let server: AzureServer;
let closedPort: number;
const peers = new SlowPeers();
beforeAll(async () => {
  if (azureMissing !== undefined) return;
  server = await AzureServer.start([], { onDisk: SCALE === 'full' });
  closedPort = await freePort();
  await server.createContainer('archive');
});
afterAll(async () => {
  await peers.close();
  await server?.stop();
});

const open = async ({ accountKey, ...options }: Partial<AzureStorageOptions> = {}): Promise<Storage> =>
  new AzureStorage({
    account: ACCOUNT,
    container: 'archive',
    endpoint: server.endpoint(),
    ...(options.sasToken === undefined && { accountKey: accountKey ?? new Secret(ACCOUNT_KEY) }),
    ...options,
  });

const openThrough =
  (timeout: number) =>
  (port: number): Promise<Storage> =>
    open({ endpoint: server.endpoint(port), timeout: timeout / 1000 });

const broken = {
  missing: () => open({ container: 'no-such-container' }),
  // Of all that there is to be allowed, only the tags of a blob.
  denied: () => open({ sasToken: sasOf('archive', 't') }),
  credentials: () => open({ accountKey: new Secret(Buffer.from('another key').toString('base64')) }),
  unavailable: () => open({ endpoint: server.endpoint(closedPort) }),
};

describe.skipIf(azureMissing !== undefined)(
  `with azurite${azureMissing === undefined ? '' : `: ${azureMissing}`}`,
  () => {
    describeStorage('azure', {
      create: () => open(),
      reopen: () => open(),
      broken: {
        ...broken,
        silent: () => peers.silent(server.port, openThrough(SILENCE_TIMEOUT)),
        slow: () => peers.slow(server.port, openThrough(STALL_TIMEOUT)),
      },
      listLength: 100,
      scale: SCALE,
      knownGaps: gaps('azurite has no account that could be full', 'STOR-06/full'),
    });

    // Of the smallest blocks, so that nearly every body of the suite is staged and committed.
    const inBlocks = (): Promise<Storage> => open({ blockSize: 65_536 });
    describeStorage('azure in small blocks', {
      create: inBlocks,
      reopen: inBlocks,
      listLength: 30,
      partsLength: 1_000_000,
      knownGaps: gaps('the suite with blocks of the usual size has it', ...BROKEN),
    });

    const stack = async (storage: Promise<Storage>): Promise<Storage> =>
      storageStack(await storage, { logger: silentLogger, prefix: 'prefix', retry: { deadline: 0 } });
    describeStorage('azure through storageStack', {
      create: () => stack(open()),
      reopen: () => stack(open()),
      broken: {
        missing: () => stack(broken.missing()),
        denied: () => stack(broken.denied()),
        credentials: () => stack(broken.credentials()),
        unavailable: () => stack(broken.unavailable()),
      },
      listLength: 30,
      knownGaps: STACK_GAPS,
    });
  },
);
