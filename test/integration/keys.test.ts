/** Keys of a real archive: which are in use, changing them, and being without them. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Finding } from '../../core/src/check/finding.ts';
import { TestArchive } from '../support/archive.ts';
import { serverUser } from '../support/binaries.ts';
import { runCli, type CliResult } from '../support/cli.ts';
import { giveToServer, PostgresServer, temporaryFolder, removeFolder } from '../support/postgres.ts';
import { archiveCommand, startAndPromote } from '../support/restoring.ts';
import { KEEP_WAL } from '../support/ship-wal.ts';

/** Made by age-keygen for this test. */
const AGE = [
  {
    recipient: 'age1f0d75rmdmsye8srk7ysle7w5tv58drgdggrxudgnpckkgkm9ufhsjgv7fl',
    identity: 'AGE-SECRET-KEY-1H2ZS2PEFCZ3A0X6EDMTAS29JNAQYSFVUA90MHQDH7V34YDY0KLEQKVMU96',
  },
  {
    recipient: 'age1rdndu6lkaq32l9wn278yz7nel8nnpnepupm02tfr86t544nxc97s8mzytp',
    identity: 'AGE-SECRET-KEY-1XVGN8267KT2AE3A568ZRLNXA6K9M0FF5ZDCJW9PDYE3YYTMG25UQE5TCYH',
  },
] as const;
const AES = ['k1', 'k2'].map((id) => ({ id, key: createHash('sha256').update(id).digest('base64') }));
const [K1, K2] = AES;

/** A codec of the house, by its path: nobody finds it by the suffix once the config does not name it. */
const ODD = `export default {
  name: 'odd', kind: 'codec', apiVersion: 1, suffix: 'odd',
  options: { '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value }) } },
  create: () => ({
    id: 'odd', suffix: 'odd',
    async *encode(source) { yield Buffer.from('odd '); yield* source; },
    async *decode(source) {
      let skip = 4;
      for await (const chunk of source) {
        const rest = chunk.subarray(skip);
        skip -= chunk.length - rest.length;
        if (rest.length > 0) yield rest;
      }
    },
  }),
};`;

type Section = Readonly<Record<string, unknown>>;

let server: PostgresServer;
let archive: TestArchive;
let firstBackup: string;
let lastOld: string;
let firstNew: string;

const near = (keys: readonly unknown[]): Section => ({
  name: 'near',
  storage: { use: 'fs', path: archive.repository },
  codecs: [
    { use: 'zstd', level: 1 },
    { use: 'aes-gcm', keys },
  ],
});
const far = (recipients: readonly string[]): Section => ({
  name: 'far',
  storage: { use: 'fs', path: join(archive.folder, 'far') },
  codecs: [
    { use: 'zstd', level: 1 },
    { use: 'age', recipients },
  ],
});
const odd = (codecs: readonly Section[]): Section => ({
  name: 'odd',
  storage: { use: 'fs', path: join(archive.folder, 'odd') },
  codecs,
});

/** Writes a config, `pgark.json` by default, and gives its path. */
function configure(repositories: readonly Section[], identities: readonly string[] = [], name = 'pgark.json'): string {
  const path = join(archive.folder, name);
  const content = { cluster: 'main', postgres: { url: server.url() }, repositories, restore: { identities } };
  writeFileSync(path, JSON.stringify(content));
  giveToServer(path);
  return path;
}

const cli = (config: string, ...args: readonly string[]): Promise<CliResult> =>
  runCli(['--config', config, ...args], { ...serverUser() });

interface ShownKeys {
  readonly repository: string;
  readonly state: string;
  readonly codecs: readonly Section[];
  readonly keys: readonly {
    readonly kind: string;
    readonly recorded?: readonly string[];
    readonly layers: readonly { readonly keyIds: readonly string[]; readonly unknown: number }[];
    readonly readable: string;
    readonly first: string;
    readonly last: string;
  }[];
}

async function keysOf(config: string, code: number): Promise<readonly ShownKeys[]> {
  const result = await cli(config, '--json', 'keys');
  expect(result.code, result.stderr).toBe(code);
  return (JSON.parse(result.stdout) as { repositories: readonly ShownKeys[] }).repositories;
}

interface Restored {
  readonly result: CliResult;
  readonly data: string;
}

async function restore(config: string, repository: string, folder: string): Promise<Restored> {
  const data = join(archive.folder, folder);
  const result = await cli(
    config,
    '--json',
    'restore',
    '--no-sync',
    '--no-try-command',
    '--repository',
    repository,
    data,
  );
  return { result, data };
}

