/** An sshd of OpenSSH of its own on a loopback port, with the keys to log in to it. */
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { freePort } from './free-port.ts';
import { unavailable } from './require.ts';

const SSHD = '/usr/sbin/sshd';

/** Why tests with a real SFTP server cannot run here, or undefined. */
export const noSshd: string | undefined = existsSync(SSHD)
  ? undefined
  : unavailable('sshd', 'apt-get install openssh-server');

export interface SftpServerOptions {
  /** What serves SFTP; default `internal-sftp`. With `-P hardlink,fsync` it refuses these requests. */
  readonly subsystem?: string;
  /** Types of its host keys; default ed25519 alone. */
  readonly hostKeys?: readonly ('ed25519' | 'rsa' | 'ecdsa')[];
  /** More lines of sshd_config. */
  readonly config?: readonly string[];
  /** Accounts that only this server knows, with `/srv` as an empty folder of its own; see {@link noAccounts}. */
  readonly accounts?: Accounts;
}

/** Accounts of group `pgark`, made for one server. */
export interface Accounts {
  /** Names, and the password or undefined for none. */
  readonly users: Readonly<Record<string, string | undefined>>;
  /** Run by root in `/srv` before sshd starts. */
  readonly setUp?: string;
  /** Added to sshd_config. */
  readonly config?: string;
}

/** Why a server cannot have accounts of its own here, or undefined. They live in a mount namespace. */
export function noAccounts(): string | undefined {
  if (process.getuid?.() !== 0) return 'only root can give sshd accounts of its own';
  const { status } = spawnSync('unshare', ['-m', '--propagation', 'private', 'mount', '-t', 'tmpfs', 'tmpfs', '/srv']);
  return status === 0 ? undefined : 'this system does not allow a mount namespace';
}

export class SftpServer {
  readonly host = '127.0.0.1';
  readonly port: number;
  /** Whom to log in as: `nobody` where root runs the tests, so that file modes count. */
  readonly user: string;
  /** Holds everything of the server; removed when it stops. */
  readonly folder: string;
  /** A folder that belongs to the user. */
  readonly archives: string;
  readonly privateKeyFile: string;
  readonly knownHosts: string;
  /** What it has said so far; more with `LogLevel DEBUG`. */
  readonly log: readonly string[];
  readonly #process: ChildProcess;

  private constructor(folder: string, port: number, process: ChildProcess, log: readonly string[]) {
    this.folder = folder;
    this.port = port;
    this.user = loginUser().name;
    this.archives = join(folder, 'archives');
    this.privateKeyFile = join(folder, 'client_key');
    this.knownHosts = join(folder, 'known_hosts');
    this.#process = process;
    this.log = log;
  }

  static async start(options: SftpServerOptions = {}): Promise<SftpServer> {
    const folder = mkdtempSync(join(tmpdir(), 'pgark-sshd-'));
    chmodSync(folder, 0o755);
    const { uid, gid } = loginUser();
    mkdirSync(join(folder, 'archives'));
    chownSync(join(folder, 'archives'), uid, gid);
    makeKey(join(folder, 'client_key'));
    writeFileSync(join(folder, 'authorized_keys'), readFileSync(join(folder, 'client_key.pub')), { mode: 0o644 });
    const types = options.hostKeys ?? ['ed25519'];
    for (const type of types) makeKey(join(folder, `host_${type}`), { type });
    const port = await freePort();
    const known = types.map((type) => `[127.0.0.1]:${port} ${readFileSync(join(folder, `host_${type}.pub`), 'utf8')}`);
    writeFileSync(join(folder, 'known_hosts'), known.join(''));
    const config = [
      `Port ${port}`,
      'ListenAddress 127.0.0.1',
      ...types.map((type) => `HostKey ${folder}/host_${type}`),
      `PidFile ${folder}/sshd.pid`,
      `AuthorizedKeysFile ${folder}/authorized_keys`,
      'StrictModes no',
      // Only root can read whether an account is locked; asked as another user, sshd takes it for locked unless PAM answers.
      `UsePAM ${process.getuid?.() === 0 ? 'no' : 'yes'}`,
      'UseDNS no',
      `PasswordAuthentication ${options.accounts === undefined ? 'no' : 'yes'}`,
      'KbdInteractiveAuthentication no',
      'MaxStartups 100',
      `Subsystem sftp ${options.subsystem ?? 'internal-sftp'}`,
      ...(options.config ?? []),
      options.accounts?.config ?? '',
    ];
    writeFileSync(join(folder, 'sshd_config'), config.map((line) => `${line}\n`).join(''));
    // Where root runs it, it separates privileges and wants this empty folder.
    if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
    const sshd = [SSHD, '-D', '-e', '-f', join(folder, 'sshd_config')];
    const [command = '', ...args] =
      options.accounts === undefined ? sshd : [...withAccounts(folder, options.accounts), ...sshd];
    const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    const log: string[] = [];
    await listening(child, log);
    return new SftpServer(folder, port, child, log);
  }

  /** What to log in with, as options of the storage. */
  get login(): { host: string; port: number; user: string; privateKeyFile: string; knownHosts: string } {
    const { host, port, user, privateKeyFile, knownHosts } = this;
    return { host, port, user, privateKeyFile, knownHosts };
  }

