import { inspect } from 'node:util';
import { Secret, type ErrorCode, type Storage } from '@pgark/sdk';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ACCOUNT_KEY, AzureServer, azureMissing } from '../../../test/support/azure-server.ts';
import { body, collect, keysOf, open, put, read } from './helpers.ts';
import { HttpProxy } from './http-proxy.ts';

describe.skipIf(azureMissing !== undefined)('errors', () => {
  let server: AzureServer;
  let proxy: HttpProxy;
  beforeAll(async () => {
    server = await AzureServer.start();
    await server.createContainer('errors');
  });
  afterAll(() => server?.stop());
  beforeEach(async () => {
    proxy = await HttpProxy.listen(server.port);
  });
  afterEach(() => proxy.close());

  const CALLS: Readonly<Record<string, (storage: Storage) => Promise<unknown>>> = {
    put: (storage) => put(storage, 'key'),
    get: (storage) => read(storage, 'key'),
    stat: (storage) => storage.stat('key'),
    list: (storage) => keysOf(storage),
    remove: (storage) => storage.remove(['key']),
  };

  test.each<[number, string, ErrorCode]>([
    [400, 'InvalidHeaderValue', 'STORAGE_MISCONFIGURED'],
    [401, 'NoAuthenticationInformation', 'STORAGE_DENIED'],
    [403, 'AuthenticationFailed', 'STORAGE_DENIED'],
    [403, 'AuthorizationFailure', 'STORAGE_DENIED'],
    [403, 'AuthorizationPermissionMismatch', 'STORAGE_DENIED'],
    [403, 'KeyBasedAuthenticationNotPermitted', 'STORAGE_DENIED'],
    [404, 'ContainerNotFound', 'STORAGE_MISCONFIGURED'],
    [404, 'ResourceNotFound', 'STORAGE_MISCONFIGURED'],
    [408, 'RequestTimeout', 'STORAGE_UNAVAILABLE'],
    [409, 'ContainerBeingDeleted', 'STORAGE_MISCONFIGURED'],
    [409, 'AccountBeingCreated', 'STORAGE_UNAVAILABLE'],
    [429, 'TooManyRequests', 'STORAGE_UNAVAILABLE'],
    [500, 'InternalError', 'STORAGE_UNAVAILABLE'],
    [500, 'OperationTimedOut', 'STORAGE_UNAVAILABLE'],
    [503, 'ServerBusy', 'STORAGE_UNAVAILABLE'],
    [507, 'InsufficientStorage', 'STORAGE_FULL'],
  ])('H-50 %i %s is %s in every call, after one request', async (status, code, expected) => {
    for (const [name, call] of Object.entries(CALLS)) {
      proxy.answer = () => ({ status, code });
      proxy.seen.length = 0;
      const storage = open(server, 'errors', { port: proxy.port });
      await expect(call(storage), name).rejects.toMatchObject({
        code: expected,
        message: expect.stringContaining(`${code} (${status})`),
      });
      // The library would try 500 and 503 again, after seconds. A put that was refused looks whether the object is there.
      const looks = name === 'put' && status === 403 ? { HEAD: 1 } : {};
      expect(Object.values(proxy.counts()), name).toEqual([1, ...Object.values(looks)]);
      await storage.close();
    }
  });

  test.each<[number, string, ErrorCode]>([
    [409, 'BlobAlreadyExists', 'STORAGE_EXISTS'],
    [412, 'ConditionNotMet', 'STORAGE_EXISTS'],
    [403, 'UnauthorizedBlobOverwrite', 'STORAGE_EXISTS'],
    [409, 'BlobImmutableDueToPolicy', 'STORAGE_EXISTS'],
  ])('%i %s of a put with ifAbsent on an object that is there is %s', async (status, code, expected) => {
    const direct = open(server, 'errors');
    await direct.put('there', body('x'), { ifAbsent: false });
    proxy.answer = ({ method }) => (method === 'PUT' ? { status, code } : undefined);
    const storage = open(server, 'errors', { port: proxy.port });
    await expect(put(storage, 'there')).rejects.toMatchObject({ code: expected });
    // Nobody may look: the condition failed all the same.
    proxy.answer = ({ method }) =>
      method === 'PUT' ? { status, code } : { status: 403, code: 'AuthorizationPermissionMismatch' };
    await expect(put(storage, 'there')).rejects.toMatchObject({ code: expected });
    await storage.close();
    await direct.close();
  });

  test('an object that cannot be replaced because of a policy is STORAGE_DENIED', async () => {
    proxy.answer = () => ({ status: 409, code: 'BlobImmutableDueToPolicy' });
    const storage = open(server, 'errors', { port: proxy.port });
    await expect(storage.put('key', body('x'), { ifAbsent: false })).rejects.toMatchObject({ code: 'STORAGE_DENIED' });
    await storage.close();
  });

  test('STOR-14 what a policy or a legal hold protects comes back as retained, the rest is removed', async () => {
    const direct = open(server, 'errors');
    const keys = Array.from({ length: 40 }, (_, index) => `removed/${index}`);
    for (const key of keys) await put(direct, key);
    const kept: Readonly<Record<string, string>> = {
      'removed/7': 'BlobImmutableDueToPolicy',
      'removed/31': 'BlobImmutableDueToLegalHold',
    };
    proxy.answer = ({ method, url }) => {
      const code = kept[url.split('/').slice(-2).join('/')];
      return method === 'DELETE' && code !== undefined ? { status: 409, code } : undefined;
    };
    const storage = open(server, 'errors', { port: proxy.port });
    expect(await storage.remove([...keys, 'removed/7'])).toEqual({ retained: ['removed/7', 'removed/31'] });
    expect(proxy.counts()).toEqual({ DELETE: 40 });
    expect(proxy.most.get('')).toBeGreaterThan(1);
    expect(proxy.most.get('')).toBeLessThanOrEqual(16);
    expect(await keysOf(direct, 'removed/')).toEqual(['removed/31', 'removed/7']);
    await storage.close();
    await direct.close();
  });

  test('an object with snapshots is removed with them', async () => {
    const storage = open(server, 'errors');
    await put(storage, 'with-snapshot');
    await server.container('errors').getBlobClient('with-snapshot').createSnapshot();
    expect(await storage.remove(['with-snapshot'])).toEqual({ retained: [] });
    const left = await collect(
      server.container('errors').listBlobsFlat({ prefix: 'with-snapshot', includeSnapshots: true }),
    );
    expect(left).toEqual([]);
    await storage.close();
  });

  test('an object in the archive tier cannot be read, and the hint says why', async () => {
    const storage = open(server, 'errors');
    await put(storage, 'archived');
    await server.container('errors').getBlobClient('archived').setAccessTier('Archive');
    await expect(read(storage, 'archived')).rejects.toMatchObject({
      code: 'STORAGE_MISCONFIGURED',
      message: expect.stringContaining('BlobArchived'),
      hint: expect.stringContaining('rehydrate'),
    });
    await storage.close();
  });

  test('STOR-06 the container and the object are told apart also where the answer has no body', async () => {
    const storage = open(server, 'no-such-container');
    await expect(storage.stat('key')).rejects.toMatchObject({
      code: 'STORAGE_MISCONFIGURED',
      message: expect.stringContaining('ContainerNotFound'),
    });
    // A proxy on the way that knows nothing of the service: no answer of the service.
    proxy.answer = () => ({ status: 404, code: '' });
    const misled = open(server, 'errors', { port: proxy.port });
    for (const [name, call] of Object.entries(CALLS)) {
      await expect(call(misled), name).rejects.toMatchObject({ code: 'STORAGE_MISCONFIGURED' });
    }
    await storage.close();
    await misled.close();
  });

  test('a host that does not exist is STORAGE_UNAVAILABLE, and named', async () => {
    const storage = open(server, 'errors', { endpoint: 'http://account.blob.invalid' });
    await expect(storage.stat('key')).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      retriable: true,
      message: expect.stringMatching(/ENOTFOUND|EAI_AGAIN/),
      cause: expect.objectContaining({ message: expect.stringContaining('account.blob.invalid') }),
    });
    await storage.close();
  });

  test('a wrong key is STORAGE_DENIED, and no error holds a key or a signature', async () => {
    const key = Buffer.from('a wrong key of the account').toString('base64');
    const sas = 'sv=2024-11-04&sr=c&sp=rl&se=2100-01-01T00%3A00%3A00Z&sig=c2lnbmF0dXJlIG9mIHRoZSBzYXM%3D';
    for (const storage of [
      open(server, 'errors', { accountKey: new Secret(key) }),
      open(server, 'errors', { sasToken: new Secret(sas) }),
      open(server, 'errors', { sasToken: new Secret(sas), endpoint: 'http://account.blob.invalid' }),
      open(server, 'errors', { sasToken: new Secret(`?${sas}`) }),
    ]) {
      for (const call of Object.values(CALLS)) {
        const error: unknown = await call(storage).catch((failure: unknown) => failure);
        expect(error).toMatchObject({ code: expect.stringMatching(/STORAGE_(?:DENIED|UNAVAILABLE)/) });
        const shown = inspect(error, { depth: Infinity, showHidden: true }) + JSON.stringify(error);
        for (const secret of [key, ACCOUNT_KEY, 'c2lnbmF0dXJl']) expect(shown).not.toContain(secret);
      }
      await storage.close();
    }
  });
});
