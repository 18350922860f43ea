/** The password file of libpq, `~/.pgpass` (PostgreSQL docs, "The Password File"). */
import { readFile, stat } from 'node:fs/promises';
import { ArchiveError, errnoOf } from '../contracts/errors.ts';
import { Secret } from '../contracts/secret.ts';

export interface PasswordQuery {
  readonly host: string;
  readonly port: number;
  /** `replication` for physical replication connections. */
  readonly database: string;
  readonly user: string;
}

/** Why the file must be ignored, as libpq would, or undefined when it is missing or good. */
export async function passwordFileProblem(path: string): Promise<string | undefined> {
  let info;
  try {
    info = await stat(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
    return `the password file ${path} is ignored: it cannot be read (${errnoOf(error) ?? 'unknown error'})`;
  }
  if (!info.isFile()) return `the password file ${path} is ignored: it is not a plain file`;
  if (process.platform !== 'win32' && (info.mode & 0o077) !== 0) {
    return `the password file ${path} is ignored: others may read it; make it mode 0600`;
  }
  return undefined;
}

/** The password of the first line that matches; undefined when none does, or the file is missing or must be ignored. */
export async function findPassword(path: string, query: PasswordQuery): Promise<Secret | undefined> {
  if ((await passwordFileProblem(path)) !== undefined) return undefined;
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
    throw new ArchiveError('SECRET_UNAVAILABLE', `cannot read the password file ${path}`, { cause: error });
  }
  const password = matchPassword(text, query);
  return password === undefined || password === '' ? undefined : new Secret(password);
}

const FIELD = '((?:[^:\\\\]|\\\\.|\\\\$)*)';
const LINE = new RegExp(`^${[FIELD, FIELD, FIELD, FIELD, FIELD].join(':')}`, 's');

/** Lines `host:port:database:user:password`; `*` matches anything, a backslash takes the next character as it is. */
export function matchPassword(text: string, query: PasswordQuery): string | undefined {
  const wanted = [query.host, String(query.port), query.database, query.user];
  for (const line of text.split('\n')) {
    if (line.startsWith('#')) continue;
    const [, ...fields] = LINE.exec(line.replace(/\r$/, '')) ?? [];
    const password = fields[4];
    if (password === undefined) continue;
    if (wanted.every((value, index) => fields[index] === '*' || unescape(fields[index] ?? '') === value)) {
      return unescape(password);
    }
  }
  return undefined;
}

function unescape(field: string): string {
  return field.replaceAll(/\\(.)/gs, '$1');
}