beforeAll(async () => {
  server = await PostgresServer.create({ major: 17, settings: { ...KEEP_WAL, autovacuum: 'off' } });
  archive = new TestArchive(server);
  for (const name of ['far', 'odd']) {
    mkdirSync(join(archive.folder, name));
    giveToServer(join(archive.folder, name));
  }
  writeFileSync(join(archive.folder, 'odd.mjs'), ODD);
  giveToServer(join(archive.folder, 'odd.mjs'));
  server.configure({ archive_mode: 'on', archive_command: archiveCommand(archive) });
  configure([near([K1]), far([AGE[0].recipient]), odd([{ use: './odd.mjs' }])]);
  await server.start();
  await server.query(`CREATE TABLE t AS SELECT 'old' AS key`);
  firstBackup = (await archive.backup(['--checkpoint', 'fast'])).id;
  lastOld = await archive.switchWal(server);
  // From here on the new keys write.
  configure([near([K2, K1]), far([AGE[1].recipient]), odd([{ use: './odd.mjs' }])]);
  await server.query(`INSERT INTO t VALUES ('new')`);
  firstNew = await archive.switchWal(server);
  await server.stop();
}, 120_000);

afterAll(async () => {
  await server?.destroy();
  archive?.destroy();
});

test('each record names the keys of its own repository, and keys shows the old ones, the new ones and the border', async () => {
  const identities = AGE.map(({ identity }) => identity);
  const config = configure([near([K2, K1]), far([AGE[1].recipient])], identities, 'both.json');
  const shown = await keysOf(config, 0);
  expect(shown.map(({ repository, state }) => [repository, state])).toEqual([
    ['near', 'readable'],
    ['far', 'readable'],
  ]);
  const summary = shown.map(({ keys }) =>
    keys
      .filter(({ kind }) => kind === 'backup' || kind === 'segment')
      // A server that stops switches to a new segment once more: what comes last is not always archived.
      .map(({ kind, recorded, layers, first, last }) => {
        return [kind, recorded, layers[0]?.keyIds, first === firstNew ? first : last];
      }),
  );
  const [old, now] = AGE.map(({ recipient }) => [recipient]);
  expect(summary).toEqual([
    [
      ['backup', ['k1'], ['k1'], firstBackup],
      ['segment', undefined, ['k1'], lastOld],
      ['segment', undefined, ['k2'], firstNew],
    ],
    [
      ['backup', old, old, firstBackup],
      ['segment', undefined, old, lastOld],
      ['segment', undefined, now, firstNew],
    ],
  ]);
  const checked = await cli(config, '--json', 'check', '--no-server');
  expect(checked.code, checked.stderr).toBe(0);
  const { findings } = JSON.parse(checked.stdout) as { readonly findings: readonly Finding[] };
  const told = findings.filter(({ check }) => check === 'new objects').map(({ message }) => message);
  expect(told[0]).toMatch(/^are for k2, backup \S+ was for k1: keys are being changed$/);
  expect(told[1]).toContain(`backup ${firstBackup} was for age1f0d75rmdmsye…`);
});

test('without the old keys the backup is reported and nothing is restored; without the new ones the WAL is', async () => {
  const newOnly = configure([near([K2]), far([AGE[1].recipient])], [AGE[1].identity], 'new.json');
  const shown = await keysOf(newOnly, 3);
  expect(shown.map(({ state }) => state)).toEqual(['unreadable', 'unreadable']);
  expect(shown[0]?.keys[0]).toMatchObject({
    first: firstBackup,
    problem: { code: 'CODEC_KEY', message: 'written with the key "k1", which is not at hand; at hand: k2' },
  });
  const checked = await cli(newOnly, 'check', '--no-server');
  expect(checked.code).toBe(1);
  expect(checked.stdout).toMatch(
    /^failed +repository near: keys +backup \S+: written with the key "k1", which is not at hand/m,
  );
  expect(checked.stdout).toMatch(
    /^failed +repository far: keys +backup \S+: no identity at hand opens it; it was encrypted for 1 recipient/m,
  );

  const noBackup = await Promise.all(['near', 'far'].map((name) => restore(newOnly, name, `data-new-${name}`)));
  for (const [at, missing] of ['"k1"', 'restore.identities'].entries()) {
    const { result, data } = noBackup[at] as Restored;
    expect(result.code, result.stderr).toBe(3);
    expect(result.stderr).toContain('"code":"CODEC_KEY"');
    expect(result.stderr).toContain(missing);
    expect(existsSync(join(data, 'global', 'pg_control'))).toBe(false);
  }

  const oldOnly = configure([near([K1]), far([AGE[0].recipient])], [AGE[0].identity], 'old.json');
  expect((await keysOf(oldOnly, 3)).map(({ state }) => state)).toEqual(['unreadable', 'unreadable']);
  const noWal = await Promise.all(
    ['near', 'far'].map(async (name) => {
      const target = join(archive.folder, `fetched-${name}`);
      const fetched = await cli(oldOnly, 'wal-fetch', '--repository', name, firstNew, target);
      return { ...fetched, exists: existsSync(target) };
    }),
  );
  expect(noWal.map(({ code, exists }) => [code, exists])).toEqual([
    [2, false],
    [2, false],
  ]);
  expect(noWal[0]?.stderr).toContain('"k2"');
  expect(noWal[1]?.stderr).toContain('restore.identities');
  // The WAL is read before anything is put in place.
  const half = await restore(oldOnly, 'near', 'data-old');
  expect(half.result.code, half.result.stderr).toBe(3);
  expect(half.result.stderr).toMatch(/CODEC_KEY.*written with the key ..k2/);
  expect(existsSync(half.data)).toBe(false);
});

