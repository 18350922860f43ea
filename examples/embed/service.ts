/**
 * A small web service around pgark: it receives the WAL of several clusters, and offers "back up now" and "restore to". Every cluster is an
 * archive of its own, and all of them are in this one process.
 *
 *     GET    /clusters/NAME/status      the evidence, and what it comes to
 *     GET    /clusters/NAME/backups     what can be restored
 *     POST   /clusters/NAME/backups     back up now: { "label": "before the upgrade", "maxRate": "50MB" }
 *     POST   /clusters/NAME/restores    restore to: { "folder": "tuesday", "time": "2026-11-24 06:00:00+01" }; with "plan": true only say how
 *     GET    /jobs/ID                   how far a backup or restore is, and what came of it
 *     DELETE /jobs/ID                   cancel it
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { ArchiveError, isArchiveError, openArchive, parseSize, type Archive, type Logger } from 'pgark';
import { errorOf, Jobs } from './jobs.ts';

export interface ServiceOptions {
  /** Config files, one for each cluster. */
  readonly configs: readonly string[];
  /** Restored clusters are folders in this one. */
  readonly restores: string;
  /** Default: any that is free. Only this host can reach the service: whoever does may restore. */
  readonly port?: number;
  readonly env: NodeJS.ProcessEnv;
  readonly logger: Logger;
  /** How a restored server runs pgark; default: the command that is installed. */
  readonly command?: readonly string[];
}

export interface Service {
  readonly url: string;
  close(): Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

export async function startService(options: ServiceOptions): Promise<Service> {
  const archives = new Map<string, Archive>();
  const jobs = new Jobs();
  const stopping = new AbortController();
  const receivers: Promise<void>[] = [];
  for (const config of options.configs) {
    const { env, logger, command } = options;
    const archive = await openArchive({ config, env, logger, ...(command === undefined ? {} : { command }) });
    archives.set(archive.config.cluster, archive);
    receivers.push(receive(archive, options.logger, stopping.signal));
  }

  const context: Context = { archives, jobs, options };
  const server = createServer((request, response) => void respond(request, response, context));
  server.listen(options.port ?? 0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: async () => {
      server.close();
      server.closeAllConnections();
      await jobs.stop();
      stopping.abort();
      await Promise.all(receivers);
      await Promise.all([...archives.values()].map((archive) => archive.close()));
    },
  };
}

/** An outage is waited for by pgark; what only people can mend is for the log, and takes nothing else down. */
async function receive(archive: Archive, logger: Logger, signal: AbortSignal): Promise<void> {
  try {
    await archive.receive({ signal });
  } catch (error) {
    logger.error({ cluster: archive.config.cluster, error }, 'receiving has ended');
  }
}

interface Context {
  readonly archives: ReadonlyMap<string, Archive>;
  readonly jobs: Jobs;
  readonly options: ServiceOptions;
}

async function respond(request: IncomingMessage, response: ServerResponse, context: Context): Promise<void> {
  const { status, body } = await answer(request, context).catch(failureOf);
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(`${JSON.stringify(body, bigintAsText)}\n`);
}

async function answer(request: IncomingMessage, context: Context): Promise<Answer> {
  const { archives, jobs } = context;
  const [, place, name = '', what] = (request.url ?? '').split('/');
  if (place === 'jobs') {
    if (request.method === 'DELETE') return jobs.cancel(name) ? { status: 202, body: {} } : NOTHING;
    const job = jobs.get(name);
    return job === undefined ? NOTHING : { status: 200, body: job };
  }
  const archive = archives.get(name);
  if (place !== 'clusters' || archive === undefined) return NOTHING;
  switch (`${request.method} ${what}`) {
    case 'GET status': {
      const { status, judgement } = await archive.status();
      const { level, reasons } = judgement;
      return {
        status: 200,
        body: { level, reasons, lag: status.lag, lastBackup: status.lastBackup?.backup.backup.id },
      };
    }
    case 'GET backups': {
      const { backups } = await archive.backups();
      return { status: 200, body: backups.map(({ id, state, repository }) => ({ id, state, repository })) };
    }
    case 'POST backups':
      return backUp(archive, await bodyOf(request), jobs);
    case 'POST restores':
      return restoreTo(archive, await bodyOf(request), context);
    default:
      return NOTHING;
  }
}

const NOTHING: Answer = { status: 404, body: { error: 'there is no such thing' } };

type Body = Readonly<Record<string, unknown>>;

function backUp(archive: Archive, { label, maxRate, create }: Body, jobs: Jobs): Answer {
  const options = {
    create: create === true,
    ...(typeof label === 'string' ? { label } : {}),
    ...(typeof maxRate === 'string' ? { maxRate: parseSize(maxRate) } : {}),
  };
  const job = jobs.start('backup', async (signal, report) => {
    const { record, repositories, failure } = await archive.backup({ ...options, signal, onProgress: report });
    // There is a backup, and something about it that somebody must know.
    if (failure !== undefined) throw failure;
    return { id: record.id, bytes: record.dataSize, repositories: repositories.map(({ name }) => name) };
  });
  return { status: 202, body: job };
}

async function restoreTo(archive: Archive, body: Body, { jobs, options }: Context): Promise<Answer> {
  const { folder, time, plan } = body;
  if (typeof folder !== 'string' || !/^[a-z0-9][a-z0-9-]{0,60}$/.test(folder))
    throw new ArchiveError('USAGE', 'a restore needs a "folder": small letters, digits and -');
  const call = {
    directory: join(options.restores, folder),
    ...(typeof time === 'string' ? { target: { time } } : {}),
  };
  if (plan === true) {
    const planned = await archive.planRestore(call);
    const { backup, warnings, problems } = planned.plan;
    return { status: 200, body: { reachable: planned.failure === undefined, backup: backup.id, warnings, problems } };
  }
  const job = jobs.start('restore', async (signal, report) => {
    const { directory, backup, bytes, notes } = await archive.restore({ ...call, signal, onProgress: report });
    return { directory, backup, bytes, notes };
  });
  return { status: 202, body: job };
}

async function bodyOf(request: IncomingMessage): Promise<Body> {
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) {
    text += String(chunk);
    if (text.length > 10_000) throw new ArchiveError('USAGE', 'the request is too long');
  }
  let body: unknown = {};
  try {
    if (text !== '') body = JSON.parse(text);
  } catch {
    throw new ArchiveError('USAGE', 'the request is not JSON');
  }
  if (typeof body !== 'object' || body === null) throw new ArchiveError('USAGE', 'the request is no JSON object');
  return body as Body;
}

/** What the caller did wrong is his to mend (4xx); the rest is ours. */
function failureOf(error: unknown): Answer {
  const status = isArchiveError(error, 'USAGE') ? 400 : isArchiveError(error, 'RESTORE_UNREACHABLE') ? 409 : 500;
  return { status, body: { error: errorOf(error) } };
}

function bigintAsText(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value;
}
