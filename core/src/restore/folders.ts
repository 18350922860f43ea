/** Where the files of a backup go. */
import { stat, statfs } from 'node:fs/promises';
import { dirname, isAbsolute, resolve, sep } from 'node:path';
import { ArchiveError, errnoOf } from '../contracts/errors.ts';
import type { BackupRecord } from '../repository/backup-record.ts';
import type { PlanFolder, PlanTablespace } from './plan-types.ts';

export interface FolderOptions {
  /** The new data directory; without one nothing is said about folders. */
  readonly directory?: string;
  /** Old location or OID of a tablespace to its new location. */
  readonly tablespaces?: ReadonlyMap<string, string>;
}

export interface PlannedFolders {
  readonly folders: readonly PlanFolder[];
  readonly tablespaces: readonly PlanTablespace[];
  readonly warnings: readonly string[];
}

/**
 * Maps the tablespaces and measures the space. Errors: `USAGE` for a mapping that fits no tablespace, is relative, names a folder
 * twice, or lies inside the data directory.
 */
export async function planFolders(backup: BackupRecord, options: FolderOptions): Promise<PlannedFolders> {
  const tablespaces = mapTablespaces(backup, options.tablespaces ?? new Map());
  const directory = options.directory === undefined ? undefined : resolve(options.directory);
  checkDistinct(directory, tablespaces);
  if (directory === undefined) return { folders: [], tablespaces, warnings: [] };
  const inside = tablespaces.filter(({ to }) => to === undefined).map(({ oid }) => oid);
  const folders: PlanFolder[] = [
    await measure(directory, bytesOf(backup, ['base', ...inside])),
    ...(await Promise.all(
      tablespaces.flatMap(({ oid, to }) => (to === undefined ? [] : [measure(to, bytesOf(backup, [oid]))])),
    )),
  ];
  return { folders, tablespaces, warnings: await spaceWarnings(folders) };
}

function mapTablespaces(backup: BackupRecord, mapping: ReadonlyMap<string, string>): readonly PlanTablespace[] {
  const used = new Set<string>();
  const mapped = backup.tablespaces.map(({ oid, location }): PlanTablespace => {
    const key = [oid, location, location.replace(/\/+$/, '')].find((candidate) => mapping.has(candidate));
    if (key !== undefined) used.add(key);
    const to = key === undefined ? location : (mapping.get(key) ?? '');
    // A tablespace "in place" lies in the data directory, and a relative path in the backup says so.
    if (!isAbsolute(location)) {
      if (key === undefined) return { oid, from: location, to: undefined };
      throw new ArchiveError('USAGE', `tablespace ${oid} lies inside the data directory and cannot be mapped`);
    }
    if (!isAbsolute(to))
      throw new ArchiveError('USAGE', `the new location of tablespace ${oid} is not absolute: "${to}"`);
    return { oid, from: location, to: resolve(to) };
  });
  const unused = [...mapping.keys()].filter((key) => !used.has(key));
  if (unused.length === 0) return mapped;
  const known = backup.tablespaces.map(({ oid, location }) => `${location} (${oid})`).join(', ') || 'none';
  throw new ArchiveError('USAGE', `the backup has no tablespace ${unused.join(', ')}`, {
    hint: `Its tablespaces are: ${known}.`,
  });
}

function checkDistinct(directory: string | undefined, tablespaces: readonly PlanTablespace[]): void {
  const taken: string[] = directory === undefined ? [] : [directory];
  for (const { oid, to } of tablespaces) {
    if (to === undefined) continue;
    const other = taken.find((path) => path === to || isInside(path, to) || isInside(to, path));
    if (other !== undefined)
      throw new ArchiveError('USAGE', `tablespace ${oid} would go to ${to}, which collides with ${other}`, {
        hint: 'Give each tablespace a folder of its own outside the data directory, with --tablespace OLD=NEW.',
      });
    taken.push(to);
  }
}

function isInside(folder: string, path: string): boolean {
  return path.startsWith(folder.endsWith(sep) ? folder : `${folder}${sep}`);
}

function bytesOf(backup: BackupRecord, archives: readonly string[]): number {
  return backup.parts
    .filter(({ archive }) => archives.includes(archive))
    .reduce((sum, { plainSize }) => sum + plainSize, 0);
}

/** The folder itself, or the nearest one above it that exists. Errors: those of the file system, but for what is not there. */
export async function existing(path: string): Promise<string> {
  for (let folder = path; ; folder = dirname(folder)) {
    try {
      await stat(folder);
      return folder;
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT' && errnoOf(error) !== 'ENOTDIR') throw error;
      if (folder === dirname(folder)) return folder;
    }
  }
}

async function measure(path: string, needed: number): Promise<PlanFolder> {
  try {
    const { bavail, bsize } = await statfs(await existing(path));
    return { path, needed, free: bavail * bsize };
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return { path, needed, free: undefined }; // shown as unknown
  }
}

/** Folders on one file system share its space. */
async function spaceWarnings(folders: readonly PlanFolder[]): Promise<readonly string[]> {
  const systems = new Map<number, PlanFolder[]>();
  for (const folder of folders) {
    if (folder.free === undefined) continue;
    const { dev } = await stat(await existing(folder.path));
    systems.set(dev, [...(systems.get(dev) ?? []), folder]);
  }
  return [...systems.values()].flatMap((shared) => {
    const needed = shared.reduce((sum, folder) => sum + folder.needed, 0);
    const free = shared[0]?.free ?? 0;
    if (needed <= free) return [];
    const paths = shared.map(({ path }) => path).join(', ');
    return [`not enough space for ${paths}: ${needed} bytes are needed, ${free} are free`];
  });
}
