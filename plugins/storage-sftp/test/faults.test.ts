import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { noSshd, SftpServer } from '../../../test/support/sftp-server.ts';
import { body, codesOf, keysOf, listening, MIB, open, put, read, temporaryFiles } from './helpers.ts';

const all = (code: string): Record<string, string> => ({ get: code, stat: code, list: code, remove: code, put: code });

/** Mounts a small file system for the test, or says why it cannot. */
function mountMemory(folder: string, megabytes: number): string | undefined {
  if (process.getuid?.() !== 0) return 'only root may mount';
  const { uid, gid } = statSync(folder);
  const options = `size=${megabytes}m,uid=${uid},gid=${gid},mode=0755`;
  const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', folder]);
  if (status !== 0) return 'mounting is not allowed here';
  onTestFinished(() => unmount(folder));
  return undefined;
}

function unmount(folder: string): void {
  spawnSync('umount', ['--lazy', folder]);
}

describe.skipIf(noSshd !== undefined)(`faults ${noSshd ?? ''}`, () => {
  let server: SftpServer;
  let archive: string;
  let root: string;
  beforeAll(async () => {
    server = await SftpServer.start();
  });
  afterAll(() => server.stop());
  beforeEach(() => {
    archive = `archive-${Math.random().toString(36).slice(2)}`;
    root = join(server.archives, archive);
  });
  /** A folder of the server's user. */
  const makeFolder = (path: string): void => {
    const { uid, gid } = statSync(server.archives);
    mkdirSync(path);
    chownSync(path, uid, gid);
  };

  test('a full disk is STORAGE_FULL, retriable, and leaves neither object nor temporary file', async (context) => {
    makeFolder(root);
    const cannot = mountMemory(root, 4);
    if (cannot !== undefined) return context.skip(cannot);
    const storage = open(server, archive);
    await put(storage, 'before');
    await expect(put(storage, 'a/large', Buffer.alloc(6 * MIB))).rejects.toMatchObject({
      code: 'STORAGE_FULL',
      retriable: true,
    });
    expect(await keysOf(storage)).toEqual(['before']);
    expect(temporaryFiles(server, archive)).toEqual([]);
    await put(storage, 'a/small', Buffer.alloc(2 * MIB));
    expect((await storage.stat('a/small')).size).toBe(2 * MIB);
  });

  test('an archive on two file systems is told, not taken for an existing object', async (context) => {
    const storage = open(server, archive);
    await put(storage, 'first');
    makeFolder(join(root, 'a'));
    const cannot = mountMemory(join(root, 'a'), 4);
    if (cannot !== undefined) return context.skip(cannot);
    await expect(put(storage, 'a/object')).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      hint: expect.stringContaining('more than one file system'),
    });
    expect(await keysOf(storage)).toEqual(['first']);
  });

  test('H-52 a server without hard links refuses to store, with what to do; "createOnly: none" stores', async () => {
    const without = await SftpServer.start({ subsystem: 'internal-sftp -P hardlink' });
    onTestFinished(() => without.stop());
    const storage = open(without, 'archive');
    await expect(put(storage, 'key')).rejects.toMatchObject({
      code: 'STORAGE_MISCONFIGURED',
      retriable: false,
      hint: expect.stringContaining('createOnly: none'),
    });
    expect(await keysOf(storage)).toEqual([]);
    expect(temporaryFiles(without, 'archive')).toEqual([]);
    const renaming = open(without, 'archive', { createOnly: 'none' });
    await put(renaming, 'a/key');
    await expect(put(renaming, 'a/key', 'other')).rejects.toMatchObject({ code: 'STORAGE_EXISTS' });
    expect((await read(renaming, 'a/key')).toString()).toBe('of a/key');
    expect(temporaryFiles(without, 'archive')).toEqual([]);
  });

  test('a server without fsync stores, with one warning; asked not to sync, without', async () => {
    const without = await SftpServer.start({ subsystem: 'internal-sftp -P fsync' });
    onTestFinished(() => without.stop());
    for (const [fsync, count] of [
      [true, 1],
      [false, 0],
    ] as const) {
      const { logger, warnings } = listening();
      const storage = open(without, 'archive', { fsync }, logger);
      for (const name of ['1', '2', '3']) await put(storage, `${String(fsync)}/${name}`);
      expect(warnings.filter((each) => each.includes('fsync'))).toHaveLength(count);
    }
  });

  test('a server without SFTP is STORAGE_MISCONFIGURED', async () => {
    const without = await SftpServer.start({ subsystem: '/bin/false' });
    onTestFinished(() => without.stop());
    await expect(open(without, 'archive').stat('key')).rejects.toMatchObject({
      code: 'STORAGE_MISCONFIGURED',
      hint: expect.stringContaining('Subsystem sftp'),
    });
  });

  describe('the root', () => {
    test('is created by the first put if its parent is there, and by nothing else', async () => {
      const storage = open(server, archive);
      await expect(keysOf(storage)).rejects.toMatchObject({ code: 'STORAGE_MISCONFIGURED' });
      expect(existsSync(root)).toBe(false);
      await put(storage, 'key');
      expect(await keysOf(storage)).toEqual(['key']);
      expect(await codesOf(open(server, 'no/archive'), 'key')).toEqual(all('STORAGE_MISCONFIGURED'));
      expect(existsSync(join(server.archives, 'no'))).toBe(false);
    });

    test('H-50 that goes away is STORAGE_MISCONFIGURED in every call, and is not made anew', async () => {
      const storage = open(server, archive);
      await put(storage, 'key');
      rmSync(root, { recursive: true });
      expect(await codesOf(storage, 'key')).toEqual(all('STORAGE_MISCONFIGURED'));
      expect(existsSync(root)).toBe(false);
    });

    test.for(['a writer', 'a reader'])(
      'H-50 whose disk is unmounted is no empty archive to %s',
      async (who, context) => {
        makeFolder(root);
        const cannot = mountMemory(root, 4);
        if (cannot !== undefined) return context.skip(cannot);
        await put(open(server, archive), 'key');
        const storage = open(server, archive);
        if (who === 'a writer') await put(storage, 'other');
        else await read(storage, 'key');
        unmount(root);
        expect(readdirSync(root)).toEqual([]);
        expect(await codesOf(storage, 'key')).toEqual(all('STORAGE_MISCONFIGURED'));
        expect(readdirSync(root)).toEqual([]);
      },
    );

    test('that is replaced while a put is under way fails the put', async () => {
      const storage = open(server, archive);
      await put(storage, 'a/first');
      const replacing = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
        yield Buffer.alloc(MIB);
        renameSync(root, `${root}-elsewhere`);
        makeFolder(root);
      };
      const call = storage.put('a/second', replacing(), { ifAbsent: true });
      await expect(call).rejects.toMatchObject({ code: 'STORAGE_MISCONFIGURED' });
      expect(readdirSync(root)).toEqual([]);
    });

    test('that is a file is STORAGE_MISCONFIGURED', async () => {
      writeFileSync(root, 'x');
      expect(await codesOf(open(server, archive), 'key')).toEqual(all('STORAGE_MISCONFIGURED'));
    });
  });

  test('H-50 a folder that may not be written is STORAGE_DENIED for writers, and can be read', async (context) => {
    if (process.getuid?.() !== 0) return context.skip('only root can take a folder away from the user');
    await put(open(server, archive), 'a/key');
    for (const folder of [root, join(root, 'a'), join(root, '.pgark-tmp')]) {
      chownSync(folder, 0, 0);
      chmodSync(folder, 0o755);
    }
    const denied = { put: 'STORAGE_DENIED', remove: 'STORAGE_DENIED' };
    expect(await codesOf(open(server, archive), 'a/key')).toEqual({ ...all('done'), ...denied });
    chmodSync(join(root, 'a'), 0o700);
    expect(await codesOf(open(server, archive), 'a/key')).toEqual(all('STORAGE_DENIED'));
  });

  test('an object where a folder must be, and the other way round, are told apart from an existing object', async () => {
    const storage = open(server, archive);
    await put(storage, 'a');
    await put(storage, 'b/c');
    for (const key of ['a/b', 'a/b/c', 'b', `c/${'x'.repeat(256)}`]) {
      await expect(put(storage, key)).rejects.toMatchObject({ code: 'STORAGE_INVALID_KEY' });
    }
    const replace = storage.put('b', body('x'), { ifAbsent: false });
    await expect(replace).rejects.toMatchObject({ code: 'STORAGE_INVALID_KEY' });
    expect(await keysOf(storage)).toEqual(['a', 'b/c']);
  });

  test('H-59 a file that shrinks while it is read is an error, not a short object', async () => {
    const storage = open(server, archive, { fileMode: '0640' });
    await put(storage, 'object', Buffer.alloc(16 * MIB));
    const reading = async (): Promise<void> => {
      for await (const chunk of storage.get('object')) {
        if (chunk.byteLength > 0) truncateSync(join(root, 'object'), 9 * MIB + 10);
      }
    };
    await expect(reading()).rejects.toMatchObject({ code: 'STORAGE_CORRUPT' });
  });

  test('a pipe does not hang a get, nor is it an object', async (context) => {
    const storage = open(server, archive, { timeout: 5000 });
    await put(storage, 'key');
    if (spawnSync('mkfifo', [join(root, 'pipe')]).status !== 0) return context.skip('there is no mkfifo');
    for (const call of [read(storage, 'pipe'), storage.stat('pipe')]) {
      await expect(call).rejects.toMatchObject({ code: 'STORAGE_NOT_FOUND' });
    }
    expect(await keysOf(storage)).toEqual(['key']);
  });

  test('H-57 temporary files of dead processes go when they are a day old, and nothing else does', async () => {
    await put(open(server, archive), 'key');
    const make = (name: string, hours: number): string => {
      const path = join(root, '.pgark-tmp', name);
      writeFileSync(path, 'x');
      const time = Date.now() / 1000 - hours * 3600;
      utimesSync(path, time, time);
      return name;
    };
    make(`put-${'0'.repeat(24)}`, 25);
    const kept = [
      make(`put-${'1'.repeat(24)}`, 23),
      make(`put-${'2'.repeat(23)}`, 48),
      make(`put-${'3'.repeat(24)}.x`, 48),
      make('object', 48),
    ];
    await put(open(server, archive), 'another');
    expect(temporaryFiles(server, archive).sort()).toEqual(kept.sort());
    await expect(read(open(server, archive), '.pgark-tmp/object')).rejects.toMatchObject({
      code: 'STORAGE_INVALID_KEY',
    });
    expect(await keysOf(open(server, archive))).toEqual(['another', 'key']);
  });

  test('modes are those of the options; by default nobody writes to an object again', async () => {
    const mode = (path: string): string => (statSync(join(root, path)).mode & 0o777).toString(8);
    await put(open(server, archive), 'default/object');
    await put(open(server, archive, { fileMode: '0400', directoryMode: '700' }), 'own/object');
    expect([mode('default'), mode('default/object'), mode('own'), mode('own/object')]).toEqual([
      '750',
      '440',
      '700',
      '400',
    ]);
  });
});
