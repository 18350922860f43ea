import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Storage } from '@pgark/sdk';
import { describeStorage } from '@pgark/sdk/testing';
import { SftpStorage, type SftpStorageOptions } from '@pgark/storage-sftp';
import { afterAll, beforeAll, describe } from 'vitest';
import { storageStack } from '../../core/src/storage/stack.ts';
import { freePort } from '../support/free-port.ts';
import { gaps, STACK_GAPS } from '../support/known-gaps.ts';
import { SCALE } from '../support/scale.ts';
import { loginUser, makeKey, noSshd, SftpServer } from '../support/sftp-server.ts';
import { silentLogger } from '../support/silent-logger.ts';
import { SILENCE_TIMEOUT, SlowPeers, STALL_TIMEOUT } from '../support/slow-peers.ts';
import { smallDisk } from '../support/small-disk.ts';

/** A read asks for 128 KiB, and only whole answers count: an answer must come within the time-out. */
const PACE = { bytes: 32_768, pause: 20 };

/** Milliseconds for a connection to stand, which goes to and fro often. */
const CONNECT_TIMEOUT = 1.5 * STALL_TIMEOUT;

describe.skipIf(noSshd !== undefined)(`OpenSSH ${noSshd ?? ''}`, () => {
  let server: SftpServer;
  let closedPort: number;
  let locked: string;
  let strangersKey: string;
  const peers = new SlowPeers();
  // Of the user who logs in.
  const small = smallDisk(8, loginUser());
  beforeAll(async () => {
    server = await SftpServer.start();
    closedPort = await freePort();
    strangersKey = join(server.folder, 'strangers_key');
    makeKey(strangersKey);
    locked = join(server.folder, 'locked');
    mkdirSync(locked);
    chmodSync(locked, 0o000);
  });
  afterAll(async () => {
    await peers.close();
    if (typeof small !== 'string') small.unmount();
    chmodSync(locked, 0o700);
    await server.stop();
  });

  const open = async (path: string, options: Partial<SftpStorageOptions> = {}): Promise<Storage> =>
    new SftpStorage(
      { ...server.login, path: join(server.archives, path), ...options },
      { directory: '/', logger: silentLogger },
    );

  const openThrough = (port: number): Promise<Storage> =>
    open('archive', {
      port,
      hostKey: server.fingerprint(),
      connectTimeout: CONNECT_TIMEOUT,
      timeout: STALL_TIMEOUT,
    });

  describeStorage('sftp', {
    create: () => open('archive'),
    reopen: () => open('archive'),
    broken: {
      missing: () => open('not/mounted'),
      denied: () => open('archive', { path: locked }),
      credentials: () => open('archive', { privateKeyFile: strangersKey }),
      unavailable: () => open('archive', { port: closedPort }),
      silent: () =>
        peers.silent(server.port, async (port) => open('archive', { port, connectTimeout: SILENCE_TIMEOUT })),
      slow: () => peers.slow(server.port, openThrough, PACE),
      ...(typeof small !== 'string' && { full: () => open('archive', { path: small.path }) }),
    },
    // Of which 8 MiB are copied in a step.
    partsLength: 18 * 1024 * 1024,
    scale: SCALE,
    knownGaps: typeof small === 'string' ? gaps(small, 'STOR-06/full') : [],
  });

  const stack = async (path: string, options: Partial<SftpStorageOptions> = {}): Promise<Storage> =>
    storageStack(await open(path, options), { logger: silentLogger, prefix: 'prefix', retry: { deadline: 500 } });

  describeStorage('sftp through storageStack', {
    create: () => stack('archive'),
    reopen: () => stack('archive'),
    broken: {
      missing: () => stack('not/mounted'),
      denied: () => stack('archive', { path: locked }),
      credentials: () => stack('archive', { privateKeyFile: strangersKey }),
      unavailable: () => stack('archive', { port: closedPort }),
    },
    knownGaps: STACK_GAPS,
  });
});
