import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openSession } from '../../core/src/postgres/connect.ts';
import { ReplicationConnection } from '../../core/src/postgres/replication/connection.ts';
import { resolveTarget, type ConnectionTarget } from '../../core/src/postgres/target.ts';
import { freePort } from '../support/free-port.ts';
import { PostgresServer } from '../support/postgres.ts';
import { destroyStandby, startStandby } from '../support/standby.ts';

const target = (text: string): Promise<ConnectionTarget> =>
  resolveTarget({ url: `dbname=postgres ${text}` }, { env: {}, home: '/nonexistent' });

describe('several hosts', () => {
  let primary: PostgresServer;
  let standby: PostgresServer;
  let dead = 0;

  beforeAll(async () => {
    primary = await PostgresServer.create();
    standby = await startStandby(primary);
    dead = await freePort();
  });

  afterAll(async () => {
    await destroyStandby(standby);
    await primary.destroy();
  });

  const hosts = (ports: readonly number[], wanted: string): Promise<ConnectionTarget> =>
    target(
      `host=${ports.map(() => '127.0.0.1').join(',')} port=${ports.join(',')} user=postgres target_session_attrs=${wanted}`,
    );

  test.each([
    ['any', 'standby'],
    ['primary', 'primary'],
    ['read-write', 'primary'],
    ['standby', 'standby'],
    ['read-only', 'standby'],
    ['prefer-standby', 'standby'],
  ] as const)('target_session_attrs=%s finds the %s', async (wanted, expected) => {
    const ports =
      wanted === 'any'
        ? [dead, standby.port, primary.port]
        : expected === 'primary'
          ? [dead, standby.port, primary.port]
          : [dead, primary.port, standby.port];
    for (const replication of [false, true]) {
      const session = await openSession(await hosts(ports, wanted), { replication });
      session.socket.destroy();
      expect(session.host).toBe(`127.0.0.1:${expected === 'primary' ? primary.port : standby.port}`);
    }
    const connection = await ReplicationConnection.open(await hosts(ports, wanted));
    expect(connection.inRecovery).toBe(expected === 'standby');
    await connection.close();
  });

  test('prefer-standby takes a primary when there is no standby', async () => {
    const session = await openSession(await hosts([dead, primary.port], 'prefer-standby'), { replication: true });
    session.socket.destroy();
    expect(session.host).toBe(`127.0.0.1:${primary.port}`);
  });

  test('read-only is also a primary whose transactions are', async () => {
    await primary.query('ALTER ROLE postgres SET default_transaction_read_only = on');
    try {
      const session = await openSession(await hosts([primary.port], 'read-only'), { replication: false });
      session.socket.destroy();
      await expect(
        openSession(await hosts([primary.port], 'read-write'), { replication: false }),
      ).rejects.toMatchObject({ code: 'SERVER_NO_MATCH' });
    } finally {
      const connection = await primary.client();
      await connection.query('SET default_transaction_read_only = off');
      await connection.query('ALTER ROLE postgres RESET default_transaction_read_only');
      await connection.end();
    }
  });

  test('SERVER_NO_MATCH lists each host and why', async () => {
    await expect(
      openSession(await hosts([dead, primary.port], 'standby'), { replication: true }),
    ).rejects.toMatchObject({
      code: 'SERVER_NO_MATCH',
      retriable: true,
      message: expect.stringMatching(
        new RegExp(`target_session_attrs=standby: .*127.0.0.1:${dead}.*; 127.0.0.1:${primary.port} is not a standby`),
      ),
    });
  });

  test('a refused login ends the search, as in libpq', async () => {
    const search = await target(`host=127.0.0.1,127.0.0.1 port=${primary.port},${standby.port} user=nobody`);
    await expect(openSession(search, { replication: false })).rejects.toMatchObject({
      code: 'SERVER_AUTH',
      message: expect.not.stringContaining(String(standby.port)),
    });
  });
});
