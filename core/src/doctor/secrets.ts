/** Where the secrets of a config come from: whether each can be read, and whether others could read it too. */
import { constants, type Stats } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Finding } from '../check/finding.ts';
import type { SecretSource } from '../config/config.ts';
import type { LoadedConfig } from '../config/load.ts';
import { readSecret } from '../config/secrets.ts';
import { errnoOf, isArchiveError } from '../contracts/errors.ts';
import { Secret } from '../contracts/secret.ts';
import type { Redactor } from './redact.ts';

type Outcome = Omit<Finding, 'subject' | 'check'>;

const OTHERS_READ = 0o004;
const OTHERS_WRITE = 0o022;

/** A secret of a config, and its key: `postgres.password`. */
export interface NamedSecret {
  readonly key: string;
  readonly source: SecretSource;
}

/** In words, without the arguments of a command, which may hold a secret themselves. */
export function describeSource(source: SecretSource): string {
  if (source instanceof Secret) return 'in the config itself';
  if ('env' in source) return `environment variable ${source.env}`;
  return 'file' in source ? `file ${source.file}` : `command ${source.command[0] ?? ''}`;
}

/** Reads each once, and tells the redactor of it. Errors: `ABORTED`. */
export async function examineSecrets(
  secrets: readonly NamedSecret[],
  { env, directory }: Pick<LoadedConfig, 'env' | 'directory'>,
  { redactor, signal }: { readonly redactor: Redactor; readonly signal: AbortSignal },
): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  for (const { key, source } of secrets) {
    if (source instanceof Secret) {
      redactor.add(source.reveal());
      continue;
    }
    const add = (outcome: Outcome): void => void findings.push({ subject: 'secrets', check: key, ...outcome });
    try {
      redactor.add((await readSecret(source, { env, directory, what: key, signal })).reveal());
    } catch (error) {
      if (!isArchiveError(error) || error.code === 'ABORTED') throw error;
      add({ state: 'failed', message: `${error.code}: ${error.message}`, hint: error.hint });
      continue;
    }
    if ('file' in source) add(await fileOutcome(resolve(directory, source.file), describeSource(source)));
    else add({ state: 'ok', message: `is read from ${describeSource(source)}` });
  }
  return findings;
}

async function fileOutcome(path: string, what: string): Promise<Outcome> {
  const problem = openness((await stat(path)).mode);
  if (problem === undefined) return { state: 'ok', message: `is read from ${what}` };
  return { state: 'warning', message: `is read from ${what}, which ${problem}`, hint: `Run: chmod 0600 ${path}` };
}

function openness(mode: Stats['mode']): string | undefined {
  if ((mode & OTHERS_WRITE) !== 0) return 'others may change';
  return (mode & OTHERS_READ) === 0 ? undefined : 'every user of this host may read';
}

/** The config file: who may change it decides what pgark runs, who may read it has what is written in it. `literal`: keys of secrets in it. */
export async function examineConfigFile(path: string, literal: readonly string[]): Promise<Finding> {
  const outcome = (state: Finding['state'], message: string, hint?: string): Finding => ({
    subject: 'permissions',
    check: 'config file',
    state,
    message,
    ...(hint !== undefined && { hint }),
  });
  try {
    const { mode } = await stat(path);
    if ((mode & OTHERS_WRITE) !== 0)
      return outcome('failed', `others may change ${path}, and so what pgark runs`, `Run: chmod go-w ${path}`);
    if (literal.length > 0 && (mode & OTHERS_READ) !== 0) {
      const keys = literal.join(', ');
      const hint = `Run "chmod 0600 ${path}", or take them from a file: { file: PATH }.`;
      return outcome('warning', `every user of this host may read ${path}, which holds the secrets of ${keys}`, hint);
    }
    return outcome('ok', `${path} can be changed by its owner alone`);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === undefined) throw error;
    return outcome('failed', `${path} cannot be looked at: ${errno}`, 'Run this as the user that runs pgark.');
  }
}

/** Certificates and keys of servers: they are read when a server begins, and again when they are renewed. */
export async function examineTls({ config }: Pick<LoadedConfig, 'config'>): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  for (const [section, tls] of [
    ['serve.tls', config.serve.tls],
    ['daemon.tls', config.daemon.tls],
  ] as const) {
    for (const [name, path] of Object.entries(tls ?? {})) {
      const found = { subject: 'permissions', check: `${section}.${name}` };
      try {
        await access(path, constants.R_OK);
        const problem = name === 'key' ? openness((await stat(path)).mode) : undefined;
        findings.push(
          problem === undefined
            ? { ...found, state: 'ok', message: `${path} can be read` }
            : {
                ...found,
                state: 'warning',
                message: `${path} is a key that ${problem}`,
                hint: `Run: chmod 0600 ${path}`,
              },
        );
      } catch (error) {
        const hint = 'Make it readable for the user that runs pgark.';
        findings.push({ ...found, state: 'failed', message: `${path}: ${errnoOf(error) ?? String(error)}`, hint });
      }
    }
  }
  return findings;
}
