/** Unpacks a backup with `tar`, part by part, as a person would. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BackupRecord } from '../../core/src/repository/backup-record.ts';
import { collect } from '../../core/src/repository/objects.ts';
import { readFileList, type BackupFile } from '../../core/src/repository/file-list.ts';
import type { Repository } from '../../core/src/repository/repository.ts';

/** The plain bytes of each part, by its name without suffixes, in the order of the record. */
export async function readParts(
  repository: Repository,
  record: BackupRecord,
): Promise<ReadonlyMap<string, Uint8Array>> {
  const catalog = repository.backups(record.systemId);
  const parts = new Map<string, Uint8Array>();
  for (const part of record.parts) {
    const name = part.name.slice(0, part.name.indexOf('.tar') + 4);
    parts.set(name, await collect(catalog.readObject(record.id, part), name, 1 << 30));
  }
  return parts;
}

/** The manifest as PostgreSQL wrote it. */
export async function readManifestText(repository: Repository, record: BackupRecord): Promise<string> {
  const source = repository.backups(record.systemId).readObject(record.id, record.manifest);
  return Buffer.from(await collect(source, 'backup_manifest')).toString('utf8');
}

export async function readFiles(repository: Repository, record: BackupRecord): Promise<readonly BackupFile[]> {
  const source = repository.backups(record.systemId).readObject(record.id, record.fileList);
  const files: BackupFile[] = [];
  for await (const file of readFileList(source, 'files.json')) files.push(file);
  return files;
}

/** Runs `tar` over some bytes; anything it complains of is an error. Gives what it printed. */
export function tar(args: readonly string[], input: Uint8Array): string {
  const result = spawnSync('tar', args, { input, maxBuffer: 1 << 28, encoding: 'buffer' });
  if (result.status !== 0 || result.stderr.byteLength > 0) throw new Error(`tar failed: ${result.stderr.toString()}`);
  return result.stdout.toString('utf8');
}

/**
 * Unpacks all parts: the data directory into `folder/data`, tablespaces into `folder/<oid>`, to which the links then point. Gives the data
 * directory.
 */
export async function unpackBackup(repository: Repository, record: BackupRecord, folder: string): Promise<string> {
  const data = join(folder, 'data');
  mkdirSync(data, { recursive: true, mode: 0o700 });
  for (const [name, bytes] of await readParts(repository, record)) {
    const [archive = ''] = name.split('/');
    const target = archive === 'base' ? data : join(folder, archive);
    mkdirSync(target, { recursive: true, mode: 0o700 });
    tar(['-x', '-p', '-C', target], bytes);
  }
  for (const { oid } of record.tablespaces) {
    const link = join(data, 'pg_tblspc', oid);
    spawnSync('ln', ['-sfn', join(folder, oid), link]);
  }
  writeFileSync(join(data, 'backup_manifest'), await readManifestText(repository, record));
  return data;
}

/** Size and SHA-256 of every file below a folder, links followed, by relative path. */
export function digestTree(folder: string): Map<string, { readonly size: number; readonly sha256: string }> {
  const found = new Map<string, { readonly size: number; readonly sha256: string }>();
  const walk = (path: string): void => {
    for (const name of readdirSync(join(folder, path))) {
      const inner = path === '' ? name : `${path}/${name}`;
      if (statSync(join(folder, inner)).isDirectory()) {
        walk(inner);
        continue;
      }
      const bytes = readFileSync(join(folder, inner));
      found.set(inner, { size: bytes.byteLength, sha256: createHash('sha256').update(bytes).digest('hex') });
    }
  };
  walk('');
  return found;
}
