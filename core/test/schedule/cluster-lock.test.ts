/** How the lock of the scheduler is asked for, by a server that says what it is told to. */
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { later } from '../../../test/support/later.ts';
import { until } from '../../../test/support/until.ts';
import { resolveTarget } from '../../src/postgres/target.ts';
import { clusterLock } from '../../src/schedule/cluster-lock.ts';

const message = (type: string, ...parts: readonly (string | Buffer)[]): Buffer => {
  const body = Buffer.concat(parts.map((part) => Buffer.from(part)));
  const length = Buffer.alloc(4);
  length.writeInt32BE(4 + body.byteLength);
  return Buffer.concat([Buffer.from(type), length, body]);
};
const refusal = (sqlstate: string): Buffer =>
  message('E', 'SFATAL\0', 'VFATAL\0', `C${sqlstate}\0`, 'Mit does not want to\0', '\0');
const ready = message('Z', 'I');
const welcome = Buffer.concat([
  message('R', Buffer.alloc(4)),
  message('S', 'server_version\0', '17.0\0'),
  message('S', 'in_hot_standby\0', 'off\0'),
  message('S', 'default_transaction_read_only\0', 'off\0'),
  ready,
]);

/** Begins to ask a server which lets in or refuses, by the name of the database; gives the databases and the SQL that it was asked for. */
async function asked(answer: (database: string) => string | undefined): Promise<{
  readonly databases: readonly string[];
  readonly queries: readonly string[];
}> {
  const databases: string[] = [];
  const queries: string[] = [];
  const server = createServer((socket) => {
    let isIn = false;
    socket.on('error', () => undefined);
    socket.on('data', (bytes: Buffer) => {
      if (!isIn) {
        const words = bytes.toString('latin1', 8).split('\0');
        const database = words[words.indexOf('database') + 1] ?? '';
        databases.push(database);
        const sqlstate = answer(database);
        if (sqlstate !== undefined) return void socket.end(refusal(sqlstate));
        isIn = true;
        return void socket.write(welcome);
      }
      const isSimple = bytes.toString('latin1', 0, 1) === 'Q';
      if (isSimple) queries.push(bytes.toString('utf8', 5));
      socket.write(isSimple ? Buffer.concat([message('C', 'SELECT 0\0'), ready]) : refusal('57P01'));
    });
  });
  later(server, (one) => void one.close());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  const url = `postgres://pgark@127.0.0.1:${port}/app?sslmode=disable`;
  const lock = clusterLock({
    cluster: 'main',
    target: () => resolveTarget({ url }, { env: {}, home: '/' }),
    interval: 5,
  });
  const stop = new AbortController();
  let tries = 0;
  const taking = lock({ signal: stop.signal, onWaiting: () => void tries++ }).catch(() => undefined);
  await until('three tries', () => tries >= 3);
  stop.abort();
  await taking;
  return { databases, queries };
}

test('H-82 a server that is full for a moment is no reason to take the lock in another database, where another daemon does not look', async () => {
  const { databases } = await asked(() => '53300');
  expect(new Set(databases)).toEqual(new Set(['postgres']));
});

test('where there is no database "postgres" for it, the lock is that of its own database', async () => {
  for (const sqlstate of ['3D000', '55000', '42501', '28000']) {
    const { databases } = await asked((database) => (database === 'postgres' ? sqlstate : undefined));
    expect(databases.slice(0, 2)).toEqual(['postgres', 'app']);
  }
});

test('the server is told to look whether the host that has the lock is still there', async () => {
  const { queries } = await asked(() => undefined);
  for (const setting of ['tcp_keepalives_idle', 'tcp_keepalives_interval', 'tcp_keepalives_count', 'tcp_user_timeout'])
    expect(queries.join('\n')).toContain(`set_config('${setting}', '`);
});
