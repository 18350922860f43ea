import {
  existsSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  chmodSync,
} from 'node:fs';
import { join } from 'node:path';
import { spawnSync } from 'node:child_process';
import type { Storage } from '@pgark/sdk';
import { describe, expect, test } from 'vitest';
import { body, keysOf, open, put, read, temporaryFiles } from './helpers.ts';
import { mountMemory, noStrace, run, temporaryFolder, unmount } from './processes.ts';

const MIB = 1024 * 1024;
const straceMissing = noStrace();

/** What every call says, as codes. */
async function codesOf(storage: Storage, key: string): Promise<Record<string, string>> {
  const code = (call: Promise<unknown>): Promise<string> =>
    call.then(
      () => 'done',
      (error: { code: string }) => error.code,
    );
  return {
    get: await code(read(storage, key)),
    stat: await code(storage.stat(key)),
    list: await code(keysOf(storage)),
    remove: await code(storage.remove([key])),
    put: await code(put(storage, `${key}-new`)),
  };
}

const all = (code: string): Record<string, string> => ({ get: code, stat: code, list: code, remove: code, put: code });

/** Runs one put with a system call that fails. */
async function putWithFault(root: string, fault: string, onlyOn?: string): Promise<unknown> {
  const path = onlyOn === undefined ? [] : ['-P', onlyOn];
  const through = [
    'strace',
    '-f',
    '-o',
    '/dev/null',
    ...path,
    '-e',
    `trace=${fault.split(':')[0]}`,
    '-e',
    `inject=${fault}`,
  ];
  const [outcome] = await run(['put', root, 'a/object', String(MIB)], { through });
  return outcome;
}

describe('a full disk', () => {
  test('H-13 is STORAGE_FULL, retriable, and leaves neither object nor temporary file', async (context) => {
    const root = temporaryFolder();
    const cannot = mountMemory(root, 4);
    if (cannot !== undefined) return context.skip(cannot);
    const storage = open(root);
    await put(storage, 'before');
    const large = storage.put('a/large', body(...Array.from({ length: 6 }, () => Buffer.alloc(MIB))), {
      ifAbsent: true,
    });
    await expect(large).rejects.toMatchObject({ code: 'STORAGE_FULL', retriable: true });
    expect(await keysOf(storage)).toEqual(['before']);
    expect(temporaryFiles(root)).toEqual([]);
    // The space is free again, and the work goes on by itself.
    await storage.put('a/small', body(Buffer.alloc(2 * MIB)), { ifAbsent: true });
    expect((await storage.stat('a/small')).size).toBe(2 * MIB);
  });

  test('as is a file above the limit on file sizes', async () => {
    const root = temporaryFolder();
    // In blocks of 512 bytes, or of 1024 where the shell counts so.
    const through = ['sh', '-c', 'ulimit -f 2048; exec "$@"', 'sh'];
    const [outcome] = await run(['put', root, 'a/object', String(4 * MIB)], { through });
    expect(outcome).toMatchObject({ code: 'STORAGE_FULL', retriable: true, hint: expect.stringContaining('ulimit') });
    expect(await keysOf(open(root))).toEqual([]);
    expect(temporaryFiles(root)).toEqual([]);
  });
});

describe('system calls that fail', () => {
  test.for([
    ['fdatasync:error=EIO', 'STORAGE_UNAVAILABLE', true],
    ['fdatasync:error=ENOSPC', 'STORAGE_FULL', true],
    ['fdatasync:error=EDQUOT', 'STORAGE_FULL', true],
    ['link:error=EACCES', 'STORAGE_DENIED', false],
    ['link:error=EROFS', 'STORAGE_DENIED', false],
    ['link:error=ENOSPC', 'STORAGE_FULL', true],
    ['link:error=EPERM', 'STORAGE_MISCONFIGURED', false],
    ['link:error=EOPNOTSUPP', 'STORAGE_MISCONFIGURED', false],
    ['link:error=EXDEV', 'STORAGE_MISCONFIGURED', false],
  ] as const)('%s is %s, and nothing is left', async ([fault, code, retriable], context) => {
    if (straceMissing !== undefined) return context.skip(straceMissing);
    const root = temporaryFolder();
    expect(await putWithFault(root, fault)).toMatchObject({ code, retriable });
    expect(await keysOf(open(root))).toEqual([]);
    expect(temporaryFiles(root)).toEqual([]);
  });

  test('a file system without links is told with what to do', async (context) => {
    if (straceMissing !== undefined) return context.skip(straceMissing);
    expect(await putWithFault(temporaryFolder(), 'link:error=EOPNOTSUPP')).toMatchObject({
      message: expect.stringContaining('hard link'),
      hint: expect.stringContaining('ext4'),
    });
  });

  test('a folder that cannot be synced fails the put; the object, whole, may be there and is then found', async (context) => {
    if (straceMissing !== undefined) return context.skip(straceMissing);
    const root = temporaryFolder();
    await put(open(root), 'a/other');
    expect(await putWithFault(root, 'fsync:error=EIO', join(root, 'a'))).toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      retriable: true,
    });
    const storage = open(root);
    expect((await read(storage, 'a/object')).byteLength).toBe(MIB);
    await expect(put(storage, 'a/object')).rejects.toMatchObject({ code: 'STORAGE_EXISTS' });
  });
});

