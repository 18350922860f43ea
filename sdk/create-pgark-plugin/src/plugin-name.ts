import { Refusal } from './refusal.ts';
import type { Kind } from './request.ts';

/** Names of pgark's own plugins: `use: s3` finds these first, so that another of the name would never be loaded. */
const TAKEN: Readonly<Record<Kind, readonly string[]>> = {
  storage: ['azure', 'fs', 'gcs', 'memory', 's3', 'sftp'],
  codec: ['aes-gcm', 'age', 'gzip', 'lz4', 'zstd'],
  hook: ['discord', 'exec', 'healthchecks', 'otel', 'pagerduty', 'slack', 'smtp', 'teams', 'webhook'],
};

/** Suffixes that names of objects have already. */
const SUFFIXES: readonly string[] = [
  'gz',
  'zst',
  'lz4',
  'age',
  'aesgcm',
  'tar',
  'json',
  'history',
  'partial',
  'backup',
  'tail',
];

/** Throws {@link Refusal} for what cannot be the name of a plugin of this kind. */
export function checkName(kind: Kind, name: string): void {
  if (!/^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$/.test(name)) {
    throw new Refusal(
      `"${name}" cannot be the name of a plugin`,
      'A name begins with a small letter and has small letters, digits and single dashes: cold-shelf.',
    );
  }
  if (name.length > 40) throw new Refusal(`the name "${name}" is too long`, 'Give one of at most 40 characters.');
  if (name.startsWith('pgark')) {
    throw new Refusal(
      `"${name}" begins with pgark`,
      `Leave that out: the package is called pgark-${kind}-NAME anyway.`,
    );
  }
  if (TAKEN[kind].includes(name)) {
    throw new Refusal(
      `the ${kind} "${name}" is one of pgark's own`,
      `Choose another name: "use: ${name}" finds @pgark/${kind}-${name} first.`,
    );
  }
  if (kind !== 'codec') return;
  if (!/^[a-z0-9]{1,16}$/.test(name)) {
    throw new Refusal(
      `"${name}" cannot be the suffix of a codec`,
      'The name is appended to the names of objects: small letters and digits, at most 16.',
    );
  }
  if (SUFFIXES.includes(name)) {
    throw new Refusal(`the suffix ".${name}" means something else in an archive`, 'Choose another name.');
  }
}
