import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadConfig, loadConfigs } from '../../src/config/load.ts';
import { Secret } from '../../src/contracts/secret.ts';
import { folder, load, MINIMAL, problems } from './support.ts';

describe('loadConfig', () => {
  test('fills in the defaults, in milliseconds and bytes, and freezes the result', async () => {
    const { config } = await load(MINIMAL);
    expect(config).toEqual({
      cluster: 'main',
      postgres: {},
      repositories: [
        {
          name: 'primary',
          storage: { use: 'fs', options: { path: '/archive' }, path: 'repositories[0].storage', texts: [] },
          codecs: [],
          readOnly: false,
          stallTimeout: 120_000,
        },
      ],
      receive: {
        slot: 'pgark',
        spool: '/var/lib/pgark/spool',
        ack: 'local',
        statusInterval: 10_000,
        createSlot: true,
        onGap: 'continue',
        shipConcurrency: 2,
        guardian: {
          interval: 30_000,
          maxLag: 1024 ** 3,
          closeHoles: true,
          backup: false,
          slots: 'primary',
          patroni: [],
        },
      },
      backup: { checkpoint: 'fast', partSize: 268_435_456, walTimeout: 300_000 },
      push: { onFullDisk: 'keep', minFree: 1024 ** 3 },
      agent: { concurrency: 2, prefetch: 268_435_456, script: false },
      restore: { identities: [], concurrency: 4, walRetry: 60_000 },
      schedule: [],
      daemon: {
        listen: '127.0.0.1:8733',
        tokens: [],
        clientRole: 'viewer',
        openMetrics: false,
        refresh: 30_000,
        names: [],
        drain: 60_000,
        serveWal: false,
        peers: [],
      },
      serve: { listen: '127.0.0.1:8732', maxRequests: 100, maxFetches: 4, stallTimeout: 300_000 },
      drill: { role: 'postgres', preload: [], checks: [], amcheck: true, timeout: 900_000, keep: false },
      status: {
        cacheAge: 3_600_000,
        backupWarning: 93_600_000,
        backupCritical: 180_000_000,
        walWarning: 900_000,
        walCritical: 3_600_000,
        gaps: 'critical',
      },
      concurrency: availableParallelism(),
      hooks: [],
      log: { level: 'info', format: 'auto' },
    });
    expect(() => Object.assign(config.receive, { slot: 'x' })).toThrow(TypeError);
    expect(() => (config.hooks as unknown[]).push(1)).toThrow(TypeError);
  });

  test('reads what is written, in YAML and in JSON', async () => {
    const yaml = await load(`
      cluster: db1
      receive: { slot: s1, ack: remote, tail: 30s, spool: spool, createSlot: false }
      backup: { maxRate: 10MB, label: weekly }
      repositories:
        - name: far
          storage: { use: s3, bucket: b }
          codecs: [ { use: zstd, level: 1 }, { use: ./own.js } ]
      hooks: [ { use: webhook, url: 'http://x', events: [wal.gap], policy: fail } ]
    `);
    expect(yaml.config.receive).toMatchObject({ slot: 's1', ack: 'remote', tail: 30_000, createSlot: false });
    expect(yaml.config.receive.spool).toBe(join(yaml.directory, 'spool'));
    expect(yaml.config.backup).toMatchObject({ maxRate: 10e6, label: 'weekly' });
    expect(yaml.config.repositories[0]?.codecs.map(({ use, options }) => [use, options])).toEqual([
      ['zstd', { level: 1 }],
      ['./own.js', {}],
    ]);
    expect(yaml.config.hooks).toEqual([
      {
        hook: { use: 'webhook', options: { url: 'http://x' }, path: 'hooks[0]', texts: [] },
        events: ['wal.gap'],
        name: 'webhook',
        severity: 'info',
        quiet: 3_600_000,
        spool: 8 * 1024 * 1024,
        policy: 'fail',
        timeout: 10_000,
        retries: 2,
      },
    ]);
    const json = await load('{"cluster": "db2", "repositories": [{"storage": {"use": "fs"}}]}', { name: 'pgark.json' });
    expect(json.config.cluster).toBe('db2');
  });

  test('names hooks after their plugins, and tells those of one name apart', async () => {
    const hooks = `[{ use: slack }, { use: ./own/tell.mjs }, { use: '@x/tell', name: slack-2 }, { use: slack }, { use: '@x/slack' }]`;
    const { config } = await load(`${MINIMAL}\nhooks: ${hooks}\n`);
    expect(config.hooks.map(({ name }) => name)).toEqual(['slack', 'tell', 'slack-2', 'slack-3', 'slack-4']);
  });

  test('a hook that is to refuse work is asked about all that its events name', async () => {
    const hook = (more: string): string => `${MINIMAL}hooks: [ { use: x, policy: fail${more} } ]\n`;
    const place = 'pgark.yaml:2: hooks[0]';
    const unasked = `${place}.severity: keeps a hook with "policy: fail" from being asked about`;
    expect(await problems(hook(', severity: warning'))).toEqual([`${unasked} backup.started, expire.planned`]);
    expect(await problems(hook(', severity: critical, events: [expire.planned, wal.gap]'))).toEqual([
      `${unasked} expire.planned`,
    ]);
    expect(await problems(hook(', events: [backup.failed]'))).toEqual([
      `${place}.events: has no event that a hook with "policy: fail" is asked about: wal.gap, backup.started, expire.planned`,
    ]);
    await load(hook(', severity: critical, events: [wal.gap, backup.failed]'));
    await load(hook(', events: [backup.failed, backup.started]'));
    await load(hook(''));
  });

  test('the files of the server are beside the config; a listen address that is none is refused', async () => {
    const { config, directory } = await load(
      `${MINIMAL}serve: { folder: wal, token: { file: t }, tls: { certificate: c.crt, key: /etc/c.key } }`,
      { env: { PGARK_SERVE_TLS_CLIENT_CA: 'ca.crt', PGARK_SERVE_LISTEN: '[::1]:1' } },
    );
    expect(config.serve).toMatchObject({
      listen: '[::1]:1',
      folder: join(directory, 'wal'),
      token: { file: 't' },
      tls: { certificate: join(directory, 'c.crt'), key: '/etc/c.key', clientCa: join(directory, 'ca.crt') },
    });
    for (const listen of ['8732', '127.0.0.1', ':8732', '::1:8732', 'a b:1', '127.0.0.1:123456'])
      expect(await problems(`${MINIMAL}serve: { listen: '${listen}' }`), listen).toEqual([
        expect.stringContaining('serve.listen'),
      ]);
    expect(await problems(`${MINIMAL}serve: { tls: { certificate: c } }`)).toEqual([
      expect.stringContaining('serve.tls.key'),
    ]);
  });

  test('the codec none, alone, is the same as an empty list, also from the environment', async () => {
    const codecs = async (list: string, env: NodeJS.ProcessEnv = {}): Promise<unknown> =>
      (await load(`repositories: [ { storage: { use: fs }, codecs: ${list} } ]`, { env })).config.repositories[0]
        ?.codecs;
    expect(await codecs('[]')).toEqual([]);
    expect(await codecs('[ { use: none } ]')).toEqual([]);
    expect(await codecs('[ { use: "${CODEC}" } ]', { CODEC: 'none' })).toEqual([]);
    expect(await codecs('[ { use: zstd } ]', { PGARK_REPOSITORIES_0_CODECS_0_USE: 'none' })).toEqual([]);
    expect(await codecs('[ { use: ./none } ]')).toMatchObject([{ use: './none' }]);
  });

  test('a section with everything commented out counts as not written', async () => {
    const { config } = await load(`${MINIMAL}receive:\n  # slot: x\npostgres:\n`);
    expect(config.receive.slot).toBe('pgark');
  });

  test('finds --config, then PGARK_CONFIG, then the usual names', async () => {
    const directory = folder();
    const write = (name: string, cluster: string): void =>
      writeFileSync(join(directory, name), `cluster: ${cluster}\n${MINIMAL}`);
    const cluster = async (options: { path?: string; env?: NodeJS.ProcessEnv }): Promise<string> =>
      (await loadConfig({ directory, env: {}, ...options })).config.cluster;
    writeFileSync(join(directory, 'pgark.json'), '{"cluster":"json","repositories":[{"storage":{"use":"fs"}}]}');
    expect(await cluster({})).toBe('json');
    write('pgark.yml', 'yml');
    expect(await cluster({})).toBe('yml');
    write('pgark.yaml', 'yaml');
    expect(await cluster({})).toBe('yaml');
    write('env.yaml', 'env');
    expect(await cluster({ env: { PGARK_CONFIG: join(directory, 'env.yaml') } })).toBe('env');
    write('option.yaml', 'option');
    expect(await cluster({ path: 'option.yaml', env: { PGARK_CONFIG: 'env.yaml' } })).toBe('option');
  });

  test('tells a missing file from one that cannot be read', async () => {
    const directory = folder();
    await expect(loadConfig({ directory, env: {} })).rejects.toMatchObject({ code: 'CONFIG_NOT_FOUND' });
    await expect(loadConfig({ directory, env: {}, path: 'no.yaml' })).rejects.toMatchObject({
      code: 'CONFIG_NOT_FOUND',
      message: `there is no config file ${join(directory, 'no.yaml')}`,
    });
    mkdirSync(join(directory, 'pgark.yaml'));
    await expect(loadConfig({ directory, env: {} })).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });

  test('needs only what every command needs: no server, no secret, no plugin (H-80)', async () => {
    const { config } = await load(`
      postgres: { url: { env: NOT_SET }, password: { file: /not/there } }
      repositories: [ { storage: { use: not-installed }, codecs: [ { use: neither } ] } ]
    `);
    expect(config.postgres.url).toEqual({ env: 'NOT_SET' });
  });

  test('secrets are wrapped and never printed', async () => {
    const { config, settings } = await load(`${MINIMAL}postgres: { url: 'postgres://u:hunter2@h/' }\n`);
    expect(config.postgres.url).toBeInstanceOf(Secret);
    expect((config.postgres.url as Secret).reveal()).toBe('postgres://u:hunter2@h/');
    expect(JSON.stringify([config, settings])).not.toContain('hunter2');
  });
});

