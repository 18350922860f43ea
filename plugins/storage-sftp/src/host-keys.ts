import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { ArchiveError, errnoOf } from '@pgark/sdk';
import { algorithmsOf, fingerprint, judge, knownKeys, typeOfKey, type KnownKey } from './known-hosts.ts';

/** Which server is the right one. */
export interface HostKeyOptions {
  readonly host: string;
  readonly port: number;
  /** Absolute; undefined for the files that ssh reads. */
  readonly knownHosts: string | undefined;
  readonly hostKey: string | undefined;
}

/** Best first, as OpenSSH has them. */
const TYPES = ['ssh-ed25519', 'ecdsa-sha2-nistp256', 'ecdsa-sha2-nistp384', 'ecdsa-sha2-nistp521', 'ssh-rsa'];

/** Decides whether the key that a server shows is that of the server which is meant. Nothing is ever taken unchecked. */
export class HostKeys {
  readonly #options: HostKeyOptions;
  readonly #files: readonly string[];
  readonly #known: readonly KnownKey[];

  private constructor(options: HostKeyOptions, files: readonly string[], known: readonly KnownKey[]) {
    this.#options = options;
    this.#files = files;
    this.#known = known;
  }

  /** Reads the files anew: a key that was added counts from the next connection on. */
  static async read(options: HostKeyOptions): Promise<HostKeys> {
    const files =
      options.knownHosts === undefined
        ? [join(homedir(), '.ssh/known_hosts'), '/etc/ssh/ssh_known_hosts']
        : [options.knownHosts];
    if (options.hostKey !== undefined) return new HostKeys(options, files, []);
    const texts = await Promise.all(files.map(readKnownHosts));
    return new HostKeys(
      options,
      files,
      texts.flatMap((text) => knownKeys(text, options.host, options.port)),
    );
  }

  /**
   * Types of keys to ask the server for: first those that are known, or it would show another of its keys, which looks
   * like a changed one. The others follow, so that there is a fingerprint to show in every case.
   */
  get algorithms(): readonly string[] {
    const known = TYPES.filter((type) => this.#known.some((key) => key.type === type && !key.revoked));
    return [...known, ...TYPES.filter((type) => !known.includes(type))].flatMap(algorithmsOf);
  }

  /** The reason to refuse a key, or undefined. */
  refusal(shown: Buffer): ArchiveError | undefined {
    const { host, port, hostKey } = this.#options;
    const server = `${host}:${port}`;
    const print = fingerprint(shown);
    const type = typeOfKey(shown);
    const details = { server, keyType: type, fingerprint: print };
    if (hostKey !== undefined) {
      if (hostKey.replace(/=+$/, '') === print) return undefined;
      return new ArchiveError('STORAGE_DENIED', `${server} shows another host key than "hostKey" says`, {
        hint: `It shows ${type} ${print}. Ask its administrator whether that is its key ("ssh-keygen -lf" of its public key prints it); only then change "hostKey".`,
        details,
      });
    }
    const verdict = judge(this.#known, shown);
    if (verdict === 'known') return undefined;
    const file = this.#files[0] ?? '';
    const scan = `ssh-keyscan ${port === 22 ? '' : `-p ${port} `}${host} >> ${file}`;
    if (verdict === 'unknown') {
      return new ArchiveError('STORAGE_DENIED', `the host key of ${server} is not known`, {
        hint: `It shows ${type} ${print}. If that is its key ("ssh-keygen -lf" of its public key prints it), run: ${scan} or set "hostKey" to the fingerprint.`,
        details,
      });
    }
    const message =
      verdict === 'revoked'
        ? `the host key of ${server} is marked as revoked`
        : `${server} shows another host key than the known one`;
    return new ArchiveError('STORAGE_DENIED', message, {
      hint: `It shows ${type} ${print}. Somebody may be in between. If its administrator says that the key was changed, run: ssh-keygen -R ${port === 22 ? host : `"[${host}]:${port}"`} -f ${file} and then: ${scan}`,
      details,
    });
  }
}

async function readKnownHosts(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    // No file knows no host; the refusal of the key then says how to make one.
    if (errnoOf(error) === 'ENOENT') return '';
    throw new ArchiveError(
      'STORAGE_MISCONFIGURED',
      `the file of known hosts ${path} cannot be read: ${errnoOf(error)}`,
      {
        cause: error,
        hint: 'Make it readable to the user that pgark runs as, or name another one with "knownHosts".',
      },
    );
  }
}
