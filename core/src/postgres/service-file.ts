/** Connection service files (PostgreSQL docs, "The Connection Service File"). */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ArchiveError, errnoOf } from '../contracts/errors.ts';
import { checkKeyword } from './conninfo-keywords.ts';

/** Where packages of PostgreSQL keep the system-wide file when PGSYSCONFDIR does not say: Debian's, Red Hat's. */
const SYSTEM_FOLDERS = ['/etc/postgresql-common', '/etc/sysconfig/pgsql'];

export interface ServiceFiles {
  /** The user's file when it is named; else `~/.pg_service.conf`. */
  readonly file: string | undefined;
  readonly home: string;
  /** PGSYSCONFDIR. */
  readonly systemFolder: string | undefined;
}

/** The parameters of a service. Throws `CONFIG_INVALID` when no file defines it or a file is not well formed. */
export async function readService(name: string, files: ServiceFiles): Promise<ReadonlyMap<string, string>> {
  const folders = files.systemFolder === undefined ? SYSTEM_FOLDERS : [files.systemFolder];
  const paths = [
    files.file ?? join(files.home, '.pg_service.conf'),
    ...folders.map((folder) => join(folder, 'pg_service.conf')),
  ];
  for (const path of paths) {
    const text = await readIfThere(path);
    const service = text === undefined ? undefined : parseServiceFile(text, path).get(name);
    if (service !== undefined) return service;
  }
  throw new ArchiveError('CONFIG_INVALID', `no definition of the service "${name}" in ${paths.join(', ')}`, {
    hint: `Add a section [${name}] to one of these files, or correct PGSERVICE.`,
  });
}

/** `[name]` lines, then `key=value` lines whose values are taken as they stand. The first section of a name counts. */
function parseServiceFile(text: string, path: string): ReadonlyMap<string, ReadonlyMap<string, string>> {
  const services = new Map<string, Map<string, string>>();
  let section: Map<string, string> | undefined;
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    const title = /^\[(.*)\]$/.exec(line)?.[1];
    if (title !== undefined) {
      section = new Map();
      if (!services.has(title)) services.set(title, section);
      continue;
    }
    const [, key, value = ''] = /^([^=\s]+)\s*=(.*)$/.exec(line) ?? [];
    if (section === undefined || key === undefined || key === 'service' || key === 'servicefile') {
      throw new ArchiveError('CONFIG_INVALID', `line ${index + 1} of ${path} is not a section or key=value`, {
        hint: 'A service file has [name] lines, each followed by key=value lines; a service cannot name another.',
      });
    }
    checkKeyword(key, path);
    if (!section.has(key)) section.set(key, value);
  }
  return services;
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
    throw new ArchiveError('CONFIG_INVALID', `cannot read the service file ${path}`, { cause: error });
  }
}
