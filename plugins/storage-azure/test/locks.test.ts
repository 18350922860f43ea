/** Immutability policies, with answers like the service's: Azurite has none. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Secret } from '@pgark/sdk';
import { AzureStorage, type AzureStorageOptions } from '@pgark/storage-azure';
import { expect, onTestFinished, test } from 'vitest';
import { ACCOUNT, ACCOUNT_KEY } from '../../../test/support/azure-server.ts';

const SECOND = 1000;
/** HTTP dates are whole seconds. */
const NOW = Math.floor(Date.now() / SECOND) * SECOND;
const at = (seconds: number): Date => new Date(NOW + seconds * SECOND);

test('STOR-19 a policy is looked at, and extended when it ends early enough; one that ends later is left', async () => {
  const ends: Record<string, Date | undefined> = { early: at(60), late: at(600), free: undefined };
  const modes: unknown[] = [];
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '', 'http://server');
    const key = url.pathname.split('/').at(-1) ?? '';
    request.resume();
    if (!(key in ends)) return response.writeHead(404, { 'x-ms-error-code': 'BlobNotFound' }).end();
    if (request.method === 'PUT' && url.searchParams.get('comp') === 'immutabilityPolicies') {
      modes.push(request.headers['x-ms-immutability-policy-mode']);
      ends[key] = new Date(String(request.headers['x-ms-immutability-policy-until-date']));
      return response.writeHead(200).end();
    }
    const until = ends[key]?.toUTCString();
    return response
      .writeHead(200, {
        'content-length': '1',
        'last-modified': at(-60).toUTCString(),
        ...(until !== undefined && { 'x-ms-immutability-policy-until-date': until }),
      })
      .end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}/${ACCOUNT}`;
  const open = (options: Partial<AzureStorageOptions>): AzureStorage => {
    const accountKey = new Secret(ACCOUNT_KEY);
    const storage = new AzureStorage({ account: ACCOUNT, container: 'archive', endpoint, accountKey, ...options });
    onTestFinished(() => storage.close());
    return storage;
  };
  const storage = open({ immutability: 'Locked' });
  const until = at(300);
  expect(await storage.retain('early', until)).toEqual(until);
  expect(await storage.retain('late', until)).toEqual(at(600));
  expect(await storage.retain('free', until)).toEqual(until);
  expect(await storage.retain('free', at(900), { ifBefore: at(200) })).toEqual(until);
  expect(ends).toEqual({ early: until, late: at(600), free: until });
  expect(modes).toEqual(['Locked', 'Locked']);
  await expect(storage.retain('nothing', until)).rejects.toMatchObject({ code: 'STORAGE_NOT_FOUND' });
  await expect(open({}).retain('early', until)).rejects.toMatchObject({ code: 'STORAGE_UNSUPPORTED' });
});