describe('a refusal', () => {
  test('H-50 of the whole folder is STORAGE_DENIED in every call, never "not found"', async () => {
    const root = temporaryFolder();
    await put(open(root), 'a/object');
    chmodSync(root, 0o000);
    const outcomes = await run(['every', root, 'a/object'], { asNobody: true });
    chmodSync(root, 0o755);
    expect(Object.fromEntries(outcomes.map(({ name, code }) => [name, code]))).toEqual(all('STORAGE_DENIED'));
    expect(await keysOf(open(root))).toEqual(['a/object']);
  });

  test('to write leaves reading as it is', async () => {
    const root = temporaryFolder();
    await put(open(root, { fileMode: '0644', directoryMode: '0755' }), 'a/object');
    for (const folder of [root, join(root, 'a'), join(root, '.pgark-tmp')]) chmodSync(folder, 0o555);
    const outcomes = await run(['every', root, 'a/object'], { asNobody: true });
    for (const folder of [root, join(root, 'a'), join(root, '.pgark-tmp')]) chmodSync(folder, 0o755);
    const codes = Object.fromEntries(outcomes.map(({ name, code }) => [name, code]));
    expect(codes).toEqual({ remove: 'STORAGE_DENIED', put: 'STORAGE_DENIED' });
  });

  test('H-50 of one folder fails a listing that needs it, and no other', async () => {
    const root = temporaryFolder();
    for (const key of ['a/object', 'b/object']) await put(open(root, { fileMode: '0644', directoryMode: '0755' }), key);
    chmodSync(join(root, 'a'), 0o000);
    const outcomes = await run(['list', root, 'a0'], { asNobody: true });
    chmodSync(join(root, 'a'), 0o755);
    expect(outcomes).toMatchObject([
      { name: 'all', code: 'STORAGE_DENIED' },
      // Behind the folder it is not even looked into.
      { name: 'after', result: ['b/object'] },
    ]);
  });
});

describe('the root', () => {
  test('is created by the first put if its parent is there, and by nothing else', async () => {
    const folder = temporaryFolder();
    const storage = open(join(folder, 'archive'));
    expect(await codesOf(storage, 'key')).toEqual({ ...all('STORAGE_MISCONFIGURED'), put: 'done' });
    expect(await keysOf(storage)).toEqual(['key-new']);
    expect(await codesOf(open(join(folder, 'no/archive')), 'key')).toEqual(all('STORAGE_MISCONFIGURED'));
    expect(existsSync(join(folder, 'no'))).toBe(false);
  });

  test('H-50 that goes away is STORAGE_MISCONFIGURED with what to do, and is not made anew', async () => {
    const folder = temporaryFolder();
    const root = join(folder, 'archive');
    const storage = open(root);
    await put(storage, 'key');
    rmSync(root, { recursive: true });
    expect(await codesOf(storage, 'key')).toEqual(all('STORAGE_MISCONFIGURED'));
    await expect(storage.stat('key')).rejects.toMatchObject({ hint: expect.stringContaining('Mount') });
    expect(existsSync(root)).toBe(false);
  });

  test('H-50 whose disk is unmounted is never an empty archive', async (context) => {
    const root = temporaryFolder();
    const cannot = mountMemory(root, 4);
    if (cannot !== undefined) return context.skip(cannot);
    const storage = open(root);
    await put(storage, 'key');
    unmount(root);
    expect(readdirSync(root)).toEqual([]);
    expect(await codesOf(storage, 'key')).toEqual(all('STORAGE_MISCONFIGURED'));
    expect(readdirSync(root)).toEqual([]);
  });

  test('that is replaced while a put is under way fails the put', async () => {
    const folder = temporaryFolder();
    const root = join(folder, 'archive');
    const storage = open(root);
    await put(storage, 'a/first');
    const replacing = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
      yield Buffer.alloc(MIB);
      renameSync(root, join(folder, 'elsewhere'));
      mkdirSync(root);
    };
    const call = storage.put('a/second', replacing(), { ifAbsent: true });
    await expect(call).rejects.toMatchObject({ code: 'STORAGE_MISCONFIGURED' });
    expect(readdirSync(root)).toEqual([]);
  });

  test('that is a file is STORAGE_MISCONFIGURED', async () => {
    const root = join(temporaryFolder(), 'archive');
    writeFileSync(root, 'x');
    expect(await codesOf(open(root), 'key')).toEqual(all('STORAGE_MISCONFIGURED'));
  });
});

