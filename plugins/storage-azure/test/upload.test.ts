import { setTimeout as sleep } from 'node:timers/promises';
import { ArchiveError, isArchiveError } from '@pgark/sdk';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { AzureServer, azureMissing } from '../../../test/support/azure-server.ts';
import { Proxy } from '../../../test/support/proxy.ts';
import { body, bytes, collect, keysOf, open, put, read } from './helpers.ts';
import { HttpProxy } from './http-proxy.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
/** The smallest block. */
const BLOCK = 64 * KIB;

describe.skipIf(azureMissing !== undefined)('uploads', () => {
  let server: AzureServer;
  let proxy: HttpProxy;
  let count = 0;
  let container = '';

  beforeAll(async () => {
    server = await AzureServer.start();
  });
  afterAll(() => server?.stop());
  beforeEach(async () => {
    proxy = await HttpProxy.listen(server.port);
    container = await server.createContainer(`uploads-${count++}`);
  });
  afterEach(() => proxy.close());

  test.each([
    ['an empty object', 0, 0],
    ['a small object', 1, 1],
    ['a WAL segment of 16 MiB', 16 * MIB, 16 * MIB],
    ['a WAL segment whose length is not known', 16 * MIB, undefined],
    ['the largest body of one request', 32 * MIB, undefined],
  ])('H-56 %s is one request', async (_, length, size) => {
    const storage = open(server, container, { port: proxy.port });
    await storage.put('key', bytes(length, 256 * KIB), { ifAbsent: true, ...(size === undefined ? {} : { size }) });
    expect(proxy.counts()).toEqual({ PUT: 1 });
    expect(proxy.seen[0]?.headers['if-none-match']).toBe('*');
    expect((await storage.stat('key')).size).toBe(length);
    await storage.close();
  });

  test.each([
    ['known', 32 * MIB + 1],
    ['not known', undefined],
  ])('a larger body whose length is %s goes in blocks, at most four at once, and one commit', async (_, size) => {
    const storage = open(server, container, { port: proxy.port });
    const length = 32 * MIB + 1;
    await storage.put('key', bytes(length, 256 * KIB), { ifAbsent: true, ...(size === undefined ? {} : { size }) });
    expect(proxy.counts()).toEqual({ 'PUT block': 5, 'PUT blocklist': 1 });
    expect(proxy.most.get('block')).toBeGreaterThan(1);
    expect(proxy.most.get('block')).toBeLessThanOrEqual(4);
    expect(proxy.seen.at(-1)?.headers['if-none-match']).toBe('*');
    expect((await storage.stat('key')).size).toBe(length);
    await storage.close();
  });

  test('H-56 no more than five blocks of a large body are held, however slow the server is', async () => {
    const slow = await Proxy.listen({ port: server.port });
    slow.stall();
    const storage = open(server, container, { blockSize: BLOCK, port: slow.port });
    let given = 0;
    const chunk = 16 * KIB;
    const stored = storage.put(
      'key',
      bytes(4 * MIB, chunk, (more) => (given += more)),
      { ifAbsent: true },
    );
    // Until it stands still: the source waits for the server, which gets nothing.
    let still = false;
    while (!still) {
      const before = given;
      await sleep(200);
      still = before > 0 && before === given;
    }
    expect(given).toBeGreaterThanOrEqual(4 * BLOCK);
    expect(given).toBeLessThanOrEqual(5 * BLOCK + chunk);
    slow.resume();
    await stored;
    expect(given).toBe(4 * MIB);
    expect(await read(storage, 'key')).toEqual(Buffer.concat(await collect(bytes(4 * MIB, chunk))));
    await storage.close();
    await slow.close();
  });

  test.each([
    ['one request', 1000],
    ['blocks', 8 * BLOCK],
  ])('bytes that change on their way by %s are refused', async (_, length) => {
    let changed = 0;
    proxy.change = (chunk) => {
      if (chunk.byteLength === 0) return chunk;
      changed += 1;
      return Buffer.concat([Buffer.of((chunk[0] ?? 0) ^ 1), chunk.subarray(1)]);
    };
    const storage = open(server, container, { blockSize: BLOCK, port: proxy.port });
    await expect(storage.put('key', bytes(length, BLOCK), { ifAbsent: true })).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      retriable: true,
      message: expect.stringContaining('Md5Mismatch'),
    });
    expect(changed).toBeGreaterThan(0);
    expect(await keysOf(storage)).toEqual([]);
    await storage.close();
  });

  test('an upload that goes on slowly is no peer that is gone', async () => {
    proxy.delay = 25;
    const storage = open(server, container, { port: proxy.port, timeout: 3 });
    const begun = performance.now();
    await storage.put('key', bytes(12 * MIB, MIB), { ifAbsent: true });
    expect(performance.now() - begun).toBeGreaterThan(3500);
    expect(proxy.counts()).toEqual({ PUT: 1 });
    await storage.close();
  });

  test.each([
    ['one request', 1000],
    ['blocks', 10 * BLOCK],
  ])('H-52 of 20 racing writers by %s one wins, and the object is its', async (_, length) => {
    const storages = Array.from({ length: 20 }, () => open(server, container, { blockSize: BLOCK }));
    const contents = storages.map((_, writer) => Buffer.alloc(length + writer, writer + 1));
    const results = await Promise.allSettled(
      storages.map((storage, writer) => storage.put('key', body(contents[writer] ?? ''), { ifAbsent: true })),
    );
    const winners = results.flatMap(({ status }, writer) => (status === 'fulfilled' ? [writer] : []));
    expect(winners).toHaveLength(1);
    for (const result of results) {
      if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'STORAGE_EXISTS' });
    }
    const [storage] = storages;
    if (storage === undefined) throw new Error('no storage');
    expect((await read(storage, 'key')).equals(contents[winners[0] ?? -1] ?? Buffer.alloc(0))).toBe(true);
    await Promise.all(storages.map((each) => each.close()));
  });

  test('blocks of a put that failed are not to be seen, and do not keep others from the name', async () => {
    const storage = open(server, container, { blockSize: BLOCK });
    const thrown = new Error('the source failed');
    const failing = async function* (): AsyncGenerator<Uint8Array> {
      yield* bytes(8 * BLOCK, BLOCK);
      throw thrown;
    };
    await expect(storage.put('key', failing(), { ifAbsent: true })).rejects.toBe(thrown);
    const blocks = await server.container(container).getBlockBlobClient('key').getBlockList('uncommitted');
    expect(blocks.uncommittedBlocks?.length).toBeGreaterThan(0);
    expect(await keysOf(storage)).toEqual([]);
    await expect(storage.stat('key')).rejects.toMatchObject({ code: 'STORAGE_NOT_FOUND' });
    await put(storage, 'key', 'by one request');
    expect((await read(storage, 'key')).toString()).toBe('by one request');
    await expect(put(storage, 'key')).rejects.toMatchObject({ code: 'STORAGE_EXISTS' });
    await storage.close();
  });

  test('STOR-02 what a body throws is not taken for an answer to the put, though it looks like one', async () => {
    const storage = open(server, container, { blockSize: BLOCK });
    await put(storage, 'key');
    const thrown = new ArchiveError('STORAGE_DENIED', 'reading something failed', {
      details: { code: 'BlobImmutableDueToPolicy', status: 403 },
    });
    for (const length of [1, 8 * BLOCK]) {
      const failing = async function* (): AsyncGenerator<Uint8Array> {
        yield* bytes(length, BLOCK);
        throw thrown;
      };
      await expect(storage.put('key', failing(), { ifAbsent: true })).rejects.toBe(thrown);
    }
    await storage.close();
  });

  test('a commit whose blocks another one has dropped tells whether the object is there', async () => {
    proxy.answer = ({ comp }) => (comp === 'blocklist' ? { status: 400, code: 'InvalidBlockList' } : undefined);
    const storage = open(server, container, { blockSize: BLOCK, port: proxy.port });
    const store = (): Promise<void> => storage.put('key', bytes(8 * BLOCK, BLOCK), { ifAbsent: true });
    await expect(store()).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE', retriable: true });
    await server.container(container).uploadBlockBlob('key', 'x', 1);
    await expect(store()).rejects.toMatchObject({ code: 'STORAGE_EXISTS' });
    await storage.close();
  });

  test('a block that fails ends the put with its error at once, though the body never answers again', async () => {
    proxy.answer = ({ comp }) =>
      comp === 'block' ? { status: 403, code: 'AuthorizationPermissionMismatch' } : undefined;
    const storage = open(server, container, { blockSize: BLOCK, port: proxy.port });
    let ended = false;
    const silent: AsyncIterable<Uint8Array> = {
      [Symbol.asyncIterator]: () => {
        const chunks = bytes(6 * BLOCK, BLOCK);
        return {
          next: async () => {
            const step = await chunks.next();
            return step.done === true ? new Promise<never>(() => undefined) : step;
          },
          return: async () => {
            ended = true;
            return { done: true, value: undefined };
          },
        };
      },
    };
    await expect(storage.put('key', silent, { ifAbsent: true })).rejects.toMatchObject({ code: 'STORAGE_DENIED' });
    expect(ended).toBe(true);
    expect(await keysOf(storage)).toEqual([]);
    await storage.close();
  });

  test('an abort on the way of the last request leaves nothing until all of it is sent', async () => {
    const slow = await Proxy.listen({ port: server.port });
    slow.stall();
    const storage = open(server, container, { port: slow.port });
    const abort = new AbortController();
    // More than the buffers of a connection take.
    const stored = storage.put('key', bytes(24 * MIB, MIB), { ifAbsent: true, signal: abort.signal });
    await sleep(500);
    expect(slow.connections).toBe(1);
    abort.abort();
    await expect(stored).rejects.toMatchObject({ code: 'ABORTED' });
    slow.resume();
    await sleep(200);
    expect(await keysOf(open(server, container))).toEqual([]);
    await slow.close();
  });

  test('an abort that comes after all was sent waits for what came of it', async () => {
    const slow = await Proxy.listen({ port: server.port });
    slow.stall();
    const storage = open(server, container, { port: slow.port });
    const abort = new AbortController();
    const stored = storage.put('key', body('content'), { ifAbsent: true, signal: abort.signal });
    await sleep(500);
    abort.abort();
    const result = stored.then(
      () => 'stored',
      (error: unknown) => (isArchiveError(error) ? error.code : String(error)),
    );
    await sleep(100);
    slow.resume();
    expect(await result).toBe('stored');
    expect(await keysOf(storage)).toEqual(['key']);
    await storage.close();
    await slow.close();
  });

  test('a body of more blocks than the service takes is refused before it is sent', async () => {
    const storage = open(server, container, { blockSize: BLOCK, port: proxy.port });
    const stored = storage.put('key', body('x'), { ifAbsent: true, size: 50_000 * BLOCK + 1 });
    await expect(stored).rejects.toMatchObject({
      code: 'STORAGE_MISCONFIGURED',
      hint: expect.stringContaining('blockSize'),
    });
    expect(proxy.seen).toEqual([]);
    await storage.close();
  });

  test('tier and retention are said by the request that stores the object, a retention that has ended is not', async () => {
    const storage = open(server, container, {
      accessTier: 'Cool',
      blockSize: BLOCK,
      immutability: 'Locked',
      port: proxy.port,
    });
    expect(storage.capabilities.retention).toBe(true);
    const retainUntil = new Date(Date.UTC(2100, 0, 1));
    await storage.put('one', body('x'), { ifAbsent: true, retainUntil });
    await storage.put('many', bytes(8 * BLOCK, BLOCK), { ifAbsent: true, retainUntil });
    await storage.put('past', body('x'), { ifAbsent: true, retainUntil: new Date(0) });
    const said = proxy.seen
      .filter(({ comp }) => comp !== 'block')
      .map(({ headers }) => [
        headers['x-ms-access-tier'],
        headers['x-ms-immutability-policy-mode'],
        headers['x-ms-immutability-policy-until-date'],
      ]);
    const locked = ['Cool', 'Locked', 'Fri, 01 Jan 2100 00:00:00 GMT'];
    expect(said).toEqual([locked, locked, ['Cool', undefined, undefined]]);
    const { accessTier } = await server.container(container).getBlobClient('many').getProperties();
    expect(accessTier).toBe('Cool');
    await storage.close();

    const without = open(server, container);
    expect(without.capabilities.retention).toBe(false);
    await without.put('no lock', body('x'), { ifAbsent: true, retainUntil: new Date(0) });
    await expect(without.put('key', body('x'), { ifAbsent: true, retainUntil })).rejects.toMatchObject({
      code: 'STORAGE_MISCONFIGURED',
    });
    await without.close();
  });
});
