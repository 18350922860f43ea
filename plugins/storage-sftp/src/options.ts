import type { Secret } from '@pgark/sdk';

export interface SftpStorageOptions {
  /** Name or address of the server. */
  readonly host: string;
  /** Default 22. */
  readonly port?: number;
  readonly user: string;
  /**
   * Folder of the archive on the server, absolute or relative to the folder in which the login begins. The first `put` creates it
   * if its parent is there; nothing else does, so that a disk that is not mounted is never taken for an empty archive.
   */
  readonly path: string;
  /** File of the private key, relative to the config file's folder; `~/` is the home folder. */
  readonly privateKeyFile?: string;
  /** The private key itself, in OpenSSH's or PEM form. */
  readonly privateKey?: Secret;
  readonly passphrase?: Secret;
  /** Socket of an SSH agent; default `SSH_AUTH_SOCK` where neither key nor password is given. */
  readonly agent?: string;
  readonly password?: Secret;
  /** File with the keys of hosts; default `~/.ssh/known_hosts` and `/etc/ssh/ssh_known_hosts`. */
  readonly knownHosts?: string;
  /** Fingerprint of the server's key, `SHA256:...`; then no file is asked. */
  readonly hostKey?: string;
  /**
   * How an object gets its name: `hardlink` (default) is atomic and never overwrites; `none` is for servers without
   * hardlink@openssh.com, and cannot tell racing writers apart for sure.
   */
  readonly createOnly?: 'hardlink' | 'none';
  /** Sync objects before they get their name, where the server offers fsync@openssh.com; default true. */
  readonly fsync?: boolean;
  /** Most connections at a time; default 4. */
  readonly connections?: number;
  /** Milliseconds until a connection must stand, login included; default 20,000. */
  readonly connectTimeout?: number;
  /** Milliseconds without an answer to any request after which a connection is given up; default 60,000. */
  readonly timeout?: number;
  /** Milliseconds between signs of life on an idle connection; default 15,000; 0 for none. */
  readonly keepaliveInterval?: number;
  /** Signs of life without an answer after which a connection is given up; default 3. */
  readonly keepaliveCount?: number;
  /** Mode of objects as octal text, narrowed by the server's umask; default `0440`: nobody writes to an object again. */
  readonly fileMode?: string;
  /** Mode of folders as octal text, narrowed by the server's umask; default `0750`. */
  readonly directoryMode?: string;
}
