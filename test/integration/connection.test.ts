import { once } from 'node:events';
import { chmodSync, copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { isArchiveError, type ArchiveError } from '../../core/src/contracts/errors.ts';
import { openClient, openSession } from '../../core/src/postgres/connect.ts';
import { ReplicationConnection } from '../../core/src/postgres/replication/connection.ts';
import { resolveTarget, type ConnectionTarget } from '../../core/src/postgres/target.ts';
import { freePort } from '../support/free-port.ts';
import { CertificateAuthority, type CertificateFiles } from '../support/certificates.ts';
import { PostgresServer, removeFolder, temporaryFolder } from '../support/postgres.ts';

const PASSWORD = `p:a\\ss w'ord`;
let folder = '';
let home = '';
let server: PostgresServer;
let authority: CertificateAuthority;
let stranger: CertificateAuthority;
let client: CertificateFiles;

beforeAll(async () => {
  folder = temporaryFolder('connection');
  authority = new CertificateAuthority(folder, 'authority');
  stranger = new CertificateAuthority(folder, 'stranger');
  const own = authority.issue('server', { alternative: 'DNS:localhost', server: true });
  client = authority.issue('certified');
  server = await PostgresServer.create({
    settings: {
      max_wal_senders: '2',
      ssl: 'on',
      ssl_cert_file: own.certificate,
      ssl_key_file: own.key,
      ssl_ca_file: authority.root,
    },
  });
  server.setHba([
    'local all all trust',
    'local replication all trust',
    ...['postgres', 'norep', 'nologin'].flatMap((user) => [
      `host all ${user} all trust`,
      `host replication ${user} all trust`,
    ]),
    'host all scram all scram-sha-256',
    'host replication scram all scram-sha-256',
    'hostssl all tlsonly all trust',
    'hostnossl all plainonly all trust',
    'hostssl all certified all cert',
  ]);
  await server.start();
  for (const role of ['tlsonly', 'plainonly', 'certified', 'norep', 'nohba'])
    await server.query(`CREATE ROLE ${role} LOGIN`);
  await server.query('CREATE ROLE nologin');
  await server.query(`CREATE ROLE scram LOGIN REPLICATION PASSWORD '${PASSWORD.replaceAll("'", "''")}'`);
});

afterAll(async () => {
  await server.destroy();
  removeFolder(folder);
});

beforeEach(() => {
  home = join(folder, `home-${Math.random()}`);
  mkdirSync(join(home, '.postgresql'), { recursive: true });
});

const target = (text: string): Promise<ConnectionTarget> =>
  resolveTarget({ url: `dbname=postgres port=${server.port} ${text}` }, { env: {}, home });

/** Whether the connection is encrypted, as the server sees it. */
async function encrypted(text: string): Promise<boolean> {
  const connection = await openClient(await target(text), { replication: false });
  try {
    const result = await connection.query<{ ssl: boolean }>('SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()');
    return result.rows[0]?.ssl ?? false;
  } finally {
    await connection.end();
  }
}

async function refusal(text: string, replication = false): Promise<ArchiveError> {
  try {
    const session = await openSession(await target(text), { replication });
    session.socket.destroy();
  } catch (error) {
    if (isArchiveError(error)) return error;
    throw error;
  }
  throw new Error(`connected: ${text}`);
}

function trust(certificateAuthority: CertificateAuthority): void {
  copyFileSync(certificateAuthority.root, join(home, '.postgresql', 'root.crt'));
}

describe('sslmode', () => {
  test.each([
    ['disable', 'postgres', false],
    ['allow', 'postgres', false],
    ['allow', 'tlsonly', true], // refused without TLS, so the second way is taken
    ['prefer', 'postgres', true],
    ['prefer', 'plainonly', false],
    ['require', 'postgres', true],
  ])('%s as %s without a root certificate: TLS is %s', async (mode, user, expected) => {
    expect(await encrypted(`host=127.0.0.1 user=${user} sslmode=${mode}`)).toBe(expected);
  });

  test.each([
    ['disable', 'tlsonly'],
    ['require', 'plainonly'],
  ])('%s as %s has no second way', async (mode, user) => {
    const error = await refusal(`host=127.0.0.1 user=${user} sslmode=${mode}`);
    expect(error).toMatchObject({ code: 'SERVER_AUTH', details: { sqlstate: '28000' } });
  });

  test('require verifies the chain when the default root certificate exists', async () => {
    trust(authority);
    expect(await encrypted('host=127.0.0.1 user=postgres sslmode=require')).toBe(true);
    trust(stranger);
    const error = await refusal('host=127.0.0.1 user=postgres sslmode=require');
    expect(error).toMatchObject({ code: 'SERVER_TLS', hint: expect.stringContaining('sslrootcert') });
  });

  test('prefer goes on without TLS when the chain does not verify', async () => {
    trust(stranger);
    expect(await encrypted('host=127.0.0.1 user=postgres sslmode=prefer')).toBe(false);
  });

  test.each(['verify-ca', 'verify-full'])('%s needs a root certificate', async (mode) => {
    const error = await refusal(`host=localhost user=postgres sslmode=${mode}`);
    expect(error).toMatchObject({ code: 'SERVER_TLS', message: expect.stringContaining('root.crt does not exist') });
  });

  test.each(['verify-ca', 'verify-full'])('%s refuses another CA', async (mode) => {
    const error = await refusal(`host=localhost user=postgres sslmode=${mode} sslrootcert=${stranger.root}`);
    expect(error.code).toBe('SERVER_TLS');
  });

  test('verify-ca does not look at the host, verify-full does', async () => {
    const roots = `sslrootcert=${authority.root}`;
    expect(await encrypted(`host=127.0.0.1 user=postgres sslmode=verify-ca ${roots}`)).toBe(true);
    expect(await encrypted(`host=localhost user=postgres sslmode=verify-full ${roots}`)).toBe(true);
    expect(await encrypted(`host=localhost hostaddr=127.0.0.1 user=postgres sslmode=verify-full ${roots}`)).toBe(true);
    for (const host of ['host=127.0.0.1', 'host=db1 hostaddr=127.0.0.1']) {
      const error = await refusal(`${host} user=postgres sslmode=verify-full ${roots}`);
      expect(error).toMatchObject({ code: 'SERVER_TLS', hint: expect.stringContaining('verify-ca') });
    }
  });

  test('sslrootcert=system does not know our CA', async () => {
    expect(await refusal('host=localhost user=postgres sslrootcert=system')).toMatchObject({ code: 'SERVER_TLS' });
  });

  test('is ignored on a socket', async () => {
    expect(await encrypted(`host=${server.folder} user=postgres sslmode=verify-full`)).toBe(false);
  });

  test('direct negotiation, and a server that does not know it', async () => {
    const direct = `user=postgres sslmode=verify-full sslnegotiation=direct sslrootcert=${authority.root}`;
    expect(await encrypted(`host=localhost ${direct}`)).toBe(true);
    const old = await PostgresServer.start({ major: 15 });
    try {
      const error = await refusal(`host=localhost port=${old.port} ${direct}`);
      expect(error).toMatchObject({ code: 'SERVER_TLS', hint: expect.stringContaining('17') });
      expect(await refusal(`host=127.0.0.1 port=${old.port} user=postgres sslmode=require`)).toMatchObject({
        code: 'SERVER_TLS',
        message: expect.stringContaining('does not support SSL'),
      });
      expect(await encrypted(`host=127.0.0.1 port=${old.port} user=postgres sslmode=prefer`)).toBe(false);
    } finally {
      await old.destroy();
    }
  });

  test('a client certificate logs in, by default files too', async () => {
    const files = `sslcert=${client.certificate} sslkey=${client.key}`;
    expect(await encrypted(`host=127.0.0.1 user=certified ${files}`)).toBe(true);
    expect(await refusal('host=127.0.0.1 user=certified sslmode=require')).toMatchObject({ code: 'SERVER_AUTH' });
    copyFileSync(client.certificate, join(home, '.postgresql', 'postgresql.crt'));
    expect(await refusal('host=127.0.0.1 user=certified sslmode=require')).toMatchObject({
      code: 'SERVER_TLS',
      message: expect.stringContaining('postgresql.key'),
    });
    copyFileSync(client.key, join(home, '.postgresql', 'postgresql.key'));
    expect(await encrypted('host=127.0.0.1 user=certified sslmode=require')).toBe(true);
    chmodSync(join(home, '.postgresql', 'postgresql.key'), 0o644);
    expect(await refusal('host=127.0.0.1 user=certified sslmode=require')).toMatchObject({
      code: 'SERVER_TLS',
      message: expect.stringContaining('may be read by others'),
    });
  });

  test('a replication connection over TLS takes a base backup', async () => {
    const connection = await ReplicationConnection.open(
      await target(`host=localhost user=postgres sslmode=verify-full sslrootcert=${authority.root}`),
    );
    let bytes = 0;
    await connection.baseBackup(
      { label: 'tls', checkpoint: 'fast', progress: false },
      {
        start: () => undefined,
        archive: () => undefined,
        manifest: () => undefined,
        progress: () => undefined,
        notice: () => undefined,
        data: (chunk) => {
          bytes += chunk.length;
        },
        pressure: () => (bytes % 7 === 0 ? Promise.resolve() : undefined),
      },
    );
    await connection.close();
    expect(bytes).toBeGreaterThan(20 << 20);
  });
});

describe('passwords', () => {
  const line = (database: string): string =>
    `127.0.0.1:${server.port}:${database}:scram:${PASSWORD.replaceAll(/([:\\])/g, '\\$1')}\n`;

  test('SCRAM with the password file: "replication" stands for replication connections', async () => {
    writeFileSync(join(home, '.pgpass'), line('replication'), { mode: 0o600 });
    const connection = await ReplicationConnection.open(await target('host=127.0.0.1 user=scram'));
    expect((await connection.identifySystem()).timeline).toBe(1);
    await connection.close();
    expect(await refusal('host=127.0.0.1 user=scram')).toMatchObject({
      code: 'SERVER_AUTH',
      message: expect.stringContaining('none is given'),
    });
    writeFileSync(join(home, '.pgpass'), line('postgres'));
    expect(await encrypted('host=127.0.0.1 user=scram')).toBe(true);
  });

  test('a password file that others may read is not used', async () => {
    writeFileSync(join(home, '.pgpass'), line('*'));
    chmodSync(join(home, '.pgpass'), 0o644);
    expect((await target('host=127.0.0.1 user=scram')).warnings).toHaveLength(1);
    expect(await refusal('host=127.0.0.1 user=scram', true)).toMatchObject({ code: 'SERVER_AUTH' });
  });

  test('a wrong password is SERVER_AUTH, and in no part of the error', async () => {
    const error = await refusal('host=127.0.0.1 user=scram password=hunter2', true);
    expect(error).toMatchObject({
      code: 'SERVER_AUTH',
      details: { sqlstate: '28P01' },
      hint: expect.stringContaining('password'),
    });
    expect(JSON.stringify([error, error.message, error.hint, String(error.stack)])).not.toContain('hunter2');
  });

  test('channel binding can be required', async () => {
    writeFileSync(join(home, '.pgpass'), line('*'), { mode: 0o600 });
    expect(await encrypted('host=127.0.0.1 user=scram channel_binding=require')).toBe(true);
    for (const weak of ['user=scram sslmode=disable', 'user=postgres']) {
      expect(await refusal(`host=127.0.0.1 channel_binding=require ${weak}`)).toMatchObject({
        code: 'SERVER_AUTH',
        message: expect.stringContaining('channel binding'),
      });
    }
  });
});

describe('refusals say what to do', () => {
  test.each([
    ['nohba', true, 'SERVER_AUTH', `"hostssl replication nohba 127.0.0.1/32 scram-sha-256" to pg_hba.conf`],
    ['norep', true, 'SERVER_AUTH', 'ALTER ROLE norep REPLICATION'],
    ['nologin', false, 'SERVER_AUTH', 'may log in'],
  ])('user %s (replication %s): %s', async (user, replication, code, hint) => {
    expect(await refusal(`host=127.0.0.1 user=${user} sslmode=require`, replication)).toMatchObject({
      code,
      hint: expect.stringContaining(hint),
    });
  });

  test('no database of that name', async () => {
    expect(await refusal('host=127.0.0.1 user=postgres dbname=none')).toMatchObject({
      code: 'SERVER_ERROR',
      details: { sqlstate: '3D000' },
    });
  });

  test('max_wal_senders reached: can be tried again', async () => {
    const open = await Promise.all(
      [1, 2].map(async () => ReplicationConnection.open(await target('host=127.0.0.1 user=postgres'))),
    );
    expect(await refusal('host=127.0.0.1 user=postgres', true)).toMatchObject({
      code: 'SERVER_ERROR',
      retriable: true,
      hint: expect.stringContaining('max_wal_senders'),
    });
    await Promise.all(open.map((connection) => connection.close()));
  });

  test('no socket, nobody listening, no such name', async () => {
    expect(await refusal('host=/nonexistent user=postgres')).toMatchObject({
      code: 'SERVER_UNREACHABLE',
      hint: expect.stringContaining('socket'),
    });
    expect(await refusal(`host=127.0.0.1 port=${await freePort()} user=postgres`)).toMatchObject({
      code: 'SERVER_UNREACHABLE',
    });
    expect(await refusal('host=no-such-host.invalid user=postgres')).toMatchObject({ code: 'SERVER_UNREACHABLE' });
  });
});

describe('a peer that is no server', () => {
  const sockets = new Set<Socket>();
  let listener: Server;
  let answer: Buffer | undefined;

  beforeAll(async () => {
    listener = createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('data', () => answer !== undefined && socket.write(answer));
    }).listen(0, '127.0.0.1');
    await once(listener, 'listening');
  });

  afterAll(() => {
    for (const socket of sockets) socket.destroy();
    listener.close();
  });

  const port = (): number => (listener.address() as { port: number }).port;

  test('silent: the timeout of each address ends it', async () => {
    answer = undefined;
    const error = await refusal(`host=127.0.0.1,127.0.0.1 port=${port()},${port()} user=postgres connect_timeout=1`);
    expect(error).toMatchObject({ code: 'SERVER_UNREACHABLE', details: { failures: [{}, {}] } });
    expect(error.message.match(/did not answer in 1 s/g)).toHaveLength(2);
  });

  test('silent: an abort ends it at once', async () => {
    answer = undefined;
    const abort = new AbortController();
    const opening = openClient(await target(`host=127.0.0.1 port=${port()} user=postgres connect_timeout=0`), {
      replication: false,
      signal: abort.signal,
    });
    setImmediate(() => {
      abort.abort();
    });
    await expect(opening).rejects.toMatchObject({ code: 'ABORTED' });
    await expect(
      openClient(await target('host=127.0.0.1 user=postgres'), { replication: false, signal: AbortSignal.abort() }),
    ).rejects.toMatchObject({ code: 'ABORTED' });
  });

  test('HTTP in place of TLS', async () => {
    answer = Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n');
    expect(await refusal(`host=127.0.0.1 port=${port()} user=postgres sslmode=require`)).toMatchObject({
      code: 'SERVER_TLS',
    });
  });

  test('a server below 15 is SERVER_UNSUPPORTED', async () => {
    const message = (code: string, body: string): Buffer => {
      const bytes = Buffer.from(`${code}....${body}`, 'latin1');
      bytes.writeUInt32BE(bytes.length - 1, 1);
      return bytes;
    };
    answer = Buffer.concat([
      message('R', '\0\0\0\0'),
      message('S', 'server_version\x0014.23 (Debian)\0'),
      message('Z', 'I'),
    ]);
    const old = ReplicationConnection.open(await target(`host=127.0.0.1 port=${port()} user=postgres sslmode=disable`));
    await expect(old).rejects.toMatchObject({ code: 'SERVER_UNSUPPORTED', message: expect.stringContaining('14.23') });
  });

  test('an authentication method that is not known does not end the process', async () => {
    answer = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 7]); // GSSAPI
    expect(await refusal(`host=127.0.0.1 port=${port()} user=postgres sslmode=disable`)).toMatchObject({
      code: 'SERVER_AUTH',
    });
  });
});