test('a host with recipients only is told so by keys and by check, and not alarmed', async () => {
  const config = configure([near([K2, K1]), far([AGE[1].recipient])], [], 'host.json');
  const shown = await keysOf(config, 3);
  expect(shown.map(({ state }) => state)).toEqual(['readable', 'write-only']);
  const [, { keys } = { keys: [] }] = shown;
  expect(keys.map(({ readable }) => readable)).not.toContain('yes');
  expect(keys[0]).toMatchObject({ recorded: [AGE[0].recipient], layers: [{ keyIds: [], unknown: 1 }] });
  const text = await cli(config, 'keys', '--repository', 'far');
  expect(text.stderr).toContain('this config writes repository far and cannot read it: restore.identities is empty');
  const checked = await cli(config, 'check', '--no-server');
  expect(checked.code, checked.stdout).toBe(0);
  expect(checked.stdout).toMatch(/^skipped +repository far: keys +restore\.identities is empty/m);
});

test('with both keys a restore spans them, from either repository', async () => {
  const identities = AGE.map(({ identity }) => identity);
  const config = configure([near([K2, K1]), far([AGE[1].recipient])], identities, 'both.json');
  const [, { data }] = await Promise.all(
    (['near', 'far'] as const).map(async (name) => {
      const restored = await restore(config, name, `data-${name}`);
      expect(restored.result.code, restored.result.stderr).toBe(0);
      return restored;
    }) as [Promise<Restored>, Promise<Restored>],
  );
  const opened = await PostgresServer.open(17, data, { archive_mode: 'off' });
  try {
    await startAndPromote(opened);
    expect(await opened.value(`SELECT string_agg(key, ' ' ORDER BY key) FROM t`)).toBe('new old');
  } finally {
    await opened.destroy();
  }
});

test('keys of a codec that is no longer configured are found in restore.identities', async () => {
  const plain = { ...near([]), codecs: [{ use: 'zstd' }] };
  const identities = AES.map(({ id, key }) => `aes-gcm:${id}:${key}`);
  const config = configure([plain], identities, 'left.json');
  expect(await keysOf(config, 0)).toMatchObject([{ state: 'readable' }]);
  const checked = await cli(config, 'check', '--no-server');
  expect(checked.stdout).toMatch(/^warning +repository near: new objects +new objects are written without encryption/m);
  expect((await keysOf(configure([plain], identities.slice(1), 'left.json'), 3))[0]?.state).toBe('unreadable');
});

test('a storage that does not answer is no unreadable key, and hides nothing of the others', async () => {
  const down = { name: 'down', storage: { use: 'fs', path: '/not/mounted/here' } };
  const config = configure([near([K2, K1]), down], [], 'down.json');
  const shown = await keysOf(config, 2);
  expect(shown).toMatchObject([
    { repository: 'near', state: 'readable' },
    { repository: 'down', state: 'failed', error: { code: 'STORAGE_MISCONFIGURED' } },
  ]);
  const empty = { name: 'empty', storage: { use: 'fs', path: join(archive.folder, 'empty') } };
  mkdirSync(empty.storage.path);
  expect(await keysOf(configure([empty], [], 'empty.json'), 1)).toMatchObject([{ state: 'empty' }]);
});