describe('what is in the way', () => {
  test('an object where a folder must be, and the other way round, are told apart from an existing object', async () => {
    const storage = open(temporaryFolder());
    await put(storage, 'a');
    await put(storage, 'b/c');
    for (const key of ['a/b', 'a/b/c', 'b']) {
      await expect(put(storage, key)).rejects.toMatchObject({ code: 'STORAGE_INVALID_KEY' });
    }
    const replace = storage.put('b', body('x'), { ifAbsent: false });
    await expect(replace).rejects.toMatchObject({ code: 'STORAGE_INVALID_KEY' });
    expect(await keysOf(storage)).toEqual(['a', 'b/c']);
  });

  test('a part longer than the file system takes is STORAGE_INVALID_KEY with the limit', async () => {
    const storage = open(temporaryFolder());
    await put(storage, `a/${'x'.repeat(255)}`);
    const call = put(storage, `a/${'x'.repeat(256)}`);
    await expect(call).rejects.toMatchObject({ code: 'STORAGE_INVALID_KEY', hint: expect.stringContaining('255') });
  });

  test('a pipe does not hang a get, nor is it an object', async (context) => {
    const root = temporaryFolder();
    if (spawnSync('mkfifo', [join(root, 'pipe')]).status !== 0) return context.skip('there is no mkfifo');
    const storage = open(root);
    await expect(read(storage, 'pipe')).rejects.toMatchObject({ code: 'STORAGE_NOT_FOUND' });
    await expect(storage.stat('pipe')).rejects.toMatchObject({ code: 'STORAGE_NOT_FOUND' });
    expect(await keysOf(storage)).toEqual([]);
  });

  test('folders behind symbolic links are listed; a link that leads round in circles is an error', async () => {
    const folder = temporaryFolder();
    const root = join(folder, 'archive');
    const storage = open(root);
    await put(storage, 'a/object');
    renameSync(join(root, 'a'), join(folder, 'elsewhere'));
    symlinkSync(join(folder, 'elsewhere'), join(root, 'a'));
    expect(await keysOf(storage)).toEqual(['a/object']);
    symlinkSync(root, join(root, 'z'));
    await expect(keysOf(storage)).rejects.toMatchObject({ code: 'STORAGE_MISCONFIGURED' });
  });
});

describe('reading', () => {
  test('H-59 a file that shrinks meanwhile is an error, not a short object', async () => {
    const root = temporaryFolder();
    const storage = open(root);
    await storage.put('object', body(Buffer.alloc(5 * MIB)), { ifAbsent: true });
    const reading = async (): Promise<number> => {
      let bytes = 0;
      for await (const chunk of storage.get('object')) {
        bytes += chunk.byteLength;
        truncateSync(join(root, 'object'), 2 * MIB + 10);
      }
      return bytes;
    };
    await expect(reading()).rejects.toMatchObject({ code: 'STORAGE_CORRUPT' });
  });

  test('leaves no file open, whether read to the end, left early or failed', async (context) => {
    if (!existsSync('/proc/self/fd')) return context.skip('there is no /proc here');
    const root = temporaryFolder();
    const storage = open(root);
    await storage.put('object', body(Buffer.alloc(3 * MIB)), { ifAbsent: true });
    const openFiles = (): number =>
      readdirSync('/proc/self/fd')
        .filter((fd) => existsSync(`/proc/self/fd/${fd}`))
        .filter((fd) => readlinkSync(`/proc/self/fd/${fd}`).startsWith(root)).length;
    for (let round = 0; round < 20; round++) {
      const chunks = storage.get('object')[Symbol.asyncIterator]();
      expect((await chunks.next()).done).toBe(false);
      if (round === 0) expect(openFiles()).toBe(1);
      await chunks.return?.();
      await read(storage, 'object');
      const outside = storage.get('object', { range: { start: 4 * MIB } })[Symbol.asyncIterator]();
      await expect(outside.next()).rejects.toThrow();
      await expect(storage.put('other', body('xx'), { ifAbsent: true, size: 1 })).rejects.toThrow();
    }
    expect(openFiles()).toBe(0);
  });
});

test('modes are those of the options, narrowed by the umask', async () => {
  const mode = (path: string): string => (statSync(path).mode & 0o777).toString(8);
  const root = temporaryFolder();
  await put(open(root), 'default/object');
  await put(open(root, { fileMode: '0600', directoryMode: '700' }), 'own/object');
  expect([mode(join(root, 'default')), mode(join(root, 'default/object'))]).toEqual(['750', '640']);
  expect([mode(join(root, 'own')), mode(join(root, 'own/object'))]).toEqual(['700', '600']);
});
