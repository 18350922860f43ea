import { readFile } from 'node:fs/promises';
import { ArchiveError, errnoOf, type Secret } from '@pgark/sdk';

/** With what to log in. */
export interface CredentialOptions {
  /** Absolute. */
  readonly privateKeyFile: string | undefined;
  readonly privateKey: Secret | undefined;
  readonly passphrase: Secret | undefined;
  readonly agent: string | undefined;
  readonly password: Secret | undefined;
}

/** What the SSH library takes, in its words. */
export interface Login {
  readonly privateKey?: string | Buffer;
  readonly passphrase?: string;
  readonly agent?: string;
  readonly password?: string;
  readonly tryKeyboard?: boolean;
  /** In the order in which they are tried. */
  readonly authHandler: ('publickey' | 'agent' | 'password' | 'keyboard-interactive')[];
}

/** Reads the key file anew for each connection: it may have been replaced. */
export async function readLogin(options: CredentialOptions): Promise<Login> {
  const { privateKey, passphrase, password } = options;
  const key = options.privateKeyFile === undefined ? privateKey?.reveal() : await readKey(options.privateKeyFile);
  // Every key of an agent counts as an attempt, and servers allow few: it is asked unnamed only if there is nothing else.
  const agent =
    options.agent ?? (key === undefined && password === undefined ? process.env['SSH_AUTH_SOCK'] : undefined);
  const login: Login = {
    ...(key === undefined ? {} : { privateKey: key }),
    ...(passphrase === undefined ? {} : { passphrase: passphrase.reveal() }),
    ...(agent === undefined || agent === '' ? {} : { agent }),
    ...(password === undefined ? {} : { password: password.reveal(), tryKeyboard: true }),
    authHandler: [],
  };
  if (login.privateKey !== undefined) login.authHandler.push('publickey');
  if (login.agent !== undefined) login.authHandler.push('agent');
  if (login.password !== undefined) login.authHandler.push('password', 'keyboard-interactive');
  if (login.authHandler.length > 0) return login;
  throw new ArchiveError('STORAGE_MISCONFIGURED', 'the storage has nothing to log in with', {
    hint: 'Set "privateKeyFile", "privateKey", "agent" or "password"; SSH_AUTH_SOCK is not set either.',
  });
}

async function readKey(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new ArchiveError('STORAGE_MISCONFIGURED', `the private key ${path} cannot be read: ${errnoOf(error)}`, {
      cause: error,
      hint: 'Check "privateKeyFile", and that the user that pgark runs as may read it.',
    });
  }
}
