/**
 * Real servers that speak S3, on a free port of loopback: `fauxqs` from npm, which is always there, and `versitygw`, which is strict:
 * signatures, conditional writes, versions, Object Lock.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { S3 } from '@aws-sdk/client-s3';
import { startFauxqs } from 'fauxqs';
import { freePort } from './free-port.ts';
import { goServer } from './go-server.ts';
import { unavailable } from './require.ts';

/** A server that runs, with one bucket for each name that was asked for. */
export interface S3Server {
  readonly name: string;
  readonly port: number;
  readonly endpoint: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** A client that sees what the storage does not show. */
  readonly admin: S3;
  stop(): Promise<void>;
}

const KEYS = { accessKeyId: 'pgark', secretAccessKey: 'pgark-test-secret' };

function adminOf(endpoint: string): S3 {
  return new S3({ endpoint, region: 'us-east-1', forcePathStyle: true, credentials: KEYS, maxAttempts: 1 });
}

/** S3 without signatures, conditions, versions and locks, in this process. */
export async function startFauxS3(buckets: readonly string[]): Promise<S3Server> {
  const server = await startFauxqs({ port: 0, logger: false });
  for (const bucket of buckets) server.createBucket(bucket);
  const endpoint = `http://127.0.0.1:${server.port}`;
  const admin = adminOf(endpoint);
  return {
    name: 'fauxqs',
    port: server.port,
    endpoint,
    ...KEYS,
    admin,
    stop: async () => {
      admin.destroy();
      await server.stop();
    },
  };
}

const VERSITYGW = goServer('github.com/versity/versitygw/cmd/versitygw@v1.8.0', 'versitygw');

/** Why tests with versitygw do not run; undefined when they do. */
export const versityMissing: string | undefined =
  VERSITYGW === undefined ? unavailable('versitygw', 'install Go, which builds it') : undefined;

export interface VersityOptions {
  readonly buckets: readonly string[];
  /** Buckets with versions and Object Lock. */
  readonly lockedBuckets?: readonly string[];
  /** Buckets that are links to folders elsewhere, on a disk of their own. */
  readonly linkedBuckets?: Readonly<Record<string, string>>;
  /**
   * Keep what it knows of objects in files of their own. By default it is in extended attributes, of which ext4 takes 4 KiB for one file:
   * too little for the list of the parts of an object of some GiB, which it then refuses with an InternalError.
   */
  readonly sidecar?: boolean;
  /** Certificate and key files: then it speaks TLS. */
  readonly tls?: { readonly certificate: string; readonly key: string };
}

export interface VersityServer extends S3Server {
  /** Adds a user who may do nothing until a policy of a bucket says so. */
  addUser(user: string, secret: string): void;
}

/** The gateway on a temporary folder, as a process of its own. */
export async function startVersity(options: VersityOptions): Promise<VersityServer> {
  if (VERSITYGW === undefined) throw new Error(versityMissing);
  const folder = mkdtempSync(join(tmpdir(), 'pgark-versitygw-'));
  for (const name of ['objects', 'versions', 'users', 'sidecar']) mkdirSync(join(folder, name));
  for (const [bucket, path] of Object.entries(options.linkedBuckets ?? {})) {
    symlinkSync(path, join(folder, 'objects', bucket));
  }
  const port = await freePort();
  const { tls } = options;
  const child = spawn(
    VERSITYGW,
    [
      '--port',
      `127.0.0.1:${port}`,
      '--quiet',
      '--keep-alive',
      ...(tls === undefined ? [] : ['--cert', tls.certificate, '--key', tls.key]),
      '--iam-dir',
      join(folder, 'users'),
      'posix',
      '--bucketlinks',
      ...(options.sidecar === true ? ['--sidecar', join(folder, 'sidecar')] : []),
      '--versioning-dir',
      join(folder, 'versions'),
      join(folder, 'objects'),
    ],
    {
      cwd: folder,
      env: { ...process.env, ROOT_ACCESS_KEY_ID: KEYS.accessKeyId, ROOT_SECRET_ACCESS_KEY: KEYS.secretAccessKey },
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  );
  let output = '';
  child.stderr.on('data', (bytes: Buffer) => (output = (output + bytes.toString()).slice(-4000)));
  const endpoint = `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`;
  const admin = adminOf(endpoint);
  const stop = async (): Promise<void> => {
    admin.destroy();
    await end(child);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    if (tls === undefined) {
      await answering(admin, child, () => output);
      for (const bucket of options.buckets) await admin.createBucket({ Bucket: bucket });
      for (const bucket of options.lockedBuckets ?? []) {
        await admin.createBucket({ Bucket: bucket, ObjectLockEnabledForBucket: true });
      }
    } else {
      // The bucket is a folder; the client that would make it knows nothing of the certificate.
      for (const bucket of options.buckets) mkdirSync(join(folder, 'objects', bucket));
    }
  } catch (error) {
    await stop();
    throw error;
  }
  const addUser = (user: string, secret: string): void => addVersityUser(VERSITYGW, endpoint, user, secret);
  return { name: 'versitygw', port, endpoint, ...KEYS, admin, addUser, stop };
}

function addVersityUser(program: string, endpoint: string, user: string, secret: string): void {
  const args = [
    'admin',
    '--endpoint-url',
    endpoint,
    'create-user',
    '--access',
    user,
    '--secret',
    secret,
    '--role',
    'user',
  ];
  execFileSync(program, args, {
    env: { ...process.env, ADMIN_ACCESS_KEY_ID: KEYS.accessKeyId, ADMIN_SECRET_ACCESS_KEY: KEYS.secretAccessKey },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
}

async function answering(admin: S3, child: ChildProcess, output: () => string): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      await admin.listBuckets({});
      return;
    } catch (error) {
      if (child.exitCode !== null || attempt === 100) {
        throw new Error(`versitygw did not start: ${output()}`, { cause: error });
      }
      await sleep(100);
    }
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const closed = once(child, 'close');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 3000);
  await closed;
  clearTimeout(timer);
}
