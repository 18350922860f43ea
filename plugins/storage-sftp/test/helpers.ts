import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger, Storage } from '@pgark/sdk';
import { SftpStorage, type SftpStorageOptions } from '@pgark/storage-sftp';
import { afterAll, beforeAll, beforeEach, onTestFinished } from 'vitest';
import { Proxy } from '../../../test/support/proxy.ts';
import { silentLogger } from '../../../test/support/silent-logger.ts';
import { SftpServer } from '../../../test/support/sftp-server.ts';

export const MIB: number = 1024 * 1024;

/** A storage on a folder of the server's archives, closed at the end of the test. */
export function open(
  server: SftpServer,
  path: string,
  options: Partial<SftpStorageOptions> = {},
  logger: Logger = silentLogger,
): SftpStorage {
  return closing({ ...server.login, path: join(server.archives, path), ...options }, logger);
}

/** A storage with these options, closed at the end of the test. */
export function closing(options: SftpStorageOptions, logger: Logger = silentLogger): SftpStorage {
  const storage = new SftpStorage(options, { directory: '/', logger });
  onTestFinished(() => storage.close());
  return storage;
}

/** A server for the tests of a `describe`, and for each of them a proxy to it and the name of an archive. */
export interface Scene {
  readonly server: SftpServer;
  readonly proxy: Proxy;
  readonly archive: string;
}

export function behindProxy(): Scene {
  let server: SftpServer;
  let proxy: Proxy;
  let archive: string;
  beforeAll(async () => {
    server = await SftpServer.start();
  });
  afterAll(() => server.stop());
  beforeEach(async () => {
    proxy = await Proxy.listen({ port: server.port });
    archive = `archive-${Math.random().toString(36).slice(2)}`;
    onTestFinished(async () => {
      server.thaw();
      await proxy.close();
    });
  });
  return {
    get server() {
      return server;
    },
    get proxy() {
      return proxy;
    },
    get archive() {
      return archive;
    },
  };
}

/** Stores one object, outside of any test. */
export async function seed(server: SftpServer, path: string, key: string): Promise<void> {
  const options = { ...server.login, path: join(server.archives, path) };
  const storage = new SftpStorage(options, { directory: '/', logger: silentLogger });
  await put(storage, key);
  await storage.close();
}

/** The same options without some. */
export function without<Options extends object, Name extends keyof Options>(
  options: Options,
  ...names: readonly Name[]
): Omit<Options, Name> {
  return Object.fromEntries(Object.entries(options).filter(([name]) => !names.includes(name as Name))) as Omit<
    Options,
    Name
  >;
}

export async function* body(...chunks: (string | Uint8Array)[]): AsyncGenerator<Uint8Array, void, undefined> {
  for (const chunk of chunks) yield typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
}

export async function put(storage: Storage, key: string, content: string | Uint8Array = `of ${key}`): Promise<void> {
  await storage.put(key, body(content), { ifAbsent: true });
}

export async function read(storage: Storage, key: string): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of storage.get(key)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

export async function keysOf(storage: Storage, prefix = ''): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of storage.list(prefix)) keys.push(key);
  return keys;
}

/** Names of the temporary files of an archive. */
export function temporaryFiles(server: SftpServer, path: string): string[] {
  return readdirSync(join(server.archives, path, '.pgark-tmp'));
}

/** A logger that keeps the warnings. */
export function listening(): { readonly logger: Logger; readonly warnings: string[] } {
  const warnings: string[] = [];
  return { warnings, logger: { ...silentLogger, warn: (_, message) => void warnings.push(message) } };
}

/** What every call says, as codes. */
export async function codesOf(storage: Storage, key: string): Promise<Record<string, string>> {
  const code = (call: Promise<unknown>): Promise<string> =>
    call.then(
      () => 'done',
      (error: { code: string }) => error.code,
    );
  return {
    get: await code(read(storage, key)),
    stat: await code(storage.stat(key)),
    list: await code(keysOf(storage)),
    put: await code(put(storage, `${key}-new`)),
    remove: await code(storage.remove([key])),
  };
}
