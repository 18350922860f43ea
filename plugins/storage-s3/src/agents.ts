import { readFile } from 'node:fs/promises';
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { isIP } from 'node:net';
import { resolve } from 'node:path';
import { checkServerIdentity, getCACertificates } from 'node:tls';
import { ArchiveError, errnoOf } from '@pgark/sdk';
import type { Settings } from './options.ts';

/** What opens connections. */
export interface Agents {
  readonly httpAgent: HttpAgent;
  readonly httpsAgent: HttpsAgent;
}

/** Milliseconds after which an unused connection is closed, before the service does so just when a request is sent on it. */
const UNUSED = 4000;

/** Makes the agents: with further certificates, and through a proxy where there is one. Errors: `STORAGE_MISCONFIGURED`. */
export async function makeAgents(settings: Settings, directory: string): Promise<Agents> {
  const ca = settings.caFile === undefined ? undefined : await certificates(resolve(directory, settings.caFile));
  const trust = ca === undefined ? {} : { ca };
  const proxy = proxyFor(settings, process.env);
  if (proxy !== undefined) return proxyAgents(proxy, trust);
  const options = { keepAlive: true, timeout: UNUSED };
  return { httpAgent: new HttpAgent(options), httpsAgent: new HttpsAgent({ ...options, ...trust }) };
}

async function certificates(path: string): Promise<string[]> {
  try {
    const file = await readFile(path, 'utf8');
    if (!file.includes('-----BEGIN CERTIFICATE-----')) {
      throw new ArchiveError('STORAGE_MISCONFIGURED', `the CA file ${path} has no certificate in PEM form`);
    }
    return [...getCACertificates('default'), file];
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === undefined) throw error;
    throw new ArchiveError('STORAGE_MISCONFIGURED', `the CA file ${path} cannot be read: ${errno}`, {
      cause: error,
      hint: 'Correct "caFile" of the s3 storage in the config.',
    });
  }
}

async function proxyAgents(proxy: URL, trust: { readonly ca?: string[] }): Promise<Agents> {
  const { HttpsProxyAgent } = await import('https-proxy-agent');
  const agent = new HttpsProxyAgent(proxy, { keepAlive: true, ...trust });
  // Its own options are for the connection to the proxy; what lies behind that has to be trusted too.
  const connect = agent.connect.bind(agent);
  agent.connect = (request, options) => {
    const host = options.host ?? '';
    // It leaves the host out where that is an address, and Node would look for "localhost" in the certificate.
    const identity = isIP(host) === 0 ? {} : { checkServerIdentity: asked(host) };
    return connect(request, { ...options, ...trust, ...identity });
  };
  return { httpAgent: agent as unknown as HttpAgent, httpsAgent: agent as unknown as HttpsAgent };
}

function asked(host: string): typeof checkServerIdentity {
  return (_, certificate) => checkServerIdentity(host, certificate);
}

/** The proxy for the endpoint: the option, or the variables that other tools heed too. Errors: `STORAGE_MISCONFIGURED`. */
export function proxyFor(
  settings: Pick<Settings, 'proxy' | 'endpoint' | 'region' | 'bucket'>,
  environment: Readonly<Record<string, string | undefined>>,
): URL | undefined {
  const endpoint = new URL(
    settings.endpoint ?? `https://${settings.bucket}.s3.${settings.region ?? 'any'}.amazonaws.com`,
  );
  const variable = (name: string): string | undefined => environment[name.toLowerCase()] ?? environment[name];
  let text = settings.proxy?.reveal();
  if (text === undefined) {
    if (isExcluded(endpoint, variable('NO_PROXY') ?? '')) return undefined;
    text = variable(endpoint.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY');
  }
  if (text === undefined || text === '') return undefined;
  const url = URL.parse(text.includes('://') ? text : `http://${text}`);
  if (url !== null && /^https?:$/.test(url.protocol)) return url;
  // The text may hold a password.
  throw new ArchiveError('STORAGE_MISCONFIGURED', 'the proxy of the s3 storage is not the URL of an HTTP proxy', {
    hint: 'Write it as http://host:port, in "proxy" or in HTTPS_PROXY.',
  });
}

/** `NO_PROXY` as curl reads it: names and what is below them, with a port or without, or `*`. */
function isExcluded(endpoint: URL, list: string): boolean {
  const port = endpoint.port === '' ? (endpoint.protocol === 'https:' ? '443' : '80') : endpoint.port;
  return list.split(/[\s,]+/).some((entry) => {
    if (entry === '*') return true;
    const [, name = '', itsPort] = /^\*?\.?(.*?)(?::(\d+))?$/.exec(entry.toLowerCase()) ?? [];
    if (name === '' || (itsPort !== undefined && itsPort !== port)) return false;
    return endpoint.hostname === name || endpoint.hostname.endsWith(`.${name}`);
  });
}
