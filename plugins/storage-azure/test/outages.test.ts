/** The network breaks in the middle of an upload whose body comes only once: it is sent on, block by block. */
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { storageStack } from '../../../core/src/storage/stack.ts';
import { AzureServer, azureMissing } from '../../../test/support/azure-server.ts';
import { FAULTS, putThroughOutage, SILENCE } from '../../../test/support/outage.ts';
import { Proxy } from '../../../test/support/proxy.ts';
import { silentLogger } from '../../../test/support/silent-logger.ts';
import { bytes, collect, keysOf, open, read } from './helpers.ts';
import { HttpProxy } from './http-proxy.ts';

const MIB = 1024 * 1024;
const BLOCKS = { blockSize: MIB };

describe.skipIf(azureMissing !== undefined)('outages in the middle of an upload', () => {
  let server: AzureServer;
  let gateway: HttpProxy;
  beforeAll(async () => {
    server = await AzureServer.start();
    await server.createContainer('outages');
  });
  afterAll(() => server?.stop());
  beforeEach(async () => {
    gateway = await HttpProxy.listen(server.port);
    onTestFinished(() => gateway.close());
  });

  test.each(FAULTS)('STOR-18 a body that comes once arrives whole through an outage (%s)', async (fault) => {
    const proxy = await Proxy.listen({ port: server.port });
    const limit = fault === 'silence' ? { timeout: SILENCE / 1000 } : {};
    const storage = open(server, 'outages', { ...BLOCKS, port: proxy.port, ...limit });
    const outage = await putThroughOutage(storage, proxy, fault, fault, { bytes: 24 * MIB, after: 12 * MIB });
    expect(outage.connections).toBeGreaterThan(0);
    expect(outage.retries.filter(({ what }) => /^put \w+: block \d+$/.test(what)).length).toBeGreaterThan(0);
    // Four on their way and as many that wait for those before them; one more is filled.
    if (fault !== 'cut') expect(outage.taken).toBeLessThanOrEqual(9 * MIB);
    expect((await read(open(server, 'outages'), fault)).equals(outage.content)).toBe(true);
    await storage.close();
    await proxy.close();
  });

  test.each<[string, string, number]>([
    ['of one request', '', 3 * MIB],
    ['of blocks', 'blocklist', 12 * MIB],
  ])('STOR-18 an object %s whose last answer is lost is found to be there', async (name, comp, length) => {
    const storage = open(server, 'outages', { ...BLOCKS, port: gateway.port });
    const stack = storageStack(storage, { logger: silentLogger, retry: { firstDelay: 1 } });
    let lost = 0;
    gateway.loses = (seen) => seen.method === 'PUT' && seen.comp === comp && ++lost === 1;
    await stack.put(`lost ${name}`, bytes(length, MIB / 2), { ifAbsent: true });
    expect(lost).toBe(1);
    const content = Buffer.concat(await collect(bytes(length, MIB / 2)));
    expect((await read(open(server, 'outages'), `lost ${name}`)).equals(content)).toBe(true);
    // Another put of the key is another one, whatever it finds there.
    const again = stack.put(`lost ${name}`, bytes(length, MIB / 2), { ifAbsent: true });
    await expect(again).rejects.toMatchObject({ code: 'STORAGE_EXISTS' });
    await storage.close();
  });

  test('after the deadline it fails, and leaves nothing', async () => {
    const storage = open(server, 'outages', { ...BLOCKS, port: gateway.port });
    const stack = storageStack(storage, { logger: silentLogger, retry: { firstDelay: 50, deadline: 400 } });
    let refused = 0;
    gateway.answer = ({ comp }) => {
      if (comp !== 'block' || gateway.seen.length < 6) return undefined;
      refused++;
      return { status: 503, code: 'ServerBusy' };
    };
    const put = stack.put('given up', bytes(24 * MIB, MIB), { ifAbsent: true });
    await expect(put).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE', retriable: true });
    expect(refused).toBeGreaterThan(4);
    expect(await keysOf(storage, 'given up')).toEqual([]);
    await storage.close();
  });

  test('blocks that the service has dropped end a body that comes once', async () => {
    const storage = open(server, 'outages', { ...BLOCKS, port: gateway.port });
    const stack = storageStack(storage, { logger: silentLogger, retry: { firstDelay: 1 } });
    let commits = 0;
    gateway.answer = ({ comp }) => {
      if (comp !== 'blocklist') return undefined;
      commits++;
      return { status: 400, code: 'InvalidBlockList' };
    };
    const put = stack.put('dropped', bytes(8 * MIB, MIB), { ifAbsent: true });
    await expect(put).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE', details: { code: 'InvalidBlockList' } });
    expect(commits).toBe(1);
    await storage.close();
  });
});
