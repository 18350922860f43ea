/**
 * Makes golden archives, by hand and once for each chain, on the day that its codec is new:
 *
 *   node --conditions=@pgark/source test/golden/make.ts NAME...     names of chains.ts
 *
 * A small but real cluster, archived by the real command line into all of them at once, and into one without codecs, whose bytes are what
 * every other one must hold. Never replaces what is there: an archive that this version writes anew proves nothing about old ones.
 */
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { VERSION } from '../../core/src/version.ts';
import { TestArchive } from '../support/archive.ts';
import { giveToServer, PostgresServer, temporaryFolder } from '../support/postgres.ts';
import { GOLDEN_CHAINS, type GoldenChain } from './chains.ts';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const MAJOR = 18;
/** The repository whose bytes are the plain ones. */
const REFERENCE = 'reference';

/** Keys of which an archive consists. */
const KEEPS = { everything: /./, WAL: /pgark\.json$|\/wal\//, 'history and slices': /pgark\.json$|\.history|\.tail\// };

const names = process.argv.slice(2);
if (names.length === 0) throw new Error(`name the archives to make: ${Object.keys(GOLDEN_CHAINS).join(', ')}`);
for (const name of names) {
  if (!(name in GOLDEN_CHAINS)) throw new Error(`there is no chain "${name}" in chains.ts`);
  if (existsSync(join(HERE, name))) throw new Error(`test/golden/${name} is there: golden archives are made once`);
}

const server = await PostgresServer.start({
  major: MAJOR,
  segmentMegabytes: 1,
  settings: { allow_system_table_mods: 'on', autovacuum: 'off', min_wal_size: '2MB', wal_compression: 'on' },
});
const work = temporaryFolder('golden');
try {
  await shrink(server);
  console.log(`the database: ${await fill(server)}`);
  await archiveInto(server, [...names, REFERENCE]);
  for (const name of names) publish(name, GOLDEN_CHAINS[name]!);
} finally {
  await server.destroy();
  rmSync(work, { recursive: true });
}

/** Takes out of a new cluster what none needs in order to run, so that its backup is small. */
async function shrink(server: PostgresServer): Promise<void> {
  const statements = [
    'UPDATE pg_database SET datistemplate = false',
    'DROP DATABASE template0',
    'DROP DATABASE template1',
    'DROP SCHEMA information_schema CASCADE',
    `DO $$ DECLARE needless record; BEGIN
       FOR needless IN SELECT relname FROM pg_class
         WHERE relkind = 'v' AND relname NOT IN ('pg_settings', 'pg_stat_replication', 'pg_replication_slots')
       LOOP EXECUTE format('DROP VIEW IF EXISTS %I CASCADE', needless.relname); END LOOP; END $$`,
    'DELETE FROM pg_description',
    'DELETE FROM pg_init_privs',
    'DELETE FROM pg_collation WHERE oid >= 12000',
    'DELETE FROM pg_conversion',
    'DELETE FROM pg_ts_config_map',
    'DELETE FROM pg_statistic',
    // Functions that no type, operator or index refers to, and no command of pgark.
    `DELETE FROM pg_proc WHERE prokind = 'f' AND proname !~ '^(pg_|current_|set_config|version|has_|md5|generate_series)'
       AND oid NOT IN (SELECT unnest(ARRAY[oprcode, oprrest, oprjoin]) FROM pg_operator)
       AND oid NOT IN (SELECT unnest(ARRAY[typinput, typoutput, typreceive, typsend, typmodin, typmodout, typanalyze, typsubscript]) FROM pg_type)
       AND oid NOT IN (SELECT castfunc FROM pg_cast)
       AND oid NOT IN (SELECT amproc FROM pg_amproc)
       AND oid NOT IN (SELECT amhandler FROM pg_am)
       AND oid NOT IN (SELECT unnest(ARRAY[aggtransfn, aggfinalfn, aggcombinefn, aggserialfn, aggdeserialfn, aggmtransfn, aggminvtransfn,
                                           aggmfinalfn]) FROM pg_aggregate)
       AND oid NOT IN (SELECT unnest(ARRAY[lanplcallfoid, laninline, lanvalidator]) FROM pg_language)
       AND oid NOT IN (SELECT unnest(ARRAY[rngcanonical, rngsubdiff]) FROM pg_range)`,
    'VACUUM FULL',
  ];
  for (const statement of statements) await server.query(statement);
}

/** Some content of its own, in a tablespace too. */
async function fill(server: PostgresServer): Promise<string> {
  const place = join(work, 'tablespace');
  mkdirSync(place);
  giveToServer(place);
  await server.query(`CREATE TABLESPACE beside LOCATION '${place}'`);
  await server.query('CREATE TABLE ledger AS SELECT n, md5(n::text) AS text FROM generate_series(1, 200) n');
  await server.query('CREATE TABLE apart TABLESPACE beside AS SELECT n FROM generate_series(1, 200) n');
  // What the archive gets of WAL is what comes now.
  await server.query('SELECT pg_switch_wal()');
  await server.query('CHECKPOINT');
  return server.value('SELECT pg_size_pretty(pg_database_size(current_database()))');
}

/** One run of each command: receive with slices, a backup, a promotion. */
async function archiveInto(server: PostgresServer, repositories: readonly string[]): Promise<void> {
  const sections = repositories.map((name) => {
    const path = join(work, name);
    mkdirSync(path);
    giveToServer(path);
    return { name, storage: { use: 'fs', path }, codecs: name === REFERENCE ? [] : GOLDEN_CHAINS[name]!.codecs };
  });
  // Keys are found beside the archives.
  const absolute = JSON.parse(JSON.stringify(sections).replaceAll('"../keys/', `"${join(HERE, 'keys')}/`)) as object[];
  const archive = new TestArchive(server, {
    config: { repositories: absolute, backup: { partSize: '2MiB', label: 'golden' } },
    receive: { tail: '1s' },
  });
  const everywhere = async (what: string, isIt: (key: string) => boolean): Promise<void> => {
    const lacks = (name: string): boolean => !readTree(join(work, name)).some(isIt);
    for (const deadline = Date.now() + 60_000; repositories.some(lacks); await sleep(50))
      if (Date.now() > deadline) throw new Error(`${what} is not in ${repositories.filter(lacks).join(', ')}`);
  };
  const sliced = async (): Promise<void> => {
    const end = 'SELECT file_name, file_offset FROM pg_walfile_name_offset(pg_current_wal_flush_lsn())';
    const [{ file_name: segment, file_offset: offset } = { file_name: '', file_offset: 0 }] = await server.query<{
      file_name: string;
      file_offset: number;
    }>(end);
    await everywhere(`the end of ${segment}`, (key) => {
      const to = /\.tail\/[0-9A-F]{8}-([0-9A-F]{8})-/.exec(key)?.[1];
      return to !== undefined && key.includes(`/${segment}.tail/`) && Number.parseInt(to, 16) >= offset;
    });
  };
  try {
    const receiver = await archive.receive(server);
    await archive.backup();
    await server.query(`INSERT INTO ledger VALUES (201, 'behind the backup')`);
    await sliced();
    // A cluster that waits for nobody is promoted, and so has a history.
    await server.stop();
    writeFileSync(join(server.data, 'standby.signal'), '');
    giveToServer(join(server.data, 'standby.signal'));
    await server.start();
    await server.query('SELECT pg_promote()');
    await server.recovered();
    await everywhere('the history', (key) => key.includes('/00000002.history-'));
    await server.query(`INSERT INTO ledger VALUES (202, 'on the second timeline')`);
    const last = await server.value('SELECT pg_walfile_name(pg_switch_wal())');
    await everywhere(last, (key) => key.includes(`/${last}-`));
    await server.query(`INSERT INTO ledger VALUES (203, 'in a slice')`);
    await sliced();
    await receiver.stop();
  } finally {
    archive.destroy();
  }
}

/** Puts an archive in its place, with what is expected of it and a config that reads it. */
function publish(name: string, chain: GoldenChain): void {
  const from = join(work, name);
  const plain = new Map(readTree(join(work, REFERENCE)).map((key) => [key, join(work, REFERENCE, key)]));
  const kept = readTree(from).filter((key) => KEEPS[chain.keeps ?? 'everything'].test(key));
  const objects = kept.map((key) => {
    // Two objects are each repository's own, and plain.
    const own = /\/(?:pgark|backup)\.json$/.test(key);
    const reference = own
      ? join(from, key)
      : plain.get([...plain.keys()].find((one) => key === one || key.startsWith(`${one}.`)) ?? '');
    if (reference === undefined) throw new Error(`${key} of ${name} is not in the repository without codecs`);
    const bytes = readFileSync(reference);
    return [key, { size: bytes.byteLength, sha256: createHash('sha256').update(bytes).digest('hex') }] as const;
  });
  for (const key of kept) cpSync(join(from, key), join(HERE, name, 'archive', key));
  const config = {
    cluster: 'main',
    repositories: [
      {
        name,
        storage: { use: 'fs', path: 'archive' },
        readOnly: true,
        ...(chain.readWithCodecs === true ? { codecs: chain.codecs } : {}),
      },
    ],
    ...(chain.identities === undefined ? {} : { restore: { identities: chain.identities } }),
  };
  const expected = {
    format: 1,
    writtenBy: `pgark ${VERSION}`,
    postgresql: MAJOR,
    objects: Object.fromEntries(objects),
  };
  writeFileSync(join(HERE, name, 'pgark.json'), `${JSON.stringify(config, undefined, 2)}\n`);
  writeFileSync(join(HERE, name, 'expected.json'), `${JSON.stringify(expected, undefined, 2)}\n`);
  const stored = kept.reduce((sum, key) => sum + readFileSync(join(from, key)).byteLength, 0);
  console.log(`${name}: ${kept.length} objects, ${stored} bytes`);
}

/** Paths of the files below a folder, sorted. */
function readTree(folder: string): readonly string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();
}
