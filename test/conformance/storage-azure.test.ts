import { Secret, type Storage } from '@pgark/sdk';
import { describeStorage } from '@pgark/sdk/testing';
import { AzureStorage, type AzureStorageOptions } from '@pgark/storage-azure';
import { afterAll, beforeAll, describe } from 'vitest';
import { storageStack } from '../../core/src/storage/stack.ts';
import { ACCOUNT, ACCOUNT_KEY, AzureServer, azureMissing } from '../support/azure-server.ts';
import { silentLogger } from '../support/silent-logger.ts';

let server: AzureServer;
beforeAll(async () => {
  if (azureMissing !== undefined) return;
  server = await AzureServer.start();
  await server.createContainer('archive');
});
afterAll(() => server?.stop());

const open = async (options: Partial<AzureStorageOptions> = {}): Promise<Storage> =>
  new AzureStorage({
    account: ACCOUNT,
    accountKey: new Secret(ACCOUNT_KEY),
    container: 'archive',
    endpoint: server.endpoint(),
    ...options,
  });

const broken = {
  missing: () => open({ container: 'no-such-container' }),
  denied: () => open({ accountKey: new Secret(Buffer.from('another key').toString('base64')) }),
  // Nobody listens on the port of a server that was there a moment ago.
  unavailable: () => open({ endpoint: 'http://127.0.0.1:1/devstoreaccount1' }),
};

describe.skipIf(azureMissing !== undefined)(
  `with azurite${azureMissing === undefined ? '' : `: ${azureMissing}`}`,
  () => {
    describeStorage('azure', { create: () => open(), reopen: () => open(), broken, listLength: 100 });

    // Of the smallest blocks, so that nearly every body of the suite is staged and committed.
    const inBlocks = (): Promise<Storage> => open({ blockSize: 65_536 });
    describeStorage('azure in small blocks', { create: inBlocks, reopen: inBlocks, listLength: 30 });

    const stack = async (storage: Promise<Storage>): Promise<Storage> =>
      storageStack(await storage, { logger: silentLogger, prefix: 'prefix', retry: { deadline: 0 } });
    describeStorage('azure through storageStack', {
      create: () => stack(open()),
      reopen: () => stack(open()),
      broken: {
        missing: () => stack(broken.missing()),
        denied: () => stack(broken.denied()),
        unavailable: () => stack(broken.unavailable()),
      },
      listLength: 30,
      knownGaps: [{ id: 'STOR-01/longest', reason: 'the prefix takes its part of the 900 bytes' }],
    });
  },
);
