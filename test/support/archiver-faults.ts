/** What can go wrong with an archive while the archiver of PostgreSQL works with it. */
import { chmodSync, copyFileSync, mkdirSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { serverUser } from './binaries.ts';
import type { FaultyArchive } from './faulty-archive.ts';
import { giveToServer } from './postgres.ts';
import { fill, moveAway } from './recovery-faults.ts';
import { versityMissing } from './s3-server.ts';
import { smallDisk } from './small-disk.ts';

export interface ArchiverFault {
  readonly name: string;
  /** Why it cannot be driven here. */
  readonly missing?: string | undefined;
  /** Through S3. */
  readonly s3?: true;
  /** Exit codes: an agent may see more than a command that looks for the first time. */
  readonly codes: readonly number[];
  /** What the command says. */
  readonly says: RegExp;
  /** Makes it before `next` is archived, `last` being there, and gives what heals it. */
  readonly make: (context: {
    readonly archive: FaultyArchive;
    readonly last: string;
    readonly next: string;
  }) => () => void;
}

const DISK = smallDisk(64, serverUser());

/** A new place for a repository, on a small disk where there can be one. */
export function placeOfRepository(): { readonly place?: string; readonly remove: () => void } {
  if (typeof DISK === 'string') return { remove: () => undefined };
  const place = join(DISK.path, 'repository');
  rmSync(place, { recursive: true, force: true });
  mkdirSync(place);
  giveToServer(place);
  return { place, remove: () => rmSync(place, { recursive: true }) };
}

export function unmountDisk(): void {
  if (typeof DISK !== 'string') DISK.unmount();
}

export const ARCHIVER_FAULTS: readonly ArchiverFault[] = [
  {
    name: 'storage down',
    missing: versityMissing,
    s3: true,
    codes: [2],
    says: /ECONNRESET|socket hang up|ECONNREFUSED/,
    make: ({ archive }) => {
      archive.proxy?.cut({ refuse: true });
      return () => archive.proxy?.resume();
    },
  },
  {
    name: 'storage gone',
    codes: [2],
    says: /of the storage does not exist/,
    make: ({ archive }) => moveAway(archive.bucket),
  },
  {
    name: 'disk of the storage not mounted',
    codes: [1, 2],
    says: /has no cluster|was replaced/,
    make: ({ archive }) =>
      moveAway(archive.bucket, (path) => {
        mkdirSync(path);
        giveToServer(path);
      }),
  },
  {
    name: 'wrong credentials',
    missing: versityMissing,
    s3: true,
    codes: [2],
    says: /SignatureDoesNotMatch|denied|403/i,
    make: ({ archive }) => archive.set({ credentials: 'wrong' }),
  },
  {
    name: 'folder that takes nothing',
    codes: [2],
    says: /EACCES/,
    make: ({ archive, last }) => {
      const folder = dirname(archive.objectOf(last));
      chmodSync(folder, 0o555);
      return () => chmodSync(folder, 0o755);
    },
  },
  {
    name: 'key that is gone',
    codes: [3],
    says: /gone/,
    make: ({ archive }) => archive.set({ key: 'gone' }),
  },
  {
    name: 'other content under the name',
    codes: [4],
    says: /holds [0-9A-F]{24} with digest/,
    make: ({ archive, last, next }) => {
      const object = archive.objectOf(last);
      const other = basename(object).replace(last, next);
      const path = join(dirname(object), other);
      copyFileSync(object, path);
      giveToServer(path);
      return () => rmSync(path);
    },
  },
  {
    name: 'full disk',
    missing: typeof DISK === 'string' ? DISK : undefined,
    codes: [2],
    says: /ENOSPC|no space/,
    make: () => fill(dirname(placeOnDisk())),
  },
  {
    name: 'timeout',
    missing: versityMissing,
    s3: true,
    codes: [2],
    says: /did not finish within 3 s/,
    make: ({ archive }) => {
      archive.proxy?.stall();
      return () => archive.proxy?.resume();
    },
  },
];

function placeOnDisk(): string {
  if (typeof DISK === 'string') throw new Error(DISK);
  return join(DISK.path, 'repository');
}
