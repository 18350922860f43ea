import { describe, expect, test } from 'vitest';
import { formatPath, keyOfVariable, leaves, variableOf } from '../../src/config/keys.ts';
import { loadConfig } from '../../src/config/load.ts';
import { folder, load, MINIMAL, problems } from './support.ts';

describe('environment variables', () => {
  test('every key has one variable, and every variable one key', () => {
    const all = leaves();
    expect(all.length).toBeGreaterThan(30);
    for (const { path } of all) expect(keyOfVariable(variableOf(path)), formatPath(path)).toEqual(path);
    expect(new Set(all.map(({ path }) => variableOf(path))).size).toBe(all.length);
  });

  test.each([
    ['PGARK_RECEIVE_SLOT', 'receive.slot'],
    ['PGARK_BACKUP_PART_SIZE', 'backup.partSize'],
    ['PGARK_POSTGRES_URL_FILE', 'postgres.url.file'],
    ['PGARK_REPOSITORIES_0_STORAGE_BUCKET', 'repositories[0].storage.bucket'],
    ['PGARK_REPOSITORIES_0_STORAGE_FORCE_PATH_STYLE', 'repositories[0].storage.forcePathStyle'],
    ['PGARK_REPOSITORIES_0_CODECS_1_RECIPIENTS_0', 'repositories[0].codecs[1].recipients[0]'],
    ['PGARK_RESTORE_IDENTITIES_0_FILE', 'restore.identities[0].file'],
    ['PGARK_HOOKS_2_EVENTS_0', 'hooks[2].events[0]'],
    ['PGARK_HOOKS_0_URL', 'hooks[0].url'],
  ])('%s is %s', (variable, key) => expect(formatPath(keyOfVariable(variable) ?? [])).toBe(key));

  test.each([
    'PGARK_RECEIVE',
    'PGARK_REPOSITORIES',
    'PGARK_REPOSITORIES_STORAGE',
    'PGARK_receive_slot',
    'PGARK_',
    'PGARK_RECEIVE__SLOT',
    'PGARK_HOOKS_00_USE',
  ])('%s is no key', (variable) => expect(keyOfVariable(variable)).toBeUndefined());

  test('variables are laid over the file and typed by the schema', async () => {
    const { config, settings } = await load(`${MINIMAL}receive: { slot: file, shipConcurrency: 3 }\n`, {
      env: {
        PGARK_RECEIVE_SLOT: 'env',
        PGARK_RECEIVE_SHIP_CONCURRENCY: '7',
        PGARK_RECEIVE_CREATE_SLOT: 'false',
        PGARK_RECEIVE_STATUS_INTERVAL: '3s',
        PGARK_REPOSITORIES_0_STORAGE_PATH: '/elsewhere',
        PGARK_REPOSITORIES_0_CODECS_0_USE: 'zstd',
        PGARK_REPOSITORIES_0_CODECS_0_LEVEL: '3',
        PGARK_LOG_LEVEL: 'debug',
        PGARK_BACKUP_LABEL: '', // empty counts as not set
        PATH: '/bin',
      },
    });
    expect(config.receive).toMatchObject({ slot: 'env', shipConcurrency: 7, createSlot: false, statusInterval: 3000 });
    expect(config.repositories[0]?.storage.options).toEqual({ path: '/elsewhere' });
    expect(config.repositories[0]?.codecs[0]).toMatchObject({
      use: 'zstd',
      options: { level: '3' },
      texts: ['level'],
    });
    expect(config.backup).not.toHaveProperty('label');
    const origin = (path: string): unknown => settings.find((setting) => setting.path === path)?.origin;
    expect(origin('receive.slot')).toEqual({ kind: 'env', name: 'PGARK_RECEIVE_SLOT' });
    expect(origin('repositories[0].storage.use')).toEqual({ kind: 'file', file: 'pgark.yaml', line: 1 });
    expect(origin('receive.ack')).toEqual({ kind: 'default' });
  });

  test('the environment alone is a config', async () => {
    const directory = folder();
    const env = {
      PGARK_REPOSITORIES_0_STORAGE_USE: 'fs',
      PGARK_REPOSITORIES_0_STORAGE_PATH: 'archive',
      PGARK_CLUSTER: 'c',
    };
    const loaded = await loadConfig({ directory, env });
    expect(loaded).toMatchObject({ directory, config: { cluster: 'c' } });
    expect(loaded).not.toHaveProperty('path');
  });

  test('H-80 an unknown variable is an error that names the nearest', async () => {
    expect(await problems(MINIMAL, { env: { PGARK_RECEIVE_SLTO: 'x', PGARK_REPOSITORIES_0_STORAG_USE: 'x' } })).toEqual(
      [
        'PGARK_RECEIVE_SLTO: no config key has this variable, did you mean PGARK_RECEIVE_SLOT?',
        'PGARK_REPOSITORIES_0_STORAG_USE: no config key has this variable, did you mean PGARK_REPOSITORIES_0_STORAGE_USE?',
      ],
    );
    expect(await problems(MINIMAL, { env: { PGARK_QUITE_SOMETHING_ELSE: '1' } })).toEqual([
      'PGARK_QUITE_SOMETHING_ELSE: no config key has this variable',
    ]);
    await load(MINIMAL, { env: { PGARK_TEST_X: '1', PGARK_UPDATE_DOCS: '1', PGARK_EVENT_CLUSTER: 'other' } });
  });

  test('a variable of that name that the file refers to is none of ours', async () => {
    const text = `${MINIMAL}postgres: { password: { env: PGARK_SECRET } }\nbackup: { label: "\${PGARK_LABEL}" }\n`;
    const { config } = await load(text, { env: { PGARK_SECRET: 's', PGARK_LABEL: 'l' } });
    expect(config.backup.label).toBe('l');
  });

  test('a wrong value is told by the name of its variable', async () => {
    const env = { PGARK_CONCURRENCY: 'many', PGARK_HOOKS_1_USE: 'x', PGARK_BACKUP_PART_SIZE: '1' };
    expect(await problems(MINIMAL, { env })).toEqual([
      'PGARK_HOOKS_1_USE: hooks[1].use: the list has no item before this one',
      'PGARK_BACKUP_PART_SIZE: backup.partSize: must be at least 1MiB',
      'PGARK_CONCURRENCY: concurrency: must be a whole number',
    ]);
  });

  test('H-64 a value from a variable is taken as it is', async () => {
    const env = { PGARK_BACKUP_LABEL: 'pa$$ ${HOME} $x: { y }' };
    expect((await load(MINIMAL, { env })).config.backup.label).toBe('pa$$ ${HOME} $x: { y }');
  });
});