describe('H-80 unknown and wrong keys', () => {
  test('H-62 the codec none beside another, or with options, is refused with the reason', async () => {
    const codecs = (...lines: readonly string[]): Promise<readonly string[]> =>
      problems(`repositories:\n- storage: { use: fs }\n  codecs:\n${lines.map((line) => `  - ${line}\n`).join('')}`);
    const reason = '"none" means no codec at all: take it out, or all the others';
    expect(await codecs('use: age', 'use: none')).toEqual([`pgark.yaml:5: repositories[0].codecs[1].use: ${reason}`]);
    expect(await codecs('use: none', 'use: none')).toEqual([
      `pgark.yaml:4: repositories[0].codecs[0].use: ${reason}`,
      `pgark.yaml:5: repositories[0].codecs[1].use: ${reason}`,
    ]);
    expect(await codecs('{ use: none, level: 1 }')).toEqual([
      'pgark.yaml:4: repositories[0].codecs[0].level: not a known key: "none" has no options',
    ]);
  });

  test('an unknown key is refused with file, line, path and the nearest known key', async () => {
    expect(await problems(`${MINIMAL}receive:\n  slto: x\n`)).toEqual([
      'pgark.yaml:3: receive.slto: not a known key, did you mean "slot"?',
    ]);
    expect(await problems(`${MINIMAL}recieve: {}\n`)).toEqual([
      'pgark.yaml:2: recieve: not a known key, did you mean "receive"?',
    ]);
    expect(await problems(`${MINIMAL}colour: red\n`)).toEqual(['pgark.yaml:2: colour: not a known key']);
    expect(await problems('repositories:\n  - storage: { use: fs }\n    codec: []\n')).toEqual([
      'pgark.yaml:3: repositories[0].codec: not a known key, did you mean "codecs"?',
    ]);
    expect(await problems(`${MINIMAL}__proto__: { polluted: yes }\n`)).toEqual([
      'pgark.yaml:2: __proto__: not a known key',
    ]);
  });

  test('a guardian can be told apart, and be switched off', async () => {
    const guarded = await load(
      `${MINIMAL}receive: { guardian: { maxLag: 64MiB, slots: all, patroni: ["http://db1:8008"] } }\n`,
    );
    const expected = { interval: 30_000, maxLag: 64 * 1024 ** 2, slots: 'all', patroni: ['http://db1:8008'] };
    expect(guarded.config.receive.guardian).toMatchObject(expected);
    const off = await load(`${MINIMAL}receive: { guardian: { interval: off } }\n`);
    expect(off.config.receive.guardian).toBeUndefined();
    expect(await problems(`${MINIMAL}receive: { guardian: { patroni: ["db1:8008"] } }\n`)).toEqual([
      'pgark.yaml:2: receive.guardian.patroni[0]: must be an http or https URL',
    ]);
  });

  test('every problem is told at once', async () => {
    const lines = await problems(`cluster: "a b"
repositories:
  - storage: { us: fs, path: "\${NOPE}" }
receive: { ack: locale, statusInterval: 10, shipConcurrency: 0, createSlot: yes }
backup: { partSize: 1XB, walTimeout: -1s, maxRate: 1kB }
postgres: { url: { fil: x }, password: [1] }
hooks: [ { use: x, events: [backup.failled], policy: 1 } ]
concurrency: 0
log: debug
`);
    expect(lines).toEqual([
      'pgark.yaml:3: repositories[0].storage.path: the environment variable NOPE is not set',
      'pgark.yaml:1: cluster: must be up to 63 letters, digits, dots, dashes and underscores, beginning with a letter or digit',
      'pgark.yaml:6: postgres.url: must be a text, {env: NAME}, {file: PATH} or {command: [PROGRAM, ARGUMENT...]}',
      'pgark.yaml:6: postgres.password: must be a text, {env: NAME}, {file: PATH} or {command: [PROGRAM, ARGUMENT...]}',
      'pgark.yaml:3: repositories[0].storage.use: is required',
      'pgark.yaml:4: receive.ack: must be one of local, remote; did you mean "local"?',
      'pgark.yaml:4: receive.statusInterval: must be a duration such as 10s, 5m or 14d',
      'pgark.yaml:4: receive.createSlot: must be true or false',
      'pgark.yaml:4: receive.shipConcurrency: must be at least 1',
      'pgark.yaml:5: backup.maxRate: must be at least 32KiB',
      'pgark.yaml:5: backup.partSize: must be a size such as 256MiB or 1GB',
      'pgark.yaml:5: backup.walTimeout: must be a duration such as 10s, 5m or 14d',
      'pgark.yaml:8: concurrency: must be at least 1',
      expect.stringMatching(
        /^pgark\.yaml:7: hooks\[0\]\.events\[0\]: must be one of .*did you mean "backup\.failed"\?$/,
      ),
      'pgark.yaml:7: hooks[0].policy: must be one of warn, fail',
      'pgark.yaml:9: log: must be a section',
    ]);
  });

  test('what is missing or doubled', async () => {
    expect(await problems('cluster: a\n')).toEqual(['pgark.yaml: repositories: is required']);
    expect(await problems('repositories: []\n')).toEqual(['pgark.yaml:1: repositories: must hold a repository']);
    expect(await problems(`${MINIMAL}${MINIMAL}`)).toEqual(['pgark.yaml:2: map keys must be unique']);
    expect(await problems('repositories: [ {storage: {use: a}}, {storage: {}} ]\n')).toEqual([
      'pgark.yaml:1: repositories[1].storage.use: is required',
    ]);
    expect(await problems('repositories: [ {storage: {use: a}}, {storage: {use: b}} ]\n')).toEqual([
      'pgark.yaml:1: repositories[1]: is named "primary" like repositories[0]: give each a name of its own',
    ]);
    expect(await problems('- a\n')).toEqual(['pgark.yaml:1: must be a map of keys']);
    expect((await problems('a: [1\n'))[0]).toMatch(/^pgark\.yaml:\d: flow sequence/);
  });
});

