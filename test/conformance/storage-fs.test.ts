import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Storage } from '@pgark/sdk';
import { describeStorage } from '@pgark/sdk/testing';
import { FsStorage } from '@pgark/storage-fs';
import { afterAll } from 'vitest';
import { storageStack } from '../../core/src/storage/stack.ts';
import { gaps, LOCAL_GAPS, PREFIX_GAPS } from '../support/known-gaps.ts';
import { SCALE } from '../support/scale.ts';
import { silentLogger } from '../support/silent-logger.ts';
import { smallDisk } from '../support/small-disk.ts';

const folder = mkdtempSync(join(tmpdir(), 'pgark-storage-fs-'));
const small = smallDisk(8);
afterAll(() => {
  if (typeof small !== 'string') small.unmount();
  chmodSync(join(folder, 'locked'), 0o700);
  rmSync(folder, { recursive: true, force: true });
});
mkdirSync(join(folder, 'archive'));
mkdirSync(join(folder, 'locked'));
chmodSync(join(folder, 'locked'), 0o000);

const open = async (path: string): Promise<Storage> =>
  new FsStorage({ path }, { directory: folder, logger: silentLogger });
const stack = async (path: string): Promise<Storage> =>
  storageStack(await open(path), { logger: silentLogger, prefix: 'prefix', retry: { deadline: 0 } });

const knownGaps = [
  ...LOCAL_GAPS,
  ...(typeof small === 'string' ? gaps(small, 'STOR-06/full') : []),
  ...(process.getuid?.() === 0
    ? gaps('nothing is denied to root; the tests of the plugin drive it as another user', 'STOR-06/denied')
    : []),
];

for (const { name, openPath, more } of [
  { name: 'fs', openPath: open, more: { scale: SCALE, knownGaps } },
  { name: 'fs through storageStack', openPath: stack, more: { knownGaps: [...knownGaps, ...PREFIX_GAPS] } },
]) {
  describeStorage(name, {
    create: () => openPath('archive'),
    reopen: () => openPath('archive'),
    broken: {
      missing: () => openPath('not/mounted'),
      denied: () => openPath('locked'),
      ...(typeof small !== 'string' && { full: () => openPath(small.path) }),
    },
    ...more,
  });
}
