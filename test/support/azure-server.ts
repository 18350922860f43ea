/** Azurite, the emulator of Azure's blob service by its maker, as a process of its own. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  ContainerClient,
  ContainerSASPermissions,
  generateBlobSASQueryParameters,
  StorageSharedKeyCredential,
} from '@azure/storage-blob';
import { Secret } from '@pgark/sdk';
import { unavailable } from './require.ts';

const MAIN = fileURLToPath(new URL('../../node_modules/azurite/dist/src/blob/main.js', import.meta.url));

/** Why there is no server here; undefined when there is one. */
export const azureMissing: string | undefined = existsSync(MAIN) ? undefined : unavailable('azurite', 'npm ci');

/** The account that every Azurite has, with its published key. */
export const ACCOUNT = 'devstoreaccount1';
export const ACCOUNT_KEY = 'Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==';

/** A SAS of a container with these permissions, by the letters of the service (`rcl`: read, create, list). */
export function sasOf(containerName: string, permissions: string): Secret {
  const credential = new StorageSharedKeyCredential(ACCOUNT, ACCOUNT_KEY);
  const settings = {
    containerName,
    permissions: ContainerSASPermissions.parse(permissions),
    expiresOn: new Date(Date.now() + 3600_000),
  };
  return new Secret(generateBlobSASQueryParameters(settings, credential).toString());
}

export class AzureServer {
  readonly #child: ChildProcess;
  readonly port: number;
  readonly #protocol: string;

  private constructor(child: ChildProcess, port: number, protocol: string) {
    this.#child = child;
    this.port = port;
    this.#protocol = protocol;
  }

  /** Starts one on a free port of loopback, its objects in memory unless they are to be `onDisk`. `args` go to it as they are. */
  static async start(
    args: readonly string[] = [],
    { protocol = 'http', onDisk = false }: { readonly protocol?: string; readonly onDisk?: boolean } = {},
  ): Promise<AzureServer> {
    const folder = mkdtempSync(join(tmpdir(), 'pgark-azurite-'));
    const place = onDisk ? ['--location', folder] : ['--inMemoryPersistence'];
    const settings = ['--blobHost', '127.0.0.1', '--blobPort', '0', ...place];
    const child = spawn(process.execPath, [MAIN, ...settings, '--disableTelemetry', '--skipApiVersionCheck', ...args], {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    const port = await new Promise<number>((resolve, reject) => {
      const read = (bytes: Buffer): void => {
        output += bytes.toString();
        const listening = /listens on https?:\/\/127\.0\.0\.1:(\d+)/.exec(output)?.[1];
        if (listening !== undefined) resolve(Number(listening));
      };
      child.stdout.on('data', read);
      child.stderr.on('data', read);
      child.on('exit', (code) => {
        rmSync(folder, { recursive: true, force: true });
        reject(new Error(`azurite exited with ${code}: ${output}`));
      });
    });
    return new AzureServer(child, port, protocol);
  }

  /** The URL of the account, also through another port. */
  endpoint(port: number = this.port): string {
    return `${this.#protocol}://127.0.0.1:${port}/${ACCOUNT}`;
  }

  /** A client that sees everything, for what the plugin does not do. */
  container(name: string): ContainerClient {
    return new ContainerClient(`${this.endpoint()}/${name}`, new StorageSharedKeyCredential(ACCOUNT, ACCOUNT_KEY));
  }

  async createContainer(name: string): Promise<string> {
    await this.container(name).create();
    return name;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const exited = once(this.#child, 'exit');
      this.#child.kill();
      await exited;
    }
  }
}