  /** A new key that may log in; the path of the private one. */
  addKey(name: string, options: { readonly passphrase?: string } = {}): string {
    const path = join(this.folder, name);
    makeKey(path, options);
    const authorized = join(this.folder, 'authorized_keys');
    writeFileSync(authorized, readFileSync(authorized, 'utf8') + readFileSync(`${path}.pub`, 'utf8'));
    return path;
  }

  /** The fingerprint of a host key as ssh-keygen prints it. */
  fingerprint(type = 'ed25519'): string {
    const line = execFileSync('ssh-keygen', ['-lf', join(this.folder, `host_${type}.pub`)], { encoding: 'utf8' });
    return line.split(' ')[1] ?? '';
  }

  /** The processes that serve connections now. */
  get sessions(): readonly number[] {
    return descendants(this.#process.pid ?? 0);
  }

  /** Stops every process of it, as a machine that hangs does; gives how many there were. */
  freeze(): number {
    const all = [this.#process.pid ?? 0, ...this.sessions];
    for (const pid of all) signal(pid, 'SIGSTOP');
    return all.length;
  }

  /** Stops only what serves SFTP, as a disk that hangs does: sshd itself goes on. Gives how many there were. */
  freezeSftp(): number {
    const leaves = this.sessions.filter((pid) => descendants(pid).length === 0);
    for (const pid of leaves) signal(pid, 'SIGSTOP');
    return leaves.length;
  }

  thaw(): void {
    for (const pid of [this.#process.pid ?? 0, ...this.sessions]) signal(pid, 'SIGCONT');
  }

  /** Kills the processes of every connection; gives how many there were. */
  killSessions(): number {
    const pids = this.sessions;
    for (const pid of pids) signal(pid, 'SIGKILL');
    return pids.length;
  }

  async stop(): Promise<void> {
    this.killSessions();
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      const ended = once(this.#process, 'exit');
      this.#process.kill('SIGKILL');
      await ended;
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Makes a pair of keys; the private one is only for its owner. */
export function makeKey(path: string, options: { readonly type?: string; readonly passphrase?: string } = {}): void {
  const { type = 'ed25519', passphrase = '' } = options;
  execFileSync('ssh-keygen', ['-q', '-t', type, '-N', passphrase, '-C', 'pgark-test', '-f', path]);
}

/** A command that runs the one behind it where /etc/passwd, /etc/shadow, /etc/group and /srv are others. */
function withAccounts(folder: string, { users, setUp = 'true' }: Accounts): readonly string[] {
  const files: Readonly<Record<string, string[]>> = { passwd: [], shadow: [], group: ['pgark:x:20000:'] };
  for (const [index, [name, password]] of Object.entries(users).entries()) {
    const hash =
      password === undefined ? '*' : execFileSync('openssl', ['passwd', '-6', password], { encoding: 'utf8' });
    files['passwd']?.push(`${name}:x:${20_001 + index}:20000::/:/usr/sbin/nologin`);
    files['shadow']?.push(`${name}:${hash.trim()}:19000:0:99999:7:::`);
  }
  for (const [name, lines] of Object.entries(files)) {
    writeFileSync(join(folder, name), readFileSync(`/etc/${name}`, 'utf8') + lines.map((line) => `${line}\n`).join(''));
  }
  const mounts = Object.keys(files).map((name) => `mount --bind ${folder}/${name} /etc/${name}`);
  const script = ['set -e', 'mount -t tmpfs -o mode=755 tmpfs /srv', ...mounts, 'cd /srv', setUp, 'exec "$@"'].join(
    '\n',
  );
  return ['unshare', '-m', '--propagation', 'private', 'sh', '-c', script, 'sh'];
}

/** Whom the tests log in as: `nobody` where root runs them. */
export function loginUser(): { readonly name: string; readonly uid: number; readonly gid: number } {
  const { username, uid, gid } = userInfo();
  if (uid !== 0) return { name: username, uid, gid };
  const idOf = (flag: string): number => Number(execFileSync('id', [flag, 'nobody'], { encoding: 'utf8' }));
  return { name: 'nobody', uid: idOf('-u'), gid: idOf('-g') };
}

async function listening(child: ChildProcess, lines: string[]): Promise<void> {
  if (child.stderr === null) throw new Error('sshd has no output');
  const reader = createInterface({ input: child.stderr });
  await new Promise<void>((resolve, reject) => {
    const deadline = setTimeout(() => reject(new Error(`sshd does not listen:\n${lines.join('\n')}`)), 10_000);
    child.once('exit', () => reject(new Error(`sshd ended:\n${lines.join('\n')}`)));
    reader.on('line', (line) => {
      if (lines.length < 10_000) lines.push(line);
      if (!line.includes('Server listening')) return;
      clearTimeout(deadline);
      resolve();
    });
  });
}

/** Children, their children and so on, from /proc. */
function descendants(parent: number): readonly number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      // The name in parentheses may hold spaces; behind it come the state and the parent.
      const fields = readFileSync(`/proc/${name}/stat`, 'utf8').split(') ').at(-1)?.split(' ');
      parents.set(Number(name), Number(fields?.[1]));
    } catch {
      // It ended meanwhile.
    }
  }
  const found = [parent];
  for (const pid of found) for (const [child, of] of parents) if (of === pid) found.push(child);
  return found.slice(1);
}

/** To a process of a connection, which may have ended since it was seen. */
function signal(pid: number, name: 'SIGSTOP' | 'SIGCONT' | 'SIGKILL'): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
