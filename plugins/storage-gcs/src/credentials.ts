import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { ArchiveError, errnoOf } from '@pgark/sdk';
import type { Storage as GoogleStorage } from '@google-cloud/storage';
import { isNetworkError } from './gcs-error.ts';
import type { GcsStorageOptions } from './options.ts';

type GoogleAuth = GoogleStorage['authClient'];

/** Headers that say who asks. Tokens are fetched, kept and renewed by Google's library, which is loaded by the first call. */
export class Credentials {
  readonly #options: GcsStorageOptions;
  readonly #directory: string;
  #auth: Promise<GoogleAuth> | undefined;

  constructor(options: GcsStorageOptions, directory: string) {
    this.#options = options;
    this.#directory = directory;
  }

  /** Errors: `STORAGE_MISCONFIGURED` without usable credentials, `STORAGE_DENIED`, `STORAGE_UNAVAILABLE`. */
  async headers(): Promise<Record<string, string>> {
    if (this.#options.anonymous === true) return {};
    this.#auth ??= this.#load();
    let auth: GoogleAuth;
    try {
      auth = await this.#auth;
    } catch (error) {
      // A key file that is missing may be there next time.
      this.#auth = undefined;
      throw error;
    }
    try {
      return Object.fromEntries(await auth.getRequestHeaders());
    } catch (error) {
      throw credentialsError(error);
    }
  }

  /** The server did not accept them: a key file that was replaced is read again by the next call. */
  forget(): void {
    this.#auth = undefined;
  }

  async #load(): Promise<GoogleAuth> {
    const key = await this.#serviceAccountKey();
    const { Storage } = await import('@google-cloud/storage');
    // Without a project the library looks for one, at a service that the storage has nothing to do with; nothing here needs it.
    const { authClient } = new Storage({ projectId: 'none' });
    // Not by the option `credentials`, which does just this but complains on the console.
    if (key !== undefined) authClient.jsonContent = key;
    return authClient;
  }

  async #serviceAccountKey(): Promise<Record<string, unknown> | undefined> {
    const { credentials, keyFile } = this.#options;
    if (credentials !== undefined) return parseKey(credentials.reveal(), 'the option "credentials"');
    if (keyFile === undefined) return undefined;
    const path = resolve(this.#directory, keyFile);
    const text = await readFile(path, 'utf8').catch((error: unknown) => {
      throw new ArchiveError('STORAGE_MISCONFIGURED', `the key file ${path} cannot be read: ${errnoOf(error)}`, {
        hint: 'Check the option "keyFile" and the permissions of the file.',
        cause: error,
      });
    });
    return parseKey(text, path);
  }
}

/** Neither the text nor the parser's complaint, which quotes it, may show up in a message. */
function parseKey(text: string, where: string): Record<string, unknown> {
  let key: unknown;
  try {
    key = JSON.parse(text);
  } catch {
    throw invalidKey(where, 'is no JSON');
  }
  if (typeof key !== 'object' || key === null) throw invalidKey(where, 'is no JSON object');
  // Other kinds name addresses to which secrets are sent, or commands to run: these only by the application default.
  const { type } = key as { type?: unknown };
  if (type !== 'service_account') throw invalidKey(where, 'is not the key of a service account');
  return key as Record<string, unknown>;
}

function invalidKey(where: string, fault: string): ArchiveError {
  return new ArchiveError('STORAGE_MISCONFIGURED', `${where} ${fault}`, {
    hint: 'It must be the JSON of "gcloud iam service-accounts keys create". For other kinds of credentials name the file in GOOGLE_APPLICATION_CREDENTIALS and leave out "keyFile" and "credentials".',
  });
}

/** The library's errors hold the request, and that the secret: only the message is kept. */
function credentialsError(error: unknown): ArchiveError {
  const message = (error instanceof Error ? error.message : String(error)).slice(0, 500);
  const status = (error as { response?: { status?: unknown } } | null)?.response?.status;
  if (isNetworkError(error) || (typeof status === 'number' && (status >= 500 || status === 429))) {
    return new ArchiveError('STORAGE_UNAVAILABLE', `no access token could be had: ${message}`);
  }
  if (typeof status === 'number') {
    return new ArchiveError('STORAGE_DENIED', `the credentials were refused: ${message}`, {
      hint: 'Check that the service account and its key still exist, and the clock of this machine.',
      details: { status },
    });
  }
  return new ArchiveError('STORAGE_MISCONFIGURED', `there are no usable credentials: ${message}`, {
    hint: 'Set "keyFile" or "credentials", or give this machine application default credentials.',
  });
}
