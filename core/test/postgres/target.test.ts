import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Secret } from '../../src/contracts/secret.ts';
import { plainTarget, resolveTarget, targetFromPlain, type ConnectionTarget } from '../../src/postgres/target.ts';

let home = '';
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'pgark-home-'));
});
afterEach(() => {
  rmSync(home, { recursive: true });
});

const resolve = (url: string, env: NodeJS.ProcessEnv = {}): Promise<ConnectionTarget> =>
  resolveTarget({ url }, { env, home });

test('defaults: the sockets, the system user, prefer TLS, no password', async () => {
  const target = await resolveTarget({}, { env: {}, home });
  expect(target).toEqual({
    hosts: [
      { host: '/var/run/postgresql', port: 5432 },
      { host: '/tmp', port: 5432 },
    ],
    shuffle: false,
    user: userInfo().username,
    database: userInfo().username,
    passwordFile: join(home, '.pgpass'),
    tls: { mode: 'prefer', negotiation: 'postgres', folder: join(home, '.postgresql'), sni: true },
    channelBinding: 'prefer',
    targetSessionAttrs: 'any',
    connectTimeout: 10_000,
    applicationName: 'pgark',
    warnings: [],
  });
});

test('every variable of the environment counts', async () => {
  const target = await resolve('', {
    PGHOST: 'db1,db2',
    PGHOSTADDR: '10.0.0.1,10.0.0.2',
    PGPORT: '5433',
    PGDATABASE: 'app',
    PGUSER: 'archiver',
    PGPASSWORD: 'secret',
    PGPASSFILE: '/etc/pgpass',
    PGOPTIONS: '-c geqo=off',
    PGAPPNAME: 'mine',
    PGSSLMODE: 'verify-full',
    PGSSLROOTCERT: '/etc/root.crt',
    PGSSLCERT: '/etc/client.crt',
    PGSSLKEY: '/etc/client.key',
    PGSSLNEGOTIATION: 'direct',
    PGCONNECT_TIMEOUT: '3',
    PGTARGETSESSIONATTRS: 'prefer-standby',
    PGCHANNELBINDING: 'require',
    PGLOADBALANCEHOSTS: 'random',
  });
  expect(target.password?.reveal()).toBe('secret');
  expect({ ...target, password: undefined }).toEqual({
    hosts: [
      { host: 'db1', port: 5433, address: '10.0.0.1' },
      { host: 'db2', port: 5433, address: '10.0.0.2' },
    ],
    shuffle: true,
    user: 'archiver',
    database: 'app',
    password: undefined,
    passwordFile: '/etc/pgpass',
    options: '-c geqo=off',
    applicationName: 'mine',
    tls: {
      mode: 'verify-full',
      negotiation: 'direct',
      folder: join(home, '.postgresql'),
      rootCertificate: '/etc/root.crt',
      certificate: '/etc/client.crt',
      key: '/etc/client.key',
      sni: true,
    },
    connectTimeout: 3000,
    targetSessionAttrs: 'prefer-standby',
    channelBinding: 'require',
    warnings: [],
  });
});

test('the URL comes before the service file, that before the environment', async () => {
  writeFileSync(
    join(home, '.pg_service.conf'),
    '# mine\n[other]\nhost=no\n\n[main]\nhost=from-service\nport=1\nuser=from-service\nsslpassword=a = b\n',
  );
  const target = await resolve('postgres://from-url@/?service=main', {
    PGHOST: 'from-env',
    PGPORT: '2',
    PGUSER: 'from-env',
    PGDATABASE: 'from-env',
  });
  expect(target).toMatchObject({ hosts: [{ host: 'from-service', port: 1 }], user: 'from-url', database: 'from-env' });
  expect(target.tls.keyPassword?.reveal()).toBe('a = b');
});

