import { afterAll, describe, expect, test } from 'vitest';
import { MAJORS, PostgresServer } from '../support/postgres.ts';

describe.each(MAJORS)('embedded PostgreSQL %i', (major) => {
  let server: PostgresServer | undefined;
  afterAll(async () => server?.destroy());

  test('starts, answers, survives kill -9 and stops', async () => {
    server = await PostgresServer.start({ major });
    expect(await server.value('SHOW server_version_num')).toMatch(new RegExp(`^${major}`));
    await server.query('CREATE TABLE t AS SELECT 1 AS a');
    await server.kill();
    expect(server.running).toBe(false);
    await server.start();
    expect(await server.value('SELECT a FROM t')).toBe('1');
    await server.stop();
  });
});
