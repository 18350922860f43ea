/** Drills of good backups: what they prove, and what they leave alone. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TestArchive } from '../support/archive.ts';
import { serverUser } from '../support/binaries.ts';
import { runCli } from '../support/cli.ts';
import { digests, documentOf, drillArguments, drillFolder, drillSection } from '../support/drilling.ts';
import { MAJORS, PostgresServer } from '../support/postgres.ts';
import { SCALE } from '../support/scale.ts';
import { tool } from '../support/tools.ts';

/** The version that is looked at more closely. */
const ONE = 15;
const user = serverUser();

/** The oldest and the newest, which differ most; all of them take minutes. */
const VERSIONS = SCALE === 'full' ? MAJORS : MAJORS.filter((major) => major === 15 || major === 18);

describe.each(VERSIONS)('PostgreSQL %i', (major) => {
  const undo: (() => unknown)[] = [];
  let archive: TestArchive;
  let id = '';
  let witness = '';
  // Where Debian's programs are, they are found without being named, and bring pg_checksums.
  const checksums = major === ONE && tool('pg_checksums') !== undefined;

  beforeAll(async () => {
    const server = await PostgresServer.create({ major });
    undo.push(() => server.destroy());
    witness = join(server.folder, 'witness');
    server.configure({ archive_mode: 'on', archive_command: `echo %f >> ${witness}` });
    await server.start();
    const checks = [
      { name: 'rows', sql: 'SELECT count(*) >= 1000 FROM kept', expect: 't' },
      { sql: 'SELECT 1; SELECT 2.50', expect: '2.50' },
    ];
    const bin = checksums ? { bin: undefined } : {};
    const owner = user === undefined ? {} : { user: `${user.uid}:${user.gid}` };
    archive = new TestArchive(server, { config: drillSection(major, { checks, ...owner, ...bin }) });
    undo.push(() => archive.destroy());
    const receiver = await archive.receive(server);
    await server.query('CREATE TABLE kept AS SELECT n, md5(n::text) FROM generate_series(1, 1000) n');
    id = (await archive.backup()).id;
    await server.query('INSERT INTO kept SELECT n, md5(n::text) FROM generate_series(1001, 2000) n');
    await archive.switchWal(server);
    await receiver.stop();
    await server.stop();
  });
  afterAll(async () => {
    for (const each of undo.splice(0).toReversed()) await each();
  });

  test('H-40 a drill proves a good backup, records it, and leaves nothing; a drill never archives', async () => {
    const archived = readFileSync(witness, 'utf8');
    expect(archived).not.toBe('');
    const before = digests(archive.repository);
    // With one version to a random moment, and with one as root, if the tests are.
    const target = major === 18 ? ['--random', '--seed', '7'] : [];
    const ran = await runCli(drillArguments(archive, target), major === 16 ? {} : { ...user });
    expect(ran, ran.stderr).toMatchObject({ code: 0 });
    const result = documentOf(ran);
    expect(result).toMatchObject({ outcome: 'proven', backup: id, repository: 'primary', recorded: true });
    expect(result.target).toMatchObject(major === 18 ? { kind: 'time', seed: 7 } : { kind: 'latest', timeline: 1 });
    expect(result.reached?.timeline).toBe(1);
    expect(Math.floor((result.serverVersion ?? 0) / 10_000)).toBe(major);
    expect(result.checks.map(({ name, outcome }) => `${name} ${outcome}`)).toEqual([
      'databases passed',
      'rows passed',
      'checks[1] passed',
      'amcheck passed',
      `checksums ${checksums ? 'passed' : 'skipped'}`,
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
    if (major !== ONE) return;
    const [listed] = await archive.json<readonly { readonly drill?: { readonly outcome: string } }[]>(['list']);
    expect(listed?.drill?.outcome).toBe('proven');
    expect(await archive.run(['list'])).toMatch(/PROVEN +LABEL\n.* ago  /);
    expect(await archive.run(['show', 'latest'])).toMatch(/proven +at .* target latest/);
  });
});
