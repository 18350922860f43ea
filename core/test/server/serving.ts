/** A WAL server in this process, and clients that do exactly as told. */
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest, type RequestOptions } from 'node:https';
import { connect, type Socket } from 'node:net';
import { later } from '../../../test/support/later.ts';
import type { ServeConfig } from '../../src/config/config.ts';
import { Secret } from '../../src/contracts/secret.ts';
import { serveWal, type WalServer, type WalServerOptions } from '../../src/server/wal-server.ts';
import { pluginContext } from '../repository/repository.ts';
import { SYSTEM_ID } from '../wal-command/segments.ts';

export const TOKEN = 'f00dfeedf00dfeedf00dfeed';

export const SERVE_DEFAULTS: ServeConfig = {
  listen: '127.0.0.1:0',
  maxRequests: 100,
  maxFetches: 4,
  stallTimeout: 60_000,
};

/** Starts a server that ends with the test. */
export async function serving(
  options: Pick<WalServerOptions, 'repositories'> & Partial<WalServerOptions>,
): Promise<WalServer> {
  return later(
    await serveWal({ config: SERVE_DEFAULTS, token: new Secret(TOKEN), logger: pluginContext.logger, ...options }),
    (server) => server.close(0),
  );
}

/** The target of a file of the cluster `main`. */
export const target = (name: string): string => `/v1/main/${SYSTEM_ID}/wal/${name}`;

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
  /** Whether all of the announced length came. */
  readonly complete: boolean;
}

/** One request on a connection of its own, with the token unless another header is given. */
export async function ask(
  server: Pick<WalServer, 'url'>,
  path: string,
  options: Omit<RequestOptions, 'headers'> & {
    readonly token?: string;
    readonly headers?: Readonly<Record<string, string>>;
  } = {},
): Promise<Answer> {
  const { token = TOKEN, headers, ...more } = options;
  const url = new URL(server.url);
  const settings: RequestOptions = {
    host: url.hostname,
    port: url.port,
    path,
    agent: false,
    headers: { ...(token === '' ? {} : { Authorization: `Bearer ${token}` }), ...headers },
    ...more,
  };
  const request = url.protocol === 'https:' ? httpsRequest(settings) : httpRequest(settings);
  request.end();
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  const chunks: Buffer[] = [];
  let complete = true;
  try {
    for await (const chunk of response) chunks.push(chunk as Buffer);
  } catch {
    complete = false; // that is what is reported
  }
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    body: Buffer.concat(chunks),
    complete: complete && response.complete,
  };
}

/** A connection of a client of the worst kind. */
export async function rawConnection(server: Pick<WalServer, 'url'>): Promise<Socket> {
  const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
  socket.on('error', () => undefined); // a connection that the server cuts is an answer too
  await once(socket, 'connect');
  return later(socket, (each) => each.destroy());
}

/** Sends bytes, and gives everything that comes back until the server ends the connection, or says nothing for a while. */
export async function say(server: Pick<WalServer, 'url'>, bytes: string | Buffer, patience = 3000): Promise<string> {
  const socket = await rawConnection(server);
  let said = '';
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(said);
    };
    let timer = setTimeout(end, patience);
    socket.on('data', (data: Buffer) => {
      said += data.toString('latin1');
      clearTimeout(timer);
      timer = setTimeout(end, patience);
    });
    socket.on('close', end);
    socket.write(bytes);
  });
}
