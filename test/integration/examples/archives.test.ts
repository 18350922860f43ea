/** The examples that hold a real backup, each run by its own script. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AGE_MISSING, hasAge } from '../../support/age.ts';
import { runExample } from '../../support/example.ts';
import { PostgresServer } from '../../support/postgres.ts';
import { startFauxS3 } from '../../support/s3-server.ts';
import { MISSING, tool } from '../../support/tools.ts';

/** What every run ends with. */
const IS_BACK = 'the table is back, row for row';

describe.skipIf(tool('psql') === undefined)(`examples (${MISSING})`, () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await PostgresServer.start({ major: 17, settings: { fsync: 'on' } });
  });
  afterAll(() => server.destroy());

  test('filesystem-zstd', async () => {
    const { folder, output } = await runExample('filesystem-zstd', server);
    expect(output).toContain(IS_BACK);
    const names = filesIn(join(folder, 'repository'));
    expect(names.filter((name) => name.endsWith('.tar.zst'))).not.toEqual([]);
    await untouched();
  });

  test.skipIf(!hasAge)(`s3-zstd-age (${AGE_MISSING})`, async () => {
    const s3 = await startFauxS3(['archive']);
    try {
      const { output } = await runExample('s3-zstd-age', server, {
        S3_ENDPOINT: s3.endpoint,
        S3_ACCESS_KEY_ID: s3.accessKeyId,
        S3_SECRET_ACCESS_KEY: s3.secretAccessKey,
      });
      expect(output).toContain(IS_BACK);
      expect(output).toContain('without the key nothing opens');
      const { Contents: objects = [] } = await s3.admin.listObjectsV2({ Bucket: 'archive' });
      expect(objects.filter(({ Key }) => Key?.endsWith('.tar.zst.age'))).not.toEqual([]);
      await untouched();
    } finally {
      await s3.stop();
    }
  });

  test('storage-plugin', async () => {
    const { output } = await runExample('storage-plugin', server);
    expect(output).toContain(IS_BACK);
    await untouched();
  });

  test('codec-plugin', async () => {
    const { folder, output } = await runExample('codec-plugin', server);
    expect(output).toContain(IS_BACK);
    expect(filesIn(join(folder, 'repository')).filter((name) => name.endsWith('.tar.zz'))).not.toEqual([]);
    await untouched();
  });

  test('hook-plugin', async () => {
    const { output } = await runExample('hook-plugin', server);
    expect(output).toMatch(/"topic":"backups".*pgark main: info.*backup \S+ is complete/);
    await untouched();
  });

  /** No slot is left that would keep WAL for ever, and no table. */
  async function untouched(): Promise<void> {
    expect(await server.value('SELECT count(*) FROM pg_replication_slots')).toBe('0');
    expect(await server.value(`SELECT count(*) FROM pg_class WHERE relname = 'precious'`)).toBe('0');
  }
});

function filesIn(folder: string): readonly string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' });
}
