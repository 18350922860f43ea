/** The TLS options of one connection, from libpq's meaning of `sslmode` (PostgreSQL docs, "SSL Support"). */
import { readFile, stat } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { checkServerIdentity, getCACertificates, type ConnectionOptions } from 'node:tls';
import { ArchiveError, errnoOf } from '../contracts/errors.ts';
import type { HostAddress, SslMode, TlsSettings } from './target.ts';

/** Whether to try with or without TLS, in this order. `allow` and `prefer` have a second way. Sockets never use TLS. */
export function encryptionAttempts(mode: SslMode, host: HostAddress): readonly ('tls' | 'plain')[] {
  if (host.address === undefined && host.host.startsWith('/')) return ['plain'];
  switch (mode) {
    case 'disable':
      return ['plain'];
    case 'allow':
      return ['plain', 'tls'];
    case 'prefer':
      return ['tls', 'plain'];
    default:
      return ['tls'];
  }
}

/** Reads the files and gives the options for Node's TLS. Throws `SERVER_TLS` for a file that is needed and not usable. */
export async function tlsOptions(settings: TlsSettings, host: string): Promise<ConnectionOptions> {
  const roots = await rootCertificates(settings);
  const crl = await optionalFile(settings.revocationList ?? join(settings.folder, 'root.crl'));
  // A root certificate makes every mode check the chain, as in libpq; only verify-full checks the name too.
  const checked = roots !== undefined;
  return {
    rejectUnauthorized: checked,
    checkServerIdentity: (_, certificate) =>
      settings.mode === 'verify-full' ? checkServerIdentity(host, certificate) : undefined,
    ...(settings.sni && isIP(host) === 0 && { servername: host }),
    ...(checked && { ca: roots, ...(crl !== undefined && { crl }) }),
    ...(await clientCertificate(settings)),
    ...(settings.minVersion !== undefined && { minVersion: settings.minVersion }),
    ...(settings.maxVersion !== undefined && { maxVersion: settings.maxVersion }),
  };
}

async function rootCertificates(settings: TlsSettings): Promise<string | string[] | undefined> {
  if (settings.rootCertificate === 'system') return getCACertificates('system');
  const path = settings.rootCertificate ?? join(settings.folder, 'root.crt');
  const roots = await optionalFile(path);
  if (roots === undefined && (settings.mode === 'verify-ca' || settings.mode === 'verify-full')) {
    throw new ArchiveError('SERVER_TLS', `root certificate file ${path} does not exist`, {
      hint: 'Provide the file, name another with sslrootcert, use sslrootcert=system, or choose an sslmode that does not verify.',
    });
  }
  return roots;
}

async function clientCertificate(settings: TlsSettings): Promise<ConnectionOptions> {
  const certificate = settings.certificate ?? join(settings.folder, 'postgresql.crt');
  const cert = await optionalFile(certificate);
  if (cert === undefined) {
    if (settings.certificate === undefined) return {};
    throw new ArchiveError('SERVER_TLS', `certificate file ${certificate} does not exist`, {
      hint: 'Correct sslcert.',
    });
  }
  const path = settings.key ?? join(settings.folder, 'postgresql.key');
  const key = await optionalFile(path);
  if (key === undefined) {
    throw new ArchiveError('SERVER_TLS', `certificate ${certificate} is present, but its key ${path} is not`, {
      hint: 'Correct sslkey, or put the key there.',
    });
  }
  await checkKeyMode(path);
  return { cert, key, ...(settings.keyPassword !== undefined && { passphrase: settings.keyPassword.reveal() }) };
}

/** libpq's rule: 0600 or stricter; 0640 or stricter when root owns it. */
async function checkKeyMode(path: string): Promise<void> {
  if (process.platform === 'win32') return;
  const { mode, uid } = await stat(path);
  if ((mode & (uid === 0 ? 0o037 : 0o077)) === 0) return;
  throw new ArchiveError('SERVER_TLS', `key file ${path} may be read by others`, {
    hint: 'Make it mode 0600, or 0640 when root owns it.',
  });
}

async function optionalFile(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
    throw new ArchiveError('SERVER_TLS', `cannot read ${path}: ${errnoOf(error) ?? 'unknown error'}`, { cause: error });
  }
}
