import { readFile } from 'node:fs/promises';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import type { ServeConfig } from '../config/config.ts';
import { ArchiveError, errnoOf } from '../contracts/errors.ts';
import type { ListenSection } from './listen-address.ts';

/** The certificates of the section's `tls`, read and tried. Errors: `CONFIG_INVALID`, which names the file. */
export async function readTlsFiles(
  tls: NonNullable<ServeConfig['tls']>,
  section: ListenSection,
): Promise<SecureContextOptions> {
  const [cert, key, ca] = await Promise.all([
    read(`${section}.tls.certificate`, tls.certificate),
    read(`${section}.tls.key`, tls.key),
    tls.clientCa === undefined ? undefined : read(`${section}.tls.clientCa`, tls.clientCa),
  ]);
  const options: SecureContextOptions = { cert, key, minVersion: 'TLSv1.2', ...(ca === undefined ? {} : { ca }) };
  try {
    createSecureContext(options);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new ArchiveError('CONFIG_INVALID', `the certificate ${tls.certificate} cannot be used: ${why}`, {
      cause: error,
      hint: `Check that ${section}.tls.certificate and ${section}.tls.key belong together and are PEM files; the key without a passphrase.`,
    });
  }
  return options;
}

async function read(what: string, path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new ArchiveError('CONFIG_INVALID', `${what}: cannot read ${path}: ${errnoOf(error) ?? String(error)}`, {
      cause: error,
      hint: 'Check the path, and that the user of pgark may read the file.',
    });
  }
}
