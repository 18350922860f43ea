/**
 * The configuration files of a restored cluster. Debian keeps them outside the data directory, so that a backup has none and a
 * server would not start from it alone.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf } from '../contracts/errors.ts';
import { bytesToText } from '../postgres/lossless-text.ts';
import type { FileTree } from './file-tree.ts';
import { restoreError } from './restore-error.ts';

export interface ConfigResult {
  /** Files that were written because the backup has none. */
  readonly written: readonly string[];
  readonly notes: readonly string[];
}

/** Settings that a server which replays WAL must have at least as high as the one that wrote it, and their place in pg_control. */
const LIMITS: readonly (readonly [name: string, offset: number])[] = [
  ['max_connections', 180],
  ['max_worker_processes', 184],
  ['max_wal_senders', 188],
  ['max_prepared_transactions', 192],
  ['max_locks_per_transaction', 196],
];

const HBA = `# Written by "pgark restore", because the backup has no pg_hba.conf: only local users get in.
local all all peer
host all all 127.0.0.1/32 scram-sha-256
host all all ::1/128 scram-sha-256
`;

/** Writes what is missing (unless `write` is false), and says what in the present files may surprise. `control` are the bytes of pg_control. */
export async function completeConfig(
  tree: FileTree,
  options: { readonly write: boolean; readonly control: Uint8Array; readonly fileMode: number },
): Promise<ConfigResult> {
  const main = await readText(join(tree.root, 'postgresql.conf'));
  const hba = await readText(join(tree.root, 'pg_hba.conf'));
  const missing = [...(main === undefined ? ['postgresql.conf'] : []), ...(hba === undefined ? ['pg_hba.conf'] : [])];
  if (missing.length === 0) return { written: [], notes: configNotes(main ?? '') };
  const names = missing.join(' and ');
  if (!options.write)
    return {
      written: [],
      notes: [`the backup has no ${names}: give the server its own with config_file and hba_file`],
    };
  if (main === undefined)
    await tree.write('postgresql.conf', Buffer.from(minimalConfig(options.control)), options.fileMode);
  if (hba === undefined) await tree.write('pg_hba.conf', Buffer.from(HBA), options.fileMode);
  return {
    written: missing,
    notes: [`the backup has no ${names}: minimal ones were written; copy the settings of the old server`],
  };
}

/** The settings that a server needs at least as high to replay WAL of the server that wrote these bytes of pg_control. */
export function controlLimits(control: Uint8Array): readonly (readonly [name: string, value: number])[] {
  const view = new DataView(control.buffer, control.byteOffset, control.byteLength);
  return LIMITS.map(([name, offset]) => [name, view.getInt32(offset, true)]);
}

function minimalConfig(control: Uint8Array): string {
  const limits = controlLimits(control)
    .map(([name, value]) => `${name} = ${value}\n`)
    .join('');
  return `# Written by "pgark restore", because the backup has no postgresql.conf. Copy the settings of the old server,
# above all shared_preload_libraries, memory and listen_addresses.
listen_addresses = 'localhost'
# As on the server that was backed up: recovery needs at least these.
${limits}`;
}

/** Settings that lead a copy of a cluster back to the original. */
function configNotes(config: string): readonly string[] {
  const notes: string[] = [];
  for (const name of ['data_directory', 'hba_file', 'ident_file', 'external_pid_file']) {
    const match = new RegExp(`^[ \\t]*${name}[ \\t]*=?[ \\t]*'([^']*)'`, 'im').exec(config);
    if (match !== null) notes.push(`postgresql.conf sets ${name} to ${match[1]}: check that it is meant for this copy`);
  }
  if (/^[ \t]*recovery_target(?:_time|_lsn|_xid|_name)?[ \t]*=?[ \t]*'[^']/im.test(config))
    notes.push('postgresql.conf sets a recovery target: the server refuses to start with a second one');
  return notes;
}

/** The text of a file of any encoding (`lossless-text.ts`); undefined when there is none. */
export async function readText(path: string): Promise<string | undefined> {
  try {
    return bytesToText(await readFile(path));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw restoreError(error, `reading ${path}`);
  }
}
