/** A certificate authority for TLS tests, made with the openssl command. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { giveToServer } from './postgres.ts';

/** Paths of a certificate and its key. */
export interface CertificateFiles {
  readonly certificate: string;
  readonly key: string;
}

/** Makes certificates below `folder`. */
export class CertificateAuthority {
  readonly #folder: string;
  readonly #name: string;

  constructor(folder: string, name: string) {
    this.#folder = folder;
    this.#name = name;
    const ca = this.root;
    openssl(
      'req',
      '-x509',
      '-nodes',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-days',
      '2',
      '-subj',
      `/CN=${name}`,
      '-keyout',
      this.#path('key'),
      '-out',
      ca,
    );
  }

  /** The path of the CA's own certificate. */
  get root(): string {
    return this.#path('crt');
  }

  /** Signs a new certificate; `alternative` as `DNS:localhost`. The key is readable by its owner alone, for the server when `server` is set. */
  issue(
    commonName: string,
    options: { readonly alternative?: string; readonly server?: boolean } = {},
  ): CertificateFiles {
    const [certificate, key, request, extensions] = ['crt', 'key', 'csr', 'ext'].map((suffix) =>
      this.#path(`${commonName}.${suffix}`),
    ) as [string, string, string, string];
    openssl('req', '-nodes', '-newkey', 'rsa:2048', '-subj', `/CN=${commonName}`, '-keyout', key, '-out', request);
    writeFileSync(extensions, options.alternative === undefined ? '' : `subjectAltName=${options.alternative}\n`);
    openssl(
      'x509',
      '-req',
      '-in',
      request,
      '-CA',
      this.root,
      '-CAkey',
      this.#path('key'),
      '-CAcreateserial',
      '-days',
      '2',
      '-extfile',
      extensions,
      '-out',
      certificate,
    );
    if (options.server === true) for (const path of [certificate, key]) giveToServer(path);
    return { certificate, key };
  }

  #path(suffix: string): string {
    return join(this.#folder, `${this.#name}.${suffix}`);
  }
}

function openssl(...args: readonly string[]): void {
  execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}
