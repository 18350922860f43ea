import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeKey, noSshd, SftpServer } from '../../../test/support/sftp-server.ts';
import { fingerprint, judge, knownKeys } from '../src/known-hosts.ts';
import { closing, keysOf, open, seed, without } from './helpers.ts';

describe('known hosts', () => {
  const key = Buffer.from('0000000b7373682d656432353531390000000474657374', 'hex');
  const other = Buffer.from('0000000b7373682d656432353531390000000474657375', 'hex');
  const line = (hosts: string, of = key): string => `${hosts} ssh-ed25519 ${of.toString('base64')} a comment\n`;
  const verdict = (text: string, host: string, port = 22): string => judge(knownKeys(text, host, port), key);

  test.for([
    ['db', 22, true],
    ['DB', 22, true],
    ['db', 2222, false],
    ['db2', 22, false],
    ['[db]:2222', 2222, true],
    ['[db]:2222', 22, false],
    ['other,db', 22, true],
    ['d?', 22, true],
    ['*', 22, true],
    ['*,!db', 22, false],
    ['!db,*', 22, false],
    ['d.', 22, false],
    ['|1|bm9uc2Vuc2U=|bm9uc2Vuc2U=', 22, false],
    ['|2|x|y', 22, false],
  ] as const)('%s, asked for db on port %i, is about it: %s', ([hosts, port, found]) => {
    expect(verdict(line(hosts), 'db', port)).toBe(found ? 'known' : 'unknown');
  });

  test('another key of the host is a changed one, whatever its type; a revoked one stays revoked', () => {
    expect(verdict(line('db', other), 'db')).toBe('changed');
    expect(verdict(line('db', other) + line('db'), 'db')).toBe('known');
    expect(verdict(line('db') + `@revoked ${line('*')}`, 'db')).toBe('revoked');
    expect(verdict(`@revoked ${line('*', other)}`, 'db')).toBe('unknown');
    expect(verdict(`@cert-authority ${line('*')}`, 'db')).toBe('unknown');
    expect(verdict(`# ${line('db')}\n\n   \ndb ssh-ed25519\n`, 'db')).toBe('unknown');
  });
});

describe.skipIf(noSshd !== undefined)(`a real server ${noSshd ?? ''}`, () => {
  let server: SftpServer;
  beforeAll(async () => {
    server = await SftpServer.start({ hostKeys: ['ed25519', 'rsa', 'ecdsa'] });
    await seed(server, 'archive', 'key');
  });
  afterAll(() => server.stop());
  const file = (name: string, content: string): string => {
    writeFileSync(join(server.folder, name), content);
    return join(server.folder, name);
  };

  test('H-54 an unknown host key is refused, with its fingerprint and how to add it', async () => {
    const knownHosts = join(server.folder, 'nowhere');
    const error = await open(server, 'archive', { knownHosts })
      .stat('key')
      .catch((error: unknown) => error);
    expect(error).toMatchObject({
      code: 'STORAGE_DENIED',
      retriable: false,
      message: expect.stringContaining('not known'),
    });
    const { hint } = error as { hint: string };
    expect(hint).toContain(`ssh-ed25519 ${server.fingerprint()}`);
    // What the hint says works as it is printed.
    const command = /ssh-keyscan [^;]*? >> \S+/.exec(hint)?.[0] ?? 'false';
    execFileSync('sh', ['-c', command], { stdio: ['ignore', 'ignore', 'ignore'] });
    expect((await open(server, 'archive', { knownHosts }).stat('key')).key).toBe('key');
  });

  test('H-54 a changed host key is refused, though other hosts have it', async () => {
    makeKey(join(server.folder, 'another'));
    const another = readFileSync(join(server.folder, 'another.pub'), 'utf8');
    const own = readFileSync(join(server.folder, 'host_ed25519.pub'), 'utf8');
    const text = `[127.0.0.1]:${server.port} ${another}127.0.0.1 ${own}[elsewhere]:${server.port} ${own}`;
    const call = open(server, 'archive', { knownHosts: file('changed', text) }).stat('key');
    await expect(call).rejects.toMatchObject({
      code: 'STORAGE_DENIED',
      message: expect.stringContaining('another host key'),
      hint: expect.stringContaining(server.fingerprint()),
    });
  });

  test.for(['ed25519', 'rsa', 'ecdsa'])(
    'the server is asked for the %s key if that is the one that is known',
    async (type) => {
      const key = readFileSync(join(server.folder, `host_${type}.pub`), 'utf8');
      const knownHosts = file(`known_${type}`, `[127.0.0.1]:${server.port} ${key}`);
      expect(await keysOf(open(server, 'archive', { knownHosts }))).toEqual(['key']);
      execFileSync('ssh-keygen', ['-q', '-H', '-f', knownHosts], { stdio: 'ignore' });
      expect(readFileSync(knownHosts, 'utf8')).toMatch(/^\|1\|/);
      expect(await keysOf(open(server, 'archive', { knownHosts }))).toEqual(['key']);
    },
  );

  test('a fingerprint in the config is enough, and counts alone', async () => {
    const login = without(server.login, 'knownHosts');
    const path = join(server.archives, 'archive');
    expect(await keysOf(closing({ ...login, path, hostKey: server.fingerprint() }))).toEqual(['key']);
    const wrong = fingerprint(Buffer.from('another key'));
    const call = open(server, 'archive', { hostKey: wrong }).stat('key');
    await expect(call).rejects.toMatchObject({
      code: 'STORAGE_DENIED',
      hint: expect.stringContaining(server.fingerprint()),
    });
  });
});