describe('clusters', () => {
  const text = `clusters:
  a:
    repositories: &where [ { storage: { use: fs } } ]
  b: { repositories: *where, receive: { slot: of_b } }
`;

  test('--cluster or PGARK_CLUSTER picks a section, whose name is the default of its cluster', async () => {
    expect((await load(text, { cluster: 'a' })).config.cluster).toBe('a');
    const b = await load(text, { env: { PGARK_CLUSTER: 'b', PGARK_BACKUP_LABEL: 'x' } });
    expect(b.config).toMatchObject({ cluster: 'b', receive: { slot: 'of_b' }, backup: { label: 'x' } });
  });

  test('none or an unknown name is an error that lists them', async () => {
    expect(await problems(text)).toEqual(['pgark.yaml holds several clusters: a, b']);
    expect(await problems(text, { cluster: 'c' })).toEqual(['pgark.yaml has no cluster "c"; it has a, b']);
    expect((await load('clusters: { only: { repositories: [ { storage: { use: fs } } ] } }\n')).config.cluster).toBe(
      'only',
    );
  });

  test('problems name the section; nothing may stand beside "clusters"', async () => {
    expect(await problems(`${text}    log: { lvl: x }\n`.replace('b: {', 'b:\n    {'), { cluster: 'b' })).toHaveLength(
      1,
    );
    expect(await problems('clusters:\n  a:\n    repositories: [ { storage: {} } ]\n')).toEqual([
      'pgark.yaml:3: clusters.a.repositories[0].storage.use: is required',
    ]);
    expect(await problems(`${text}cluster: a\n`, { cluster: 'a' })).toEqual([
      'pgark.yaml:5: cluster: not allowed beside "clusters": it belongs into the sections there',
    ]);
    expect(await problems('clusters: []\n')).toEqual(['pgark.yaml:1: clusters: must be a map from names to sections']);
  });

  test('--cluster with a config of one cluster must agree with it', async () => {
    expect((await load(`cluster: a\n${MINIMAL}`, { cluster: 'a' })).config.cluster).toBe('a');
    expect(await problems(`cluster: a\n${MINIMAL}`, { cluster: 'b' })).toEqual([
      'pgark.yaml:1: cluster: is "a", not "b" as --cluster says',
    ]);
  });

  test('one daemon is for all clusters: its section stands beside them', async () => {
    const shared = `daemon: { listen: '[::1]:9', refresh: 1m }\n`;
    const directory = folder();
    writeFileSync(join(directory, 'pgark.yaml'), text + shared);
    const both = await loadConfigs({ directory, env: {} });
    expect(both.map(({ config }) => [config.daemon.listen, config.daemon.refresh])).toEqual([
      ['[::1]:9', 60_000],
      ['[::1]:9', 60_000],
    ]);
    expect(await problems(`${text}daemon: { refresh: soon }\n`, { cluster: 'a' })).toEqual([
      'pgark.yaml:5: daemon.refresh: must be a duration such as 10s, 5m or 14d',
    ]);
    expect(
      await problems(text.replace('{ repositories: *where', '{ daemon: {}, repositories: *where'), { cluster: 'b' }),
    ).toEqual(['pgark.yaml:4: clusters.b.daemon: belongs beside "clusters": there is one daemon for all of them']);
  });

  test('loadConfigs checks every section and tells the problems of all', async () => {
    const directory = folder();
    writeFileSync(join(directory, 'pgark.yaml'), text);
    expect((await loadConfigs({ directory, env: {} })).map(({ config }) => config.cluster)).toEqual(['a', 'b']);
    writeFileSync(join(directory, 'pgark.yaml'), 'clusters:\n  a: {}\n  b: { repositories: 1 }\n');
    await expect(loadConfigs({ directory, env: {} })).rejects.toThrow(
      /2 problems:\n  pgark\.yaml:2: clusters\.a\.repositories: is required\n  pgark\.yaml:3: clusters\.b\.repositories: must be a list/,
    );
  });
});
