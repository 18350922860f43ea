/** What can go wrong with an archive, or around it, in the middle of a recovery. */
import {
  chmodSync,
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Clone } from './clone.ts';
import type { FaultyArchive } from './faulty-archive.ts';
import { giveToServer } from './postgres.ts';
import { NO_DISK } from './recovery-scene.ts';
import { versityMissing } from './s3-server.ts';

export interface FaultContext {
  readonly archive: FaultyArchive;
  readonly clone: Clone;
  /** The segment that is asked for when the fault begins. */
  readonly segment: string;
}

export interface RecoveryFault {
  readonly name: string;
  /** Why it cannot be driven here. */
  readonly missing?: string | undefined;
  /** Beside those that every run drives. */
  readonly extra?: true;
  /** The WAL of the cluster has to lie on a small disk. */
  readonly disk?: true;
  /** Through S3. */
  readonly s3?: true;
  /** The file of which it is asked for when the fault begins, if not the segment. */
  readonly history?: true;
  /** What the exit code is on a standby: 1 where the archive has really no such file. Default 2. */
  readonly standby?: 1;
  /** What the command says. */
  readonly says: RegExp;
  /** Makes it, and gives what heals it. */
  readonly make: (context: FaultContext) => () => void;
}

/** Flips a bit in the middle of an object. */
export function damage(path: string): () => void {
  const whole = readFileSync(path);
  const bytes = Buffer.from(whole);
  const at = bytes.byteLength >> 1;
  bytes.writeUInt8(bytes.readUInt8(at) ^ 0x04, at);
  writeFileSync(path, bytes);
  return () => writeFileSync(path, whole);
}

/** Fills a disk to its last byte. */
export function fill(folder: string): () => void {
  const path = join(folder, 'filler');
  const file = openSync(path, 'w');
  try {
    for (let size = 1 << 20; size >= 1; size >>= 1) {
      try {
        for (;;) writeSync(file, Buffer.alloc(size));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      }
    }
  } finally {
    closeSync(file);
  }
  return () => rmSync(path);
}

/** Renames a folder, puts something else in its place if wanted, and gives what puts it back. */
export function moveAway(folder: string, instead: (path: string) => void = () => undefined): () => void {
  renameSync(folder, `${folder}.away`);
  instead(folder);
  return () => {
    rmSync(folder, { recursive: true, force: true });
    renameSync(`${folder}.away`, folder);
  };
}

const s3 = versityMissing;

export const RECOVERY_FAULTS: readonly RecoveryFault[] = [
  {
    name: 'storage down',
    missing: s3,
    s3: true,
    says: /ECONNRESET|socket hang up|ECONNREFUSED/,
    make: ({ archive }) => {
      archive.proxy?.cut({ refuse: true });
      return () => archive.proxy?.resume();
    },
  },
  {
    name: 'storage gone',
    extra: true,
    says: /of the storage does not exist/,
    make: ({ archive }) => moveAway(archive.bucket),
  },
  {
    name: 'disk of the storage not mounted',
    says: /has no cluster|was replaced/,
    make: ({ archive }) =>
      moveAway(archive.bucket, (path) => {
        mkdirSync(path);
        giveToServer(path);
      }),
  },
  {
    name: 'wrong credentials',
    missing: s3,
    s3: true,
    says: /SignatureDoesNotMatch|denied|403/i,
    make: ({ archive }) => archive.set({ credentials: 'wrong' }),
  },
  {
    name: 'unreadable folder',
    extra: true,
    says: /EACCES/,
    make: ({ archive, segment }) => {
      const folder = join(archive.objectOf(segment), '..');
      chmodSync(folder, 0);
      return () => chmodSync(folder, 0o755);
    },
  },
  {
    name: 'corrupted object',
    says: /damaged|altered|digest|corrupt/i,
    make: ({ archive, segment }) => damage(archive.objectOf(segment)),
  },
  {
    name: 'wrong key',
    says: /key|identity/i,
    make: ({ archive }) => archive.set({ key: 'wrong' }),
  },
  {
    name: 'missing segment',
    standby: 1,
    says: /the archive has no [0-9A-F]{24}, although it has later segments/,
    make: ({ archive, segment }) => archive.lose(segment),
  },
  {
    name: 'missing history',
    history: true,
    standby: 1,
    says: /the archive has no 00000002\.history, although it has timeline 2/,
    make: ({ archive }) => archive.lose('00000002.history'),
  },
  {
    name: 'full disk',
    missing: NO_DISK,
    disk: true,
    says: /ENOSPC/,
    make: ({ clone }) => fill(join(clone.server.data, 'pg_wal')),
  },
  {
    name: 'timeout',
    missing: s3,
    s3: true,
    says: /no byte|time|silent/i,
    make: ({ archive }) => {
      archive.proxy?.stall();
      return () => archive.proxy?.resume();
    },
  },
];
