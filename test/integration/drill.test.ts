/** Drills of good backups: what they prove, and what they leave alone. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TestArchive } from '../support/archive.ts';
import { digests, documentOf, drillCli, drillFolder, drillSection } from '../support/drilling.ts';
import { MAJORS, PostgresServer } from '../support/postgres.ts';

describe.each(MAJORS)('PostgreSQL %i', (major) => {
  const undo: (() => unknown)[] = [];
  let archive: TestArchive;
  let id = '';
  let witness = '';

  beforeAll(async () => {
    const server = await PostgresServer.create({ major });
    undo.push(() => server.destroy());
    witness = join(server.folder, 'witness');
    server.configure({ archive_mode: 'on', archive_command: `echo %f >> ${witness}`, shared_buffers: '64MB' });
    await server.start();
    archive = new TestArchive(server, {
      config: drillSection(major, {
        checks: [{ name: 'rows', sql: 'SELECT count(*) FROM kept', expect: '20000' }, { sql: 'SELECT 1' }],
      }),
    });
    undo.push(() => archive.destroy());
    const receiver = await archive.receive(server);
    await server.query('CREATE TABLE kept (n int PRIMARY KEY, t text)');
    await server.query('INSERT INTO kept SELECT n, md5(n::text) FROM generate_series(1, 15000) n');
    id = (await archive.backup()).id;
    await server.query('INSERT INTO kept SELECT n, md5(n::text) FROM generate_series(15001, 20000) n');
    // Left in postgresql.auto.conf of every backup from now on, and of this one's WAL, nothing must act on it.
    await archive.switchWal(server);
    await receiver.stop();
    await server.stop();
  });
  afterAll(async () => {
    for (const each of undo.splice(0).toReversed()) await each();
  });

  test('H-40 a drill proves a good backup, records it, and leaves nothing; a drill never archives', async () => {
    const archived = readFileSync(witness, 'utf8');
    const before = digests(archive.repository);
    const ran = await drillCli(archive);
    expect(ran, ran.stderr).toMatchObject({ code: 0 });
    const result = documentOf(ran);
    expect(result).toMatchObject({ outcome: 'proven', backup: id, repository: 'primary', recorded: true });
    expect(result.reached?.timeline).toBe(1);
    expect(Math.floor((result.serverVersion ?? 0) / 10_000)).toBe(major);
    expect(result.checks.map(({ name, outcome }) => `${name} ${outcome}`)).toEqual([
      'databases passed',
      'rows passed',
      'checks[1] passed',
      'amcheck passed',
      'checksums skipped',
    ]);
    expect(Object.keys(result.phases)).toEqual(['plan', 'wal', 'restore', 'recovery', 'checks']);
    expect(existsSync(drillFolder(archive))).toBe(false);

    // The archive has one object more, and everything else is as it was.
    const after = digests(archive.repository);
    const added = [...after.keys()].filter((name) => !before.has(name));
    expect(added).toEqual([expect.stringMatching(new RegExp(`/facts/${id}/[^/]+-drill\\.json$`))]);
    for (const [name, digest] of before) expect(after.get(name), name).toBe(digest);
    expect(readFileSync(witness, 'utf8')).toBe(archived);
    const fact = JSON.parse(readFileSync(join(archive.repository, added[0] ?? ''), 'utf8')) as {
      readonly data: object;
    };
    expect(fact).toMatchObject({ kind: 'drill', data: { outcome: 'proven', bytes: result.bytes } });

    const [listed] = await archive.json<readonly { readonly drill?: { readonly outcome: string } }[]>(['list']);
    expect(listed?.drill?.outcome).toBe('proven');
    expect(await archive.run(['list'])).toMatch(/PROVEN\n.* ago\n/);
    expect(await archive.run(['show', 'latest'])).toMatch(/proven +at .* target latest/);
  });
});
