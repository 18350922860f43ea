/** A daemon with an archive in memory and no server to receive from, and its HTTP side: for clients that do exactly as told. */
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest, type RequestOptions as HttpsOptions } from 'node:https';
import { join } from 'node:path';
import { MemoryStorage } from '@pgark/storage-memory';
import { later } from '../../../../test/support/later.ts';
import { loadSections, type ConfigValue } from '../../../src/config/load.ts';
import { ArchiveError } from '../../../src/contracts/errors.ts';
import { API_VERSION, type Logger, type Plugin } from '../../../src/contracts/plugin.ts';
import type { RunningDaemon } from '../../../src/daemon/open.ts';
import { openDaemon } from '../../../src/daemon/open.ts';
import type { HttpServer } from '../../../src/daemon/http/server.ts';
import { serveHttp } from '../../../src/daemon/http/serve-http.ts';
import type { MetricsSource, MountedPage } from '../../../src/daemon/http/app.ts';
import type { Daemon } from '../../../src/daemon/daemon.ts';
import { folder } from '../../config/support.ts';
import { backup, push } from '../../map/archive.ts';
import { repositoryOn } from '../../retention/small-archive.ts';
import { TestScheduler } from './test-scheduler.ts';

export const VIEWER = 'viewer-token-0123456789';
export const OPERATOR = 'operator-token-0123456789';

export interface Scene {
  readonly daemon: RunningDaemon;
  readonly server: HttpServer;
  readonly scheduler: TestScheduler;
  readonly storage: MemoryStorage;
  readonly logs: readonly string[];
  readonly folder: string;
  /** The section `daemon` of the next reload. */
  readonly section: { value: Readonly<Record<string, unknown>> };
}

export interface SceneOptions {
  readonly page?: MountedPage | ((daemon: Daemon) => MountedPage);
  readonly metrics?: MetricsSource | ((daemon: Daemon) => MetricsSource);
  /** Of the section `daemon`. */
  readonly section?: Readonly<Record<string, unknown>>;
  readonly cluster?: Readonly<Record<string, unknown>>;
  /** Further clusters, by their names. */
  readonly others?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly env?: NodeJS.ProcessEnv;
  /** Default: two backups and the WAL behind them. */
  readonly storage?: MemoryStorage;
}

/** Opens it all, looks once, and closes it at the end of the test. */
export async function scene(options: SceneOptions = {}): Promise<Scene> {
  const place = folder();
  const { section = {}, cluster = {}, others = {}, env = {}, page, metrics } = options;
  const storage = options.storage ?? (await filled(new MemoryStorage()));
  const tokens = [
    { name: 'ada', role: 'operator', token: OPERATOR },
    { name: 'grafana', role: 'viewer', token: VIEWER },
  ];
  const own = {
    value: { listen: '127.0.0.1:0', tokens, refresh: '1h', ...section } as Readonly<Record<string, unknown>>,
  };
  const value = (): ConfigValue => ({
    clusters: {
      main: {
        // Nobody listens there.
        postgres: { url: 'postgres://127.0.0.1:1/postgres' },
        repositories: [{ name: 'near', storage: { use: 'held' } }],
        receive: { spool: join(place, 'spool') },
        status: { cacheAge: 'off' },
        schedule: [{ do: 'backup', at: '0 3 * * *' }],
        ...cluster,
      },
      ...others,
    },
    daemon: own.value,
  });
  const logs: string[] = [];
  const logger = loggerInto(logs);
  const scheduler = new TestScheduler();
  let server: HttpServer | undefined;
  const daemon = later(
    await openDaemon({
      load: () => loadSections({ value: value(), env, directory: place }),
      plugins: [pluginOf(storage)],
      command: ['pgark'],
      logger,
      openScheduler: () => Promise.resolve(scheduler),
      http: async (opened) =>
        (server = await serveHttp({
          daemon: opened,
          secrets: { env, directory: place },
          logger,
          ...(page !== undefined && { page: typeof page === 'function' ? page(opened) : page }),
          ...(metrics !== undefined && { metrics: typeof metrics === 'function' ? metrics(opened) : metrics }),
        })),
    }),
    (opened) => opened.close(0),
  );
  await daemon.clusters.get('main')?.look();
  if (server === undefined) throw new Error(`the daemon does not listen:\n${logs.join('\n')}`);
  return { daemon, server, scheduler, storage, logs, folder: place, section: own };
}

/** Two backups, the WAL behind them, and a hole before the last segments. */
export async function filled<Held extends MemoryStorage>(storage: Held): Promise<Held> {
  const repository = repositoryOn(storage, 'near');
  await repository.open({ create: true });
  await push(repository, [1, 2, 3, 4, 5, 6, 7, 10, 11]);
  await backup(repository, 2);
  await backup(repository, 5);
  return storage;
}

function pluginOf(storage: MemoryStorage): Plugin<'storage'> {
  const options = { '~standard': { version: 1 as const, vendor: 'test', validate: (value: unknown) => ({ value }) } };
  return { name: 'held', kind: 'storage', apiVersion: API_VERSION, options, create: async () => storage };
}

/** A storage that answers nobody while it is down. */
export class OutageStorage extends MemoryStorage {
  down = false;

  #check(): void {
    if (this.down) throw new ArchiveError('STORAGE_UNAVAILABLE', 'the storage is down', { retriable: false });
  }

  override async *list(...call: Parameters<MemoryStorage['list']>): ReturnType<MemoryStorage['list']> {
    this.#check();
    yield* super.list(...call);
  }

  override get(...call: Parameters<MemoryStorage['get']>): ReturnType<MemoryStorage['get']> {
    this.#check();
    return super.get(...call);
  }
}

function loggerInto(logs: string[]): Logger {
  const log =
    (level: string) =>
    (fields: Readonly<Record<string, unknown>>, message: string): void => {
      logs.push(`${level}: ${message} ${JSON.stringify(fields)}`);
    };
  return { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') };
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
  /** Of a JSON body. */
  readonly json: unknown;
}

export interface AskOptions extends Omit<HttpsOptions, 'headers'> {
  /** Default: that of the operator; empty: none. */
  readonly token?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as JSON, or as it is when it is a text. */
  readonly body?: unknown;
}

/** One request on a connection of its own. */
export async function ask({ url }: Pick<HttpServer, 'url'>, path: string, options: AskOptions = {}): Promise<Answer> {
  const { token = OPERATOR, headers, body, ...more } = options;
  const { hostname, port, protocol } = new URL(url);
  const settings: HttpsOptions = {
    host: hostname,
    port,
    path,
    agent: false,
    // Some ask by another name than that of the certificate; who signed it is checked all the same.
    checkServerIdentity: () => undefined,
    headers: {
      ...(token !== '' && { Authorization: `Bearer ${token}` }),
      ...(body !== undefined && { 'Content-Type': 'application/json' }),
      ...headers,
    },
    ...more,
  };
  const request = protocol === 'https:' ? httpsRequest(settings) : httpRequest(settings);
  request.end(body === undefined || typeof body === 'string' ? body : JSON.stringify(body));
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += chunk as string;
  const isJson = (response.headers['content-type'] ?? '').startsWith('application/json') && text !== '';
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    text,
    json: isJson ? (JSON.parse(text) as unknown) : undefined,
  };
}

/** The code of a refused request. */
export function codeOf({ json }: Answer): string | undefined {
  return (json as { error?: { code?: string } } | undefined)?.error?.code;
}
