import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Storage } from '@pgark/sdk';
import { describeStorage } from '@pgark/sdk/testing';
import { FsStorage } from '@pgark/storage-fs';
import { afterAll } from 'vitest';
import { storageStack } from '../../core/src/storage/stack.ts';
import { silentLogger } from '../support/silent-logger.ts';

const folder = mkdtempSync(join(tmpdir(), 'pgark-storage-fs-'));
afterAll(() => {
  chmodSync(join(folder, 'locked'), 0o700);
  rmSync(folder, { recursive: true, force: true });
});
mkdirSync(join(folder, 'archive'));
mkdirSync(join(folder, 'locked'));
chmodSync(join(folder, 'locked'), 0o000);

const open = async (path: string): Promise<Storage> =>
  new FsStorage({ path }, { directory: folder, logger: silentLogger });

// Nothing is denied to root; test/faults.test.ts of the plugin drives it as another user then.
const denied = process.getuid?.() === 0 ? {} : { denied: () => open('locked') };

describeStorage('fs', {
  create: () => open('archive'),
  reopen: () => open('archive'),
  broken: { missing: () => open('not/mounted'), ...denied },
});

const stack = async (path: string): Promise<Storage> =>
  storageStack(await open(path), { logger: silentLogger, prefix: 'prefix' });

describeStorage('fs through storageStack', {
  create: () => stack('archive'),
  reopen: () => stack('archive'),
  broken: { missing: () => stack('not/mounted'), ...denied },
  knownGaps: [{ id: 'STOR-01/longest', reason: 'the prefix takes its part of the 900 bytes' }],
});
