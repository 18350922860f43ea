import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import type { DefaultAzureCredential } from '@azure/identity';
import type { ContainerClient, StoragePipelineOptions } from '@azure/storage-blob';
import { ArchiveError } from '@pgark/sdk';
import type { AzureStorageOptions } from './options.ts';

/** A container and the connections to it. */
export interface Connection {
  readonly container: ContainerClient;
  /** Closes the connections. */
  close(): void;
}

/** Loads the client library and makes a client of the container; nothing is sent yet. */
export async function connect(options: AzureStorageOptions): Promise<Connection> {
  const { AnonymousCredential, ContainerClient, newPipeline, StorageSharedKeyCredential } =
    await import('@azure/storage-blob');
  const url = containerUrl(options);
  const agents = ownAgents(url);
  const settings: StoragePipelineOptions & { readonly agent?: HttpAgent } = {
    // The stack around the storage retries.
    retryOptions: { maxTries: 1 },
    ...(agents === undefined ? {} : { agent: agents }),
  };
  const { account, accountKey, connectionString, sasToken } = options;
  const open = async (): Promise<ContainerClient> => {
    if (url === undefined) return new ContainerClient(connectionString?.reveal() ?? '', options.container, settings);
    if (accountKey !== undefined) {
      const credential = new StorageSharedKeyCredential(account ?? '', accountKey.reveal());
      return new ContainerClient(url, newPipeline(credential, settings));
    }
    if (sasToken !== undefined) {
      const signed = `${url}?${sasToken.reveal().replace(/^\?/, '')}`;
      return new ContainerClient(signed, newPipeline(new AnonymousCredential(), settings));
    }
    return new ContainerClient(url, newPipeline(await identity(options.clientId), settings));
  };
  return { container: await opened(open), close: () => agents?.destroy() };
}

/** The library's own message on a bad connection string or key may quote it. */
async function opened(open: () => Promise<ContainerClient>): Promise<ContainerClient> {
  try {
    return await open();
  } catch {
    throw new ArchiveError('STORAGE_MISCONFIGURED', 'the credentials of the storage account cannot be read', {
      hint: 'Copy connectionString, accountKey or sasToken from the account again.',
    });
  }
}

/** A managed identity, a workload identity, the environment or a login: what there is first. */
async function identity(clientId: string | undefined): Promise<DefaultAzureCredential> {
  const library = await import('@azure/identity');
  return clientId === undefined
    ? new library.DefaultAzureCredential()
    : new library.DefaultAzureCredential({ managedIdentityClientId: clientId, workloadIdentityClientId: clientId });
}

/** Undefined when the connection string says it. */
function containerUrl({ account, connectionString, container, endpoint }: AzureStorageOptions): string | undefined {
  if (connectionString !== undefined) return undefined;
  const service = endpoint ?? `https://${account ?? ''}.blob.core.windows.net`;
  return `${service.replace(/\/+$/, '')}/${container}`;
}

/**
 * Connections that `close` can close. The library shares its own ones in the whole process; but they alone go through a
 * proxy that the environment names, and a connection string may name the one or the other protocol, or a proxy.
 */
function ownAgents(url: string | undefined): HttpAgent | undefined {
  const proxied = ['HTTPS_PROXY', 'HTTP_PROXY', 'ALL_PROXY'].some(
    (name) => (process.env[name] ?? process.env[name.toLowerCase()] ?? '') !== '',
  );
  if (proxied || url === undefined) return undefined;
  return url.startsWith('https:') ? new HttpsAgent({ keepAlive: true }) : new HttpAgent({ keepAlive: true });
}
