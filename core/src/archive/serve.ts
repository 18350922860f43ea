import { readSecret } from '../config/secrets.ts';
import type { CallOptions } from '../contracts/storage.ts';
import type { Secret } from '../contracts/secret.ts';
import { serveWal } from '../server/wal-server.ts';
import type { ChosenRepositories } from './call.ts';
import type { Workplace } from './workplace.ts';

export interface ServeCall extends CallOptions, ChosenRepositories {
  /** Address and port. Default: `serve.listen` of the config. */
  readonly listen?: string;
}

/** A server of WAL that runs until it is closed, at the latest with its archive. */
export interface ServedWal {
  /** `https://127.0.0.1:8732`, with the port that it really has. */
  readonly url: string;
  /** Reads token and certificates anew. Errors: `CONFIG_INVALID`, `SECRET_UNAVAILABLE`; all stays as it was then. */
  reload(): Promise<void>;
  /** Takes no more requests, and waits for those under way, at most so many milliseconds. Default 30 s. */
  close(grace?: number): Promise<void>;
}

/** See `Archive.serve`. */
export async function serve(at: Workplace, call: ServeCall): Promise<ServedWal> {
  const { config, logger } = at;
  // Who asks tries again, and knows for how long.
  const { repositories } = await at.open({ repositories: call.repositories ?? [], retry: { deadline: 0 } });
  const token = await readToken(at);
  const server = await serveWal({
    repositories,
    spool: config.receive.spool,
    config: { ...config.serve, ...(call.listen !== undefined && { listen: call.listen }) },
    ...(token !== undefined && { token }),
    logger,
  });
  let closing: Promise<void> | undefined;
  const close = (grace?: number): Promise<void> => (closing ??= server.close(grace));
  at.onClose(close);
  const reload = async (): Promise<void> => {
    const fresh = await readToken(at);
    await server.reload(fresh === undefined ? {} : { token: fresh });
  };
  return { url: server.url, reload, close };
}

async function readToken({ config, loaded }: Workplace): Promise<Secret | undefined> {
  const { token } = config.serve;
  if (token === undefined) return undefined;
  return readSecret(token, { env: loaded.env, directory: loaded.directory, what: 'serve.token' });
}
