import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ArchiveError, errnoOf } from '../contracts/errors.ts';
import { parseWalFileName, segmentNumberOf, type WalFile } from '../postgres/wal-file.ts';
import { guard, spoolError } from './spool-error.ts';

/** A file of a spool. */
export interface SpoolFile {
  readonly file: WalFile;
  readonly path: string;
  readonly size: number;
}

/** Where a stream has to begin: always the start of a segment. */
export interface WalPosition {
  readonly timeline: number;
  readonly lsn: bigint;
}

/**
 * The folder of one cluster in which received WAL waits for the storage: `<spool>/<cluster>/<system-id>/` holds what a
 * directory of `pg_receivewal` holds, segments, one `.partial` and histories. A folder that is not there holds nothing; one
 * that cannot be looked at is `SPOOL_UNAVAILABLE`.
 */
export class Spool {
  /** `<spool>/<cluster>`. */
  readonly folder: string;

  constructor(root: string, cluster: string) {
    this.folder = join(root, cluster);
  }

  folderOf(systemId: string): string {
    return join(this.folder, systemId);
  }

  /** The path that a WAL file has in the spool. */
  path(systemId: string, name: string): string {
    return join(this.folder, systemId, name);
  }

  /** Makes the folder of a system. */
  create(systemId: string): string {
    const folder = this.folderOf(systemId);
    guard(folder, () => mkdirSync(folder, { recursive: true, mode: 0o700 }));
    return folder;
  }

  /** The system identifiers that have a folder here. */
  systemIds(): readonly string[] {
    return names(this.folder).filter((name) => /^[0-9]{1,20}$/.test(name));
  }

  /** The WAL files of a system, sorted by name. Anything else in the folder is left alone. */
  files(systemId: string): readonly SpoolFile[] {
    const folder = this.folderOf(systemId);
    const found: SpoolFile[] = [];
    for (const name of names(folder)) {
      const file = parseWalFileName(name);
      if (file === undefined || file.kind === 'backup') continue;
      const path = join(folder, name);
      const info = guard(path, () => statSync(path, { throwIfNoEntry: false }));
      if (info?.isFile()) found.push({ file, path, size: info.size });
    }
    return found;
  }

  /** Removes what a crash left of files that were being put in place. */
  clean(systemId: string): void {
    const folder = this.folderOf(systemId);
    for (const name of names(folder)) {
      if (name.endsWith('.tmp') && parseWalFileName(name.slice(0, -4)) !== undefined) {
        guard(folder, () => {
          rmSync(join(folder, name), { force: true });
        });
      }
    }
  }

  /**
   * Where to go on, for each timeline that has segments here: after the highest whole segment, or at the start of the
   * highest partial one if that is higher (as `FindStreamingStart` of pg_receivewal, but by timeline, since a higher
   * segment of an abandoned timeline says nothing).
   *
   * Throws `SPOOL_INVALID` for a whole segment of another size and for a partial one that is larger than a segment.
   * A shorter partial one is what a crash leaves while it is made: it holds nothing that was acknowledged.
   */
  positions(systemId: string, segmentSize: number): ReadonlyMap<number, bigint> {
    const positions = new Map<number, bigint>();
    for (const { file, path, size } of this.files(systemId)) {
      if (file.kind !== 'segment' && file.kind !== 'partial') continue;
      if (file.kind === 'segment' ? size !== segmentSize : size > segmentSize) {
        throw new ArchiveError('SPOOL_INVALID', `${path} has ${size} bytes, segments of this server ${segmentSize}`, {
          details: { path, size, segmentSize },
        });
      }
      const number = segmentNumberOf(file, segmentSize) + (file.kind === 'segment' ? 1n : 0n);
      const lsn = number * BigInt(segmentSize);
      if (lsn >= (positions.get(file.timeline) ?? 0n)) positions.set(file.timeline, lsn);
    }
    return positions;
  }
}

function names(folder: string): readonly string[] {
  try {
    return readdirSync(folder).sort();
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw spoolError(folder, error);
  }
}
