import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, rmdirSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { keysOf, open, put, read, temporaryFiles } from './helpers.ts';
import { kill, noStrace, run, start, temporaryFolder } from './processes.ts';
import { resultsOf, stepsOf } from './trace.ts';

const MIB = 1024 * 1024;
const straceMissing = noStrace();

test('H-58 kill -9 in the middle of a put leaves nothing visible, and the key free', async () => {
  const root = temporaryFolder();
  const { child, lines } = start(['hang', root, 'wal/segment', String(16 * MIB)]);
  for await (const line of lines) if (line === '"half"') break;
  await kill(child);
  const [left = ''] = temporaryFiles(root);
  expect(statSync(join(root, '.pgark-tmp', left)).size).toBe(8 * MIB);

  const storage = open(root);
  expect(await keysOf(storage)).toEqual([]);
  await expect(storage.stat('wal/segment')).rejects.toMatchObject({ code: 'STORAGE_NOT_FOUND' });
  await put(storage, 'wal/segment', 'whole');
  expect((await read(storage, 'wal/segment')).toString()).toBe('whole');
});

test('H-58 kill -9 at any time: what a put has returned for is there, and what is there is whole', async () => {
  const bytes = 300_000;
  for (let round = 0; round < 4; round++) {
    const root = temporaryFolder();
    const { child, lines } = start(['stream', root, String(bytes)]);
    const returned: string[] = [];
    const ended = once(child, 'exit');
    for await (const line of lines) {
      returned.push(JSON.parse(line) as string);
      if (returned.length === 5 + round * 3) setTimeout(() => child.kill('SIGKILL'), round * 3);
    }
    await ended;
    expect(child.signalCode).toBe('SIGKILL');
    const storage = open(root);
    const keys = await keysOf(storage);
    expect(keys).toEqual(expect.arrayContaining(returned));
    for (const key of keys) expect((await read(storage, key)).equals(Buffer.alloc(bytes, 'p'))).toBe(true);
  }
});

test('H-57 the sweep removes temporary files of dead processes, and nothing that looks like one', async () => {
  const root = temporaryFolder();
  const name = `put-${'0'.repeat(24)}`;
  const storage = open(root);
  for (const key of [name, `folder/${name}`, 'pgark-tmp/x', '.pgark-tmp2/x']) await put(storage, key);
  const fresh = `put-${'1'.repeat(24)}`;
  for (const file of [name, fresh, 'notes.txt', `${name}.old`]) writeFileSync(join(root, '.pgark-tmp', file), 'x');
  const eightDaysAgo = Date.now() / 1000 - 8 * 24 * 3600;
  const before = await keysOf(storage);
  for (const path of [...before, ...[name, 'notes.txt', `${name}.old`].map((file) => `.pgark-tmp/${file}`)]) {
    utimesSync(join(root, path), eightDaysAgo, eightDaysAgo);
  }
  await put(open(root), 'new');
  expect(temporaryFiles(root).sort()).toEqual([`${name}.old`, fresh, 'notes.txt'].sort());
  expect(await keysOf(storage)).toEqual([...before, 'new'].sort());
});

test('temporary files are in no listing, and their folder is no key', async () => {
  const root = temporaryFolder();
  const storage = open(root);
  let seen: readonly string[] = [];
  const looking = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
    yield Buffer.alloc(2 * MIB);
    seen = temporaryFiles(root);
    expect(await keysOf(storage)).toEqual([]);
    expect(await keysOf(storage, '.pgark')).toEqual([]);
    expect(await keysOf(storage, '.pgark-tmp/')).toEqual([]);
  };
  await storage.put('object', looking(), { ifAbsent: true });
  expect(seen).toHaveLength(1);
  expect(temporaryFiles(root)).toEqual([]);
  for (const key of ['.pgark-tmp', `.pgark-tmp/${seen[0]}`]) {
    await expect(storage.stat(key)).rejects.toMatchObject({ code: 'STORAGE_INVALID_KEY' });
    await expect(storage.remove([key])).rejects.toMatchObject({ code: 'STORAGE_INVALID_KEY' });
  }
});