describe('the service file', () => {
  test('PGSERVICEFILE comes before PGSYSCONFDIR', async () => {
    const file = join(home, 'services');
    mkdirSync(join(home, 'etc'));
    writeFileSync(file, '[a]\nhost=a1\n');
    writeFileSync(join(home, 'etc', 'pg_service.conf'), '[a]\nhost=a2\n[b]\nhost=b2\n');
    const env = { PGSERVICEFILE: file, PGSYSCONFDIR: join(home, 'etc') };
    expect((await resolve('', { ...env, PGSERVICE: 'a' })).hosts[0]?.host).toBe('a1');
    expect((await resolve('service=b', env)).hosts[0]?.host).toBe('b2');
  });

  test.each([
    ['[a]\nhost\n', 'line 2'],
    ['host=x\n', 'line 1'],
    ['[a]\nservice=b\n', 'line 2'],
    ['[a]\nhots=x\n', '"hots"'],
    ['[b]\nhost=x\n', 'no definition of the service "a"'],
  ])('%j is refused', async (text, message) => {
    writeFileSync(join(home, '.pg_service.conf'), text);
    await expect(resolve('service=a')).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining(message),
    });
  });
});

test('hosts, addresses and ports pair up', async () => {
  expect((await resolve('host=a,b,/run port=1,,3')).hosts).toEqual([
    { host: 'a', port: 1 },
    { host: 'b', port: 5432 },
    { host: '/run', port: 3 },
  ]);
  expect((await resolve('hostaddr=10.0.0.1')).hosts).toEqual([{ host: '10.0.0.1', address: '10.0.0.1', port: 5432 }]);
});

test.each([
  'host=a,b port=1,2,3',
  'host=a,b hostaddr=10.0.0.1',
  'port=0',
  'port=65536',
  'port=abc',
  'host=@abstract',
  'sslmode=no-verify',
  'target_session_attrs=master',
  'connect_timeout=soon',
  'sslrootcert=system sslmode=require',
  'sslnegotiation=direct sslmode=prefer',
  'sslnegotiation=direct',
  'require_auth=scram-sha-256',
  'gssencmode=require',
  'requirepeer=postgres',
])('%s is refused', async (text) => {
  await expect(resolve(text)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
});

test('a demand of the environment that is not supported is refused too', async () => {
  await expect(resolve('', { PGREQUIREAUTH: 'scram-sha-256' })).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  await expect(resolve('', { PGGSSENCMODE: 'disable', PGCLIENTENCODING: 'UTF8' })).resolves.toBeDefined();
});

test('sslrootcert=system means verify-full', async () => {
  expect((await resolve('sslrootcert=system')).tls).toMatchObject({ mode: 'verify-full', rootCertificate: 'system' });
});

test('the caller names the application when nobody else does', async () => {
  const options = { env: {}, home, applicationName: 'slot1' };
  expect((await resolveTarget({ url: 'host=a' }, options)).applicationName).toBe('slot1');
  expect((await resolveTarget({ url: 'host=a application_name=other' }, options)).applicationName).toBe('other');
});

test('a password file that others may read gives a warning, unless a password is given', async () => {
  writeFileSync(join(home, '.pgpass'), '*:*:*:*:x\n');
  chmodSync(join(home, '.pgpass'), 0o644);
  expect((await resolve('host=a')).warnings).toEqual([expect.stringContaining('.pgpass is ignored')]);
  expect((await resolve('host=a password=y')).warnings).toEqual([]);
});

test('H-64 the password is in no print of a target, and crosses to another thread', async () => {
  const target = await resolveTarget(
    { url: new Secret('postgres://u:hunter2@h/?sslpassword=hunter2') },
    { env: {}, home },
  );
  const prints = [inspect(target, { depth: 9 }), JSON.stringify(target), String(target.password)];
  expect(prints.join()).not.toContain('hunter2');
  const copy = targetFromPlain(structuredClone(plainTarget(target)));
  expect(copy.password?.reveal()).toBe('hunter2');
  expect(copy.tls.keyPassword?.reveal()).toBe('hunter2');
  expect({ ...copy, password: 0, tls: { ...copy.tls, keyPassword: 0 } }).toEqual({
    ...target,
    password: 0,
    tls: { ...target.tls, keyPassword: 0 },
  });
});
