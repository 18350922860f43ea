import { Secret, type Storage } from '@pgark/sdk';
import { AzureStorage, type AzureStorageOptions } from '@pgark/storage-azure';
import { ACCOUNT, ACCOUNT_KEY, type AzureServer } from '../../../test/support/azure-server.ts';

interface OpenOptions extends Partial<AzureStorageOptions> {
  /** The port of a proxy before the server. */
  readonly port?: number;
}

/** The storage of a container of the server, with the key unless another credential is given. */
export function open(server: AzureServer, container: string, options: OpenOptions = {}): AzureStorage {
  const { port, ...others } = options;
  return new AzureStorage({
    account: ACCOUNT,
    container,
    endpoint: server.endpoint(port),
    ...(others.sasToken === undefined ? { accountKey: new Secret(ACCOUNT_KEY) } : {}),
    ...others,
  });
}

export async function* body(...chunks: readonly (string | Uint8Array)[]): AsyncGenerator<Uint8Array, void, undefined> {
  for (const chunk of chunks) yield typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
}

/** `length` bytes in chunks of `chunk`; tells how many were given. */
export async function* bytes(
  length: number,
  chunk: number,
  given: (bytes: number) => void = () => undefined,
): AsyncGenerator<Uint8Array, void, undefined> {
  for (let start = 0; start < length; start += chunk) {
    const part = Buffer.alloc(Math.min(chunk, length - start), start % 251);
    given(part.byteLength);
    yield part;
  }
}

export async function put(storage: Storage, key: string, content = `content of ${key}`): Promise<void> {
  await storage.put(key, body(content), { ifAbsent: true });
}

export async function read(storage: Storage, key: string): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of storage.get(key)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

export async function keysOf(storage: Storage, prefix = '', startAfter?: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of storage.list(prefix, startAfter === undefined ? {} : { startAfter })) keys.push(key);
  return keys;
}

export async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const collected: Item[] = [];
  for await (const item of items) collected.push(item);
  return collected;
}