test('H-62 a suffix that no codec reads is fatal for restore, wal-fetch and copy, and named by keys and check', async () => {
  const fresh = { name: 'fresh', storage: { use: 'fs', path: join(archive.folder, 'fresh') } };
  mkdirSync(fresh.storage.path);
  giveToServer(fresh.storage.path);
  const config = configure([odd([]), fresh], [], 'forgotten.json');
  const data = join(archive.folder, 'data-odd');
  const target = join(archive.folder, 'fetched-odd');
  const runs = [
    ['restore', '--repository', 'odd', data],
    ['copy', '--from', 'odd', '--to', 'fresh'],
    ['wal-fetch', '--repository', 'odd', lastOld, target],
    ['keys', '--repository', 'odd'],
  ];
  const ended = await Promise.all(runs.map((args) => cli(config, '--json', ...args)));
  for (const [at, { stderr }] of ended.entries()) {
    expect(stderr, runs[at]?.[0]).toContain('no installed codec reads \\".odd\\"');
    expect(stderr, runs[at]?.[0]).toContain('CODEC_UNKNOWN');
  }
  expect(ended.map(({ code }) => code)).toEqual([3, 3, 2, 3]);
  expect([existsSync(join(data, 'global', 'pg_control')), existsSync(target)]).toEqual([false, false]);
  const copied = readdirSync(fresh.storage.path, { recursive: true, encoding: 'utf8' });
  expect(copied.filter((path) => /backup\.json|\/0{7}/.test(path))).toEqual([]);
  const [shown] = (JSON.parse(ended[3]?.stdout ?? '') as { repositories: readonly ShownKeys[] }).repositories;
  expect(shown).toMatchObject({ state: 'unreadable', codecs: [{ suffix: 'odd', problem: { code: 'CODEC_UNKNOWN' } }] });
  const checked = await cli(config, 'check', '--no-server');
  expect(checked.code).toBe(1);
  expect(checked.stdout).toMatch(/^failed +repository odd: keys +backup .*no installed codec reads "\.odd"/m);
});

test('H-62 a codec that is configured and not installed stops every command before it writes or asks anything', async () => {
  const folder = temporaryFolder('no-codec');
  try {
    for (const name of ['a', 'b', 'spool']) mkdirSync(join(folder, name));
    const segment = join(folder, lastOld);
    writeFileSync(segment, Buffer.alloc(16 << 20));
    const config = join(folder, 'pgark.json');
    const section = (name: string): Section => {
      return { name, storage: { use: 'fs', path: name }, codecs: [{ use: 'zstd' }, { use: 'gone' }] };
    };
    // Nothing listens there: who asks the server first fails otherwise.
    const postgres = { url: 'postgres://postgres@127.0.0.1:1/postgres' };
    const receive = { spool: join(folder, 'spool') };
    writeFileSync(config, JSON.stringify({ postgres, receive, repositories: [section('a'), section('b')] }));
    const runs = [
      ['backup'],
      ['receive'],
      ['wal-push', segment, lastOld],
      ['copy', '--from', 'a', '--to', 'b'],
      ['restore', join(folder, 'data')],
      ['wal-fetch', lastOld, join(folder, 'fetched')],
      ['keys'],
    ];
    const ended = await Promise.all(runs.map((args) => runCli(['--config', config, '--json', ...args])));
    for (const [at, { stderr }] of ended.entries())
      expect(stderr, runs[at]?.[0]).toContain('"code":"PLUGIN_NOT_FOUND"');
    // restore_command outside of a recovery ends with 2.
    expect(ended.map(({ code }, at) => [runs[at]?.[0], code])).toEqual(
      runs.map(([name]) => [name, name === 'wal-fetch' ? 2 : 3]),
    );
    const left = readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort();
    expect(left).toEqual([lastOld, 'a', 'b', 'pgark.json', 'spool'].sort());
  } finally {
    removeFolder(folder);
  }
});

test('H-62 where one of two repositories lacks its codec, the other gets the backup and the WAL, and that one nothing', async () => {
  const place = join(archive.folder, 'ghost');
  mkdirSync(place);
  giveToServer(place);
  const ghost = { name: 'ghost', storage: { use: 'fs', path: place }, codecs: [{ use: 'zstd' }, { use: 'gone' }] };
  configure([near([K2, K1])]);
  const config = configure([near([K2, K1]), ghost], [], 'ghost.json');
  await server.start();
  const backup = await cli(config, '--json', 'backup', '--checkpoint', 'fast');
  await server.stop();
  expect(backup.code, backup.stderr).toBe(2);
  expect(backup.stderr).toContain('"code":"REPOSITORY_BEHIND"');
  expect(backup.stderr).toContain('ghost');
  const segment = join(server.data, 'pg_wal', firstNew);
  const pushed = await cli(config, '--json', 'wal-push', segment, firstNew);
  expect(pushed.code, pushed.stderr).toBe(2);
  const stored = readdirSync(place, { recursive: true, encoding: 'utf8' });
  expect(stored.filter((path) => /wal|backups/.test(path))).toEqual([]);
  const [, shown] = await keysOf(config, 3);
  const codecs = ['zstd', 'gone'].map((id) => ({ id, available: false }));
  expect(shown).toMatchObject({ state: 'failed', writes: { codecs }, error: { code: 'PLUGIN_NOT_FOUND' } });
});
