/** Reads secrets from where the config says they are. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { ArchiveError, errnoOf, isArchiveError, throwIfAborted } from '../contracts/errors.ts';
import { Secret } from '../contracts/secret.ts';
import type { SecretSource } from './config.ts';

/** Milliseconds that a command may take to print a secret. */
const COMMAND_TIMEOUT = 30_000;

export interface SecretOptions {
  readonly env: NodeJS.ProcessEnv;
  /** Against which a relative file is resolved, and where commands run: the config file's folder. */
  readonly directory: string;
  /** The key it is for, for messages: `postgres.url`. */
  readonly what: string;
  readonly signal?: AbortSignal;
  /** Milliseconds. Default 30 s. */
  readonly timeout?: number;
}

/**
 * The value of a secret. One newline at the end of a file or of a command's output is taken off.
 *
 * Errors: `SECRET_UNAVAILABLE` when the variable is not set, the file cannot be read, the command fails, or the value is empty.
 */
export async function readSecret(source: SecretSource, options: SecretOptions): Promise<Secret> {
  if (source instanceof Secret) return source;
  throwIfAborted(options.signal, `reading ${options.what}`);
  if ('env' in source) {
    const value = options.env[source.env];
    if (value === undefined) throw unavailable(options, `the environment variable ${source.env} is not set`);
    return nonEmpty(value, options, `the environment variable ${source.env}`);
  }
  if ('file' in source) {
    const path = resolve(options.directory, source.file);
    try {
      return nonEmpty(withoutNewline(await readFile(path, 'utf8')), options, path);
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === undefined || isArchiveError(error)) throw error;
      throw unavailable(options, `cannot read ${path}: ${errno}`, error);
    }
  }
  return nonEmpty(await run(source.command, options), options, `the command ${source.command[0] ?? ''}`);
}

/** Whether a value is a secret source other than a plain text. */
export function isSecretReference(value: unknown): value is Exclude<SecretSource, Secret> {
  if (typeof value !== 'object' || value === null || value instanceof Secret) return false;
  const keys = Object.keys(value);
  const [key] = keys;
  if (keys.length !== 1 || key === undefined) return false;
  const source = (value as Record<string, unknown>)[key];
  if (key === 'command')
    return Array.isArray(source) && source.length > 0 && source.every((part) => typeof part === 'string');
  return (key === 'env' || key === 'file') && typeof source === 'string' && source !== '';
}

function run(command: readonly string[], options: SecretOptions): Promise<string> {
  const [program = '', ...args] = command;
  const timeout = options.timeout ?? COMMAND_TIMEOUT;
  return new Promise((resolve, reject) => {
    const settings = {
      cwd: options.directory,
      env: options.env,
      timeout,
      killSignal: 'SIGKILL' as const,
      maxBuffer: 1 << 20,
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    };
    // Neither the arguments nor what the command printed may show up in a message: both can hold secrets.
    const child = execFile(program, args, settings, (error, stdout) => {
      if (error === null) return resolve(withoutNewline(stdout));
      if (options.signal?.aborted) return reject(new ArchiveError('ABORTED', `reading ${options.what} was cancelled`));
      const reason = error.killed
        ? `did not end within ${timeout / 1000} s`
        : typeof error.code === 'number'
          ? `exited with ${error.code}`
          : `could not be run: ${error.signal ?? errnoOf(error) ?? 'failed'}`;
      reject(unavailable(options, `the command ${program} ${reason}`));
    });
    child.stdin?.end();
  });
}

function withoutNewline(text: string): string {
  return text.replace(/\r?\n$/, '');
}

function nonEmpty(value: string, options: SecretOptions, where: string): Secret {
  if (value === '') throw unavailable(options, `${where} is empty`);
  return new Secret(value);
}

function unavailable(options: SecretOptions, reason: string, cause?: unknown): ArchiveError {
  return new ArchiveError('SECRET_UNAVAILABLE', `${options.what}: ${reason}`, cause === undefined ? {} : { cause });
}