describe('expansion', () => {
  const label = async (value: string, env: NodeJS.ProcessEnv): Promise<string | undefined> =>
    (await load(`${MINIMAL}backup: { label: ${JSON.stringify(value)} }\n`, { env })).config.backup.label;

  test.each([
    ['${A}', 'one'],
    ['x${A}y${B}z', 'xoneytwoz'],
    ['pa$$word', 'pa$$word'],
    ['cost: 5$', 'cost: 5$'],
    ['$A', '$A'],
    ['$${A}', '${A}'],
    ['${unclosed', '${unclosed'],
  ])('H-64 %s gives %s', async (value, expected) => {
    expect(await label(value, { A: 'one', B: 'two' })).toBe(expected);
  });

  test('H-64 a value cannot become structure, nor be expanded again', async () => {
    const evil = 'x" }\nlog: { level: debug }\n# ${HOME} "';
    const { config } = await load(`${MINIMAL}backup: { label: "\${EVIL}" }\n# \${NOT_SET} in a comment\n`, {
      env: { EVIL: evil },
    });
    expect(config.backup.label).toBe(evil);
    expect(config.log.level).toBe('info');
  });

  test('a missing variable and a wrong form are errors that name them', async () => {
    expect(await problems(`${MINIMAL}backup: { label: "\${NOPE}\${A:-x}" }\n`)).toEqual([
      'pgark.yaml:2: backup.label: the environment variable NOPE is not set',
      'pgark.yaml:2: backup.label: "${A:-x}" does not name a variable; write "$${A:-x}" for the text itself',
    ]);
  });

  test('a value that is one variable can be a number or a boolean', async () => {
    const { config } = await load(`${MINIMAL}receive: { shipConcurrency: "\${N}", createSlot: "\${B}" }\n`, {
      env: { N: '5', B: 'false' },
    });
    expect(config.receive).toMatchObject({ shipConcurrency: 5, createSlot: false });
  });
});