test('H-58 the file is synced before it has its name, and every folder before put returns', async (context) => {
  if (straceMissing !== undefined) return context.skip(straceMissing);
  const root = temporaryFolder();
  const log = join(temporaryFolder(), 'trace');
  const calls = 'trace=mkdir,fsync,fdatasync,link,unlink,write,writev,pwritev';
  const outcome = await run(['put', root, 'a/b/object', '3000000'], {
    through: ['strace', '-f', '-y', '-o', log, '-e', calls],
  });
  expect(outcome).toMatchObject([{ result: 'done' }]);
  const steps = stepsOf(log, root);
  expect(steps).toEqual([
    'mkdir .pgark-tmp',
    'write temporary',
    'fdatasync temporary',
    'mkdir a',
    'fsync .',
    'mkdir a/b',
    'fsync a',
    'link temporary a/b/object',
    'fsync a/b',
    'unlink temporary',
    'tell',
  ]);
});

test('H-58 a put that finds the object of another writer makes it durable before it says so', async (context) => {
  if (straceMissing !== undefined) return context.skip(straceMissing);
  const root = temporaryFolder();
  await put(open(root), 'a/object');
  const log = join(temporaryFolder(), 'trace');
  const outcome = await run(['put', root, 'a/object', '10'], {
    through: ['strace', '-f', '-y', '-o', log, '-e', 'trace=mkdir,fsync,link,write'],
  });
  expect(outcome).toMatchObject([{ code: 'STORAGE_EXISTS' }]);
  expect(stepsOf(log, root)).toEqual(['fsync .', 'fsync a', 'tell']);
});

test('remove is durable when it returns, pruned folders included', async (context) => {
  if (straceMissing !== undefined) return context.skip(straceMissing);
  const root = temporaryFolder();
  for (const key of ['a/b/object', 'c/object', 'c/stays']) await put(open(root), key);
  const log = join(temporaryFolder(), 'trace');
  await run(['remove', root, 'a/b/object', 'c/object'], {
    through: ['strace', '-f', '-y', '-o', log, '-e', 'trace=unlink,rmdir,fsync,write'],
  });
  expect(stepsOf(log, root)).toEqual([
    'unlink a/b/object',
    'unlink c/object',
    'rmdir a/b',
    'rmdir a',
    'fsync .',
    'fsync c',
    'tell',
  ]);
  expect(readdirSync(root).sort()).toEqual(['.pgark-tmp', 'c']);
});

test('H-52 of eight processes that store one key at once exactly one succeeds', async () => {
  const root = temporaryFolder();
  const processes = Array.from({ length: 8 }, () => run(['put', root, 'a/b/object', '2000000']));
  const outcomes = (await Promise.all(processes)).flat();
  expect(outcomes.filter(({ result }) => result === 'done')).toHaveLength(1);
  expect(outcomes.filter(({ code }) => code === 'STORAGE_EXISTS')).toHaveLength(7);
  expect((await open(root).stat('a/b/object')).size).toBe(2_000_000);
});

test('a put into a folder that another process has pruned makes the folder again', async () => {
  const root = temporaryFolder();
  const first = open(root);
  await put(first, 'a/b/1');
  await open(root).remove(['a/b/1']);
  expect(existsSync(join(root, 'a'))).toBe(false);
  await put(first, 'a/b/2');
  expect(await keysOf(first)).toEqual(['a/b/2']);
});

test('a put whose folder is pruned between mkdir and link makes the folder again', async (context) => {
  if (straceMissing !== undefined) return context.skip(straceMissing);
  const root = temporaryFolder();
  const log = join(temporaryFolder(), 'trace');
  mkdirSync(join(root, '.pgark-tmp'));
  // The first link waits long enough for the folder to be pruned under it.
  const inject = 'inject=link:delay_enter=1500000:when=1';
  const through = ['strace', '-f', '-o', log, '-e', 'trace=link,fsync', '-e', inject];
  const pruning = (async () => {
    // The fsync of `a`, after that of the root, is the last step before the link.
    while (!existsSync(log) || resultsOf(log, 'fsync').length < 2) await sleep(2);
    rmdirSync(join(root, 'a/b'));
    rmdirSync(join(root, 'a'));
  })();
  const outcome = await run(['put', root, 'a/b/object', '1000'], { through });
  await pruning;
  expect(outcome).toMatchObject([{ result: 'done' }]);
  expect(resultsOf(log, 'link')).toEqual(['ENOENT', '0']);
  expect(await keysOf(open(root))).toEqual(['a/b/object']);
});
