import { spawn } from 'node:child_process';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Secret } from '@pgark/sdk';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { makeKey, noAccounts, noSshd, SftpServer } from '../../../test/support/sftp-server.ts';
import { closing, keysOf, open, put, seed, without } from './helpers.ts';

describe.skipIf(noSshd !== undefined)(`logging in ${noSshd ?? ''}`, () => {
  let server: SftpServer;
  let withPassphrase: string;
  beforeAll(async () => {
    server = await SftpServer.start();
    withPassphrase = server.addKey('protected', { passphrase: 'correct horse' });
    await seed(server, 'archive', 'key');
  });
  afterAll(() => server.stop());
  /** Options with nothing to log in with. */
  const bare = (): { host: string; port: number; user: string; knownHosts: string; path: string } => ({
    ...without(server.login, 'privateKeyFile'),
    path: join(server.archives, 'archive'),
  });

  test('a key that the server does not have is STORAGE_DENIED, not retriable, and says whom and how', async () => {
    const privateKeyFile = join(server.folder, 'stranger');
    makeKey(privateKeyFile);
    await expect(open(server, 'archive', { privateKeyFile }).stat('key')).rejects.toMatchObject({
      code: 'STORAGE_DENIED',
      retriable: false,
      message: expect.stringContaining(server.user),
      hint: expect.stringContaining('publickey'),
    });
  });

  test('a key may be given itself, and may have a passphrase, which is not in any error', async () => {
    const privateKey = new Secret(readFileSync(withPassphrase, 'utf8'));
    const passphrase = new Secret('correct horse');
    expect(await keysOf(closing({ ...bare(), privateKey, passphrase }))).toEqual(['key']);
    for (const wrong of [{}, { passphrase: new Secret('wrong horse') }]) {
      const error: unknown = await closing({ ...bare(), privateKey, ...wrong })
        .stat('key')
        .catch((error: unknown) => error);
      expect(error).toMatchObject({
        code: 'STORAGE_MISCONFIGURED',
        retriable: false,
        hint: expect.stringContaining('passphrase'),
      });
      expect(JSON.stringify([error, String((error as Error).cause), (error as Error).message])).not.toContain(
        'wrong horse',
      );
    }
  });

  test('a key that cannot be read, or is none, is STORAGE_MISCONFIGURED', async () => {
    for (const privateKeyFile of ['/nowhere/key', join(server.folder, 'sshd_config')]) {
      const call = open(server, 'archive', { privateKeyFile }).stat('key');
      await expect(call).rejects.toMatchObject({ code: 'STORAGE_MISCONFIGURED' });
    }
  });

  test('nothing to log in with is said before anything is tried', async () => {
    vi.stubEnv('SSH_AUTH_SOCK', undefined);
    onTestFinished(() => void vi.unstubAllEnvs());
    await expect(closing({ ...bare(), port: 1 }).stat('key')).rejects.toMatchObject({
      code: 'STORAGE_MISCONFIGURED',
      message: expect.stringContaining('nothing to log in with'),
    });
  });

  test('an agent is asked, by its socket or by SSH_AUTH_SOCK', async () => {
    const socket = join(server.folder, 'agent');
    const agent = spawn('ssh-agent', ['-D', '-a', socket], { stdio: 'ignore' });
    onTestFinished(() => void agent.kill());
    while (!existsSync(socket)) await sleep(10);
    await expect(closing({ ...bare(), agent: socket }).stat('key')).rejects.toMatchObject({ code: 'STORAGE_DENIED' });
    execFileSync('ssh-add', ['-q', server.privateKeyFile], { env: { ...process.env, SSH_AUTH_SOCK: socket } });
    expect(await keysOf(closing({ ...bare(), agent: socket }))).toEqual(['key']);
    vi.stubEnv('SSH_AUTH_SOCK', socket);
    onTestFinished(() => void vi.unstubAllEnvs());
    expect(await keysOf(closing(bare()))).toEqual(['key']);
    const gone = closing({ ...bare(), agent: '/nowhere/agent' }).stat('key');
    await expect(gone).rejects.toMatchObject({ code: 'STORAGE_MISCONFIGURED', hint: expect.stringContaining('agent') });
  });

  test('a password logs in, and a wrong one is STORAGE_DENIED and in no error (H-54)', async (context) => {
    const missing = noAccounts();
    if (missing !== undefined) return context.skip(missing);
    const accounts = { users: { keeper: 'open sesame' }, setUp: 'mkdir archive && chown 20001:20000 archive' };
    const server = await SftpServer.start({ accounts });
    onTestFinished(() => server.stop());
    const login = { ...without(server.login, 'privateKeyFile'), user: 'keeper', path: '/srv/archive' };
    const storage = closing({ ...login, password: new Secret('open sesame') });
    await put(storage, 'key');
    expect(await keysOf(storage)).toEqual(['key']);
    const error: unknown = await closing({ ...login, password: new Secret('open barley') })
      .stat('key')
      .catch((error: unknown) => error);
    expect(error).toMatchObject({ code: 'STORAGE_DENIED', hint: expect.stringContaining('password') });
    expect(JSON.stringify([error, (error as Error).message, String((error as Error).cause)])).not.toContain('barley');
  });
});
