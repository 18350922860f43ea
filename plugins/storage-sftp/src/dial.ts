import { connect, type Socket } from 'node:net';
import { ArchiveError, errnoOf, isArchiveError } from '@pgark/sdk';
import type { ServerHostKeyAlgorithm, SFTPWrapper } from 'ssh2';
import type SftpClient from 'ssh2-sftp-client';
import { Connection } from './connection.ts';
import { readLogin, type CredentialOptions, type Login } from './credentials.ts';
import { HostKeys, type HostKeyOptions } from './host-keys.ts';

export interface DialOptions {
  readonly hostKeys: HostKeyOptions;
  readonly credentials: CredentialOptions;
  readonly user: string;
  /** Milliseconds until the session must stand. */
  readonly connectTimeout: number;
  readonly timeout: number;
  readonly keepaliveInterval: number;
  readonly keepaliveCount: number;
}

/**
 * Opens an SFTP session on a host whose key is checked.
 *
 * Errors: `STORAGE_DENIED` for the host key and the login, `STORAGE_MISCONFIGURED` for keys that cannot be read and a server without
 * SFTP, `STORAGE_UNAVAILABLE` for all that may pass.
 */
export async function dial(options: DialOptions, ended: () => void): Promise<Connection> {
  const { host, port } = options.hostKeys;
  const server = `${host}:${port}`;
  const [hostKeys, login] = await Promise.all([HostKeys.read(options.hostKeys), readLogin(options.credentials)]);
  // Loaded here: no other command should wait for it.
  const { default: Client } = await import('ssh2-sftp-client');
  let failure: unknown;
  const client = new Client('pgark', { error: noted, end: () => undefined, close: () => undefined });
  function noted(error: unknown): void {
    failure ??= error;
  }
  client.on('error', noted);
  if (login.password !== undefined) answerPrompts(client, login.password);

  const socket = connect({ host, port });
  socket.setNoDelay(true);
  socket.setMaxListeners(0);
  const expired = setTimeout(() => {
    failure = new ArchiveError('STORAGE_UNAVAILABLE', `${server} has not let us in for ${options.connectTimeout} ms`);
    socket.destroy(failure as ArchiveError);
  }, options.connectTimeout);
  try {
    const sftp = await untilClosed(
      socket,
      client.connect({
        sock: socket,
        username: options.user,
        ...login,
        algorithms: { serverHostKey: hostKeys.algorithms as ServerHostKeyAlgorithm[] },
        hostVerifier: (key: Buffer) => {
          const refusal = hostKeys.refusal(key);
          failure ??= refusal;
          return refusal === undefined;
        },
        // The library's own deadline ends with the login; ours goes on until the session stands.
        readyTimeout: 0,
        keepaliveInterval: options.keepaliveInterval,
        keepaliveCountMax: options.keepaliveCount,
      }),
    );
    return new Connection(sftp, socket, { server, timeout: options.timeout, ended });
  } catch (error) {
    socket.destroy();
    throw dialError(failure ?? error, { server, user: options.user, login });
  } finally {
    clearTimeout(expired);
  }
}

/** The library does not always say that the connection ended before it had a session. */
function untilClosed(socket: Socket, session: Promise<SFTPWrapper>): Promise<SFTPWrapper> {
  return new Promise((resolve, reject) => {
    socket.once('close', () => reject(new Error('the connection was closed')));
    session.then(resolve, reject);
  });
}

/** Servers that ask for the password by PAM do so in a dialogue. */
function answerPrompts(client: SftpClient, password: string): void {
  client.on('keyboard-interactive', (...[, , , prompts, finish]: PromptArguments) =>
    finish(prompts.map(() => password)),
  );
}

type PromptArguments = [string, string, string, readonly unknown[], (answers: readonly string[]) => void];

interface Attempt {
  readonly server: string;
  readonly user: string;
  readonly login: Login;
}

/** What a failed dial was. The library marks its errors with a level; where it does not, only the text tells. */
function dialError(error: unknown, { server, user, login }: Attempt): ArchiveError {
  if (isArchiveError(error)) return error;
  const errno = errnoOf(error) ?? '';
  const { level } = error as { level?: unknown };
  const text = (error instanceof Error ? error.message : String(error)).replace(/^getConnection: /, '');
  if (level === 'client-authentication' || /too many authentication failures/i.test(text)) {
    const ways = login.authHandler.filter((way) => way !== 'keyboard-interactive').join(', ');
    return new ArchiveError('STORAGE_DENIED', `${server} refused the login of ${user}`, {
      cause: error,
      hint: `Tried: ${ways}. Check "user" and what it logs in with; a public key must be in the authorized_keys of the server.`,
    });
  }
  if (level === 'agent') {
    return new ArchiveError('STORAGE_MISCONFIGURED', `the SSH agent ${login.agent} cannot be used: ${text}`, {
      cause: error,
      hint: 'Check that it runs and holds the key, and "agent" or SSH_AUTH_SOCK.',
    });
  }
  if (/parse privateKey|valid\) private key/.test(text)) {
    return new ArchiveError('STORAGE_MISCONFIGURED', `the private key cannot be used: ${text.replace(/^.*?: /, '')}`, {
      cause: error,
      hint: 'Give a private key in the form of OpenSSH or PEM, and its "passphrase" if it has one.',
    });
  }
  if (level === 'handshake') {
    return new ArchiveError('STORAGE_MISCONFIGURED', `no agreement with ${server} on how to talk: ${text}`, {
      cause: error,
      hint: 'The server offers only algorithms that are not supported: update it.',
    });
  }
  // The library puts this before what went wrong once the login had succeeded.
  if (text.startsWith('sftp: ') && !text.includes('No response')) {
    return new ArchiveError('STORAGE_MISCONFIGURED', `${server} does not serve SFTP to ${user}: ${text.slice(6)}`, {
      cause: error,
      hint: 'Check "Subsystem sftp" and ForceCommand in its sshd_config, and that its login scripts print nothing.',
    });
  }
  return new ArchiveError(
    'STORAGE_UNAVAILABLE',
    `${server} cannot be reached: ${/^E(?!RR_)/.test(errno) ? errno : text}`,
    {
      cause: error,
      hint: 'Check "host" and "port", the network, and that its sshd runs.',
    },
  );
}
