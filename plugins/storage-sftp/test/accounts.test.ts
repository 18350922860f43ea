/** The accounts of docs/how-to/storage-sftp.md, made as it prints them, can do what it says and nothing else. */
import { readFileSync } from 'node:fs';
import SftpClient from 'ssh2-sftp-client';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { readPage } from '../../../test/docs/pages.ts';
import { noAccounts, noSshd, SftpServer } from '../../../test/support/sftp-server.ts';
import { body, closing, keysOf, listening, put, read } from './helpers.ts';

const USERS = { 'pgark-writer': undefined, 'pgark-reader': undefined, 'pgark-expire': undefined };

const { blocks } = readPage('docs/how-to/storage-sftp.md');
const config = blocks.find(({ text }) => text.startsWith('# /etc/ssh/sshd_config.d/pgark.conf'))?.text ?? '';
const commands = blocks.find(({ text }) => text.startsWith('groupadd'))?.text.split('\n') ?? [];
const cron = blocks.find(({ text }) => text.startsWith('# /etc/cron.d/pgark'))?.text ?? '';

const missing = noSshd ?? noAccounts();

describe.skipIf(missing !== undefined)(`accounts with least permissions ${missing ?? ''}`, () => {
  let server: SftpServer;
  beforeAll(async () => {
    // The accounts themselves are made by the server of the test.
    const setUp = commands.filter((line) => /^(?:mkdir|chgrp|chmod) /.test(line)).join('\n');
    server = await SftpServer.start({ accounts: { users: USERS, setUp, config } });
  });
  afterAll(() => server?.stop());
  const as = (user: keyof typeof USERS, logger = listening().logger): ReturnType<typeof closing> =>
    closing({ ...server.login, user, path: '/archive', directoryMode: '0770' }, logger);

  test('are those of the page', () => {
    const named = commands
      .map((line) => /^useradd .* (pgark-\w+) /.exec(line)?.[1])
      .filter((name) => name !== undefined);
    expect(named).toEqual(Object.keys(USERS));
    for (const name of named) expect(config).toContain(`Match User ${name}\n`);
  });

  test('the writer adds and reads; it can neither change, rename nor remove, also with another client', async () => {
    const { logger, warnings } = listening();
    const writer = as('pgark-writer', logger);
    for (const key of ['a/1', 'a/2', 'b']) await put(writer, key);
    expect(await keysOf(writer)).toEqual(['a/1', 'a/2', 'b']);
    expect(warnings).toEqual([expect.stringContaining('does not allow to remove temporary files')]);
    await expect(put(writer, 'b', 'other')).rejects.toMatchObject({ code: 'STORAGE_EXISTS' });
    const replace = writer.put('b', body('other'), { ifAbsent: false });
    await expect(replace).rejects.toMatchObject({ code: 'STORAGE_MISCONFIGURED' });
    await expect(writer.remove(['b'])).rejects.toMatchObject({ code: 'STORAGE_DENIED' });

    const client = new SftpClient();
    await client.connect({
      host: server.host,
      port: server.port,
      username: 'pgark-writer',
      privateKey: readFileSync(server.privateKeyFile),
    });
    onTestFinished(() => client.end().then(() => undefined));
    const attempts = {
      overwrite: () => client.put(Buffer.from('other'), '/archive/b'),
      append: () => client.append(Buffer.from('other'), '/archive/b'),
      chmod: () => client.chmod('/archive/b', 0o660),
      delete: () => client.delete('/archive/b'),
      rename: () => client.rename('/archive/b', '/archive/c'),
      'rename over': () => client.rename('/archive/a/1', '/archive/b'),
      'posix rename': () => client.posixRename('/archive/a/1', '/archive/b'),
      rmdir: () => client.rmdir('/archive/a', true),
    };
    for (const [name, attempt] of Object.entries(attempts)) await expect(attempt(), name).rejects.toThrow();
    expect(await keysOf(writer)).toEqual(['a/1', 'a/2', 'b']);
    expect((await read(writer, 'b')).toString()).toBe('of b');
    // What it can do is on the page too: its temporary files stay.
    const left = (await client.list('/archive/.pgark-tmp')).map(({ name }) => name);
    expect(left.length).toBeGreaterThanOrEqual(3);
    const pattern = /-name "([^"]*)"/.exec(cron)?.[1] ?? 'none';
    expect(left.every((name) => name.startsWith(pattern.replace('*', '')))).toBe(true);
  });

  test('the reader reads and lists, and stores or removes nothing', async () => {
    await put(as('pgark-writer'), 'for/reader');
    // A relative path begins where the login does.
    const reader = closing({ ...server.login, user: 'pgark-reader', path: 'archive' });
    expect((await read(reader, 'for/reader')).toString()).toBe('of for/reader');
    expect(await keysOf(reader, 'for/')).toEqual(['for/reader']);
    await expect(put(reader, 'new')).rejects.toMatchObject({ code: 'STORAGE_DENIED' });
    await expect(reader.remove(['for/reader'])).rejects.toMatchObject({ code: 'STORAGE_DENIED' });
    expect((await reader.stat('for/reader')).size).toBe(13);
  });

  test('the account of the retention removes what the writer stored, with its folder', async () => {
    const writer = as('pgark-writer');
    await put(writer, 'old/backup');
    await as('pgark-expire').remove(['old/backup']);
    expect(await keysOf(writer, 'old')).toEqual([]);
    await put(writer, 'old', 'an object where the folder was');
  });
});
