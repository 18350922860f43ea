/** The age command, and keys for archives of tests. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { giveToServer } from './postgres.ts';

/** Whether the age command is installed; if not, the test is skipped with {@link AGE_MISSING} as the reason. */
export const hasAge: boolean = spawnSync('age', ['--version']).error === undefined;

export const AGE_MISSING = 'needs the age command (Debian: age)';

/** Keys that "age-keygen" made for tests and for nothing else. */
export const OPERATIONS = {
  recipient: 'age15hkqtp7dhxc28ctsdhd4p8mev564m5hjcl527nja97j3uv6aaukqf8589p',
  identity: 'AGE-SECRET-KEY-1LUSS8D3ENVXQ2S9C95M52ML8JLQSWGZNK56KUPVDFQP7KTPP0E3QSETZGG',
} as const;

export const ESCROW = {
  recipient: 'age1d9jl0caaar25zgyrt4r0eg0re24nr4ryh8v6gd5y8skx7tgp9cusycpt8x',
  identity: 'AGE-SECRET-KEY-15KXQEAXUJWS4FYFF6N58L8V2XASC9TEJC6LALLZQPEQMW52SWTNSKG5NWU',
} as const;

/** Writes a key file that the user of the server can read; gives its path. */
export function writeIdentity(
  folder: string,
  { recipient, identity }: { recipient: string; identity: string },
): string {
  const file = join(folder, 'age.key');
  writeFileSync(file, `# public key: ${recipient}\n${identity}\n`, { mode: 0o600 });
  giveToServer(file);
  return file;
}
