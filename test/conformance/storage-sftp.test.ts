import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Storage } from '@pgark/sdk';
import { describeStorage } from '@pgark/sdk/testing';
import { SftpStorage, type SftpStorageOptions } from '@pgark/storage-sftp';
import { afterAll, beforeAll, describe } from 'vitest';
import { storageStack } from '../../core/src/storage/stack.ts';
import { freePort } from '../support/free-port.ts';
import { silentLogger } from '../support/silent-logger.ts';
import { noSshd, SftpServer } from '../support/sftp-server.ts';

describe.skipIf(noSshd !== undefined)(`OpenSSH ${noSshd ?? ''}`, () => {
  let server: SftpServer;
  let closedPort: number;
  let locked: string;
  beforeAll(async () => {
    server = await SftpServer.start();
    closedPort = await freePort();
    locked = join(server.folder, 'locked');
    mkdirSync(locked);
    chmodSync(locked, 0o000);
  });
  afterAll(async () => {
    chmodSync(locked, 0o700);
    await server.stop();
  });

  const open = async (path: string, options: Partial<SftpStorageOptions> = {}): Promise<Storage> =>
    new SftpStorage(
      { ...server.login, path: join(server.archives, path), ...options },
      { directory: '/', logger: silentLogger },
    );

  describeStorage('sftp', {
    create: () => open('archive'),
    reopen: () => open('archive'),
    broken: {
      missing: () => open('not/mounted'),
      denied: () => open('archive', { path: locked }),
      unavailable: () => open('archive', { port: closedPort }),
    },
  });

  const stack = async (path: string, options: Partial<SftpStorageOptions> = {}): Promise<Storage> =>
    storageStack(await open(path, options), { logger: silentLogger, prefix: 'prefix', retry: { deadline: 500 } });

  describeStorage('sftp through storageStack', {
    create: () => stack('archive'),
    reopen: () => stack('archive'),
    broken: {
      missing: () => stack('not/mounted'),
      denied: () => stack('archive', { path: locked }),
      unavailable: () => stack('archive', { port: closedPort }),
    },
    knownGaps: [{ id: 'STOR-01/longest', reason: 'the prefix takes its part of the 900 bytes' }],
  });
});
