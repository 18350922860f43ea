import { createHash, createHmac, timingSafeEqual } from 'node:crypto';

/** What a known_hosts file says of one key of one host. */
export type Verdict = 'known' | 'unknown' | 'changed' | 'revoked';

/** One line of a known_hosts file that is about the host. */
export interface KnownKey {
  /** `ssh-ed25519`, `ecdsa-sha2-nistp256`, `ssh-rsa`. */
  readonly type: string;
  /** The key in base64, without padding. */
  readonly key: string;
  readonly revoked: boolean;
}

/**
 * The lines of a known_hosts file (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT") that name the host: plain, with wildcards, hashed,
 * and as `[host]:port` for every port but 22. Lines of certificate authorities are left out: host certificates are not understood.
 */
export function knownKeys(text: string, host: string, port: number): readonly KnownKey[] {
  const name = (port === 22 ? host : `[${host}]:${port}`).toLowerCase();
  return text.split(/\r?\n/).flatMap((line) => {
    const fields = line.trim().split(/\s+/);
    if (fields[0] === undefined || fields[0] === '' || fields[0].startsWith('#')) return [];
    const mark = fields[0].startsWith('@') ? fields.shift() : undefined;
    const [hosts = '', type = '', key = ''] = fields;
    if (mark !== undefined && mark !== '@revoked') return [];
    if (key === '' || !names(hosts, name)) return [];
    return [{ type, key: key.replace(/=+$/, ''), revoked: mark === '@revoked' }];
  });
}

/** What the known keys of a host say of the key that it shows. */
export function judge(known: readonly KnownKey[], shown: Buffer): Verdict {
  const key = shown.toString('base64').replace(/=+$/, '');
  const same = known.filter((each) => each.key === key);
  if (same.some((each) => each.revoked)) return 'revoked';
  if (same.length > 0) return 'known';
  return known.some((each) => !each.revoked) ? 'changed' : 'unknown';
}

/** As `ssh-keygen -l` prints it: `SHA256:...` without padding. */
export function fingerprint(key: Buffer): string {
  return `SHA256:${createHash('sha256').update(key).digest('base64').replace(/=+$/, '')}`;
}

/** The type that a public key in SSH's form begins with. */
export function typeOfKey(key: Buffer): string {
  return key.length < 4 ? '' : key.toString('latin1', 4, 4 + key.readUInt32BE(0));
}

/** The signature algorithms of a key's type, the best first: RSA keys sign with SHA-2 where the server can. */
export function algorithmsOf(type: string): readonly string[] {
  return type === 'ssh-rsa' ? ['rsa-sha2-512', 'rsa-sha2-256', 'ssh-rsa'] : [type];
}

function names(hosts: string, name: string): boolean {
  if (hosts.startsWith('|')) return hashed(hosts, name);
  let found = false;
  for (const pattern of hosts.toLowerCase().split(',')) {
    const negated = pattern.startsWith('!');
    if (!matches(negated ? pattern.slice(1) : pattern, name)) continue;
    if (negated) return false;
    found = true;
  }
  return found;
}

/** `|1|salt|hash`: HMAC-SHA1 of the name with the salt as its key, both in base64. */
function hashed(hosts: string, name: string): boolean {
  const [, version, salt = '', hash = ''] = hosts.split('|');
  if (version !== '1') return false;
  const wanted = Buffer.from(hash, 'base64');
  const made = createHmac('sha1', Buffer.from(salt, 'base64')).update(name).digest();
  return wanted.length === made.length && timingSafeEqual(wanted, made);
}

/** `*` stands for any characters, `?` for one. */
function matches(pattern: string, name: string): boolean {
  const source = pattern.replaceAll(/[$()*+.?[\\\]^{|}]/g, (sign) => {
    if (sign === '*') return '.*';
    return sign === '?' ? '.' : `\\${sign}`;
  });
  return new RegExp(`^${source}$`).test(name);
}
