/** What `pgark doctor` says where something is wrong: each fault has its line and what to do, and no secret is shown. */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { runCli } from '../../../test/support/cli.ts';
import { silentLogger } from '../../../test/support/silent-logger.ts';
import { examine, failureOf, type ExaminedPart } from '../../src/archive/doctor.ts';
import type { Finding } from '../../src/check/finding.ts';
import type { ArchiveError } from '../../src/contracts/errors.ts';
import { VERSION } from '../../src/version.ts';
import { folder } from '../config/support.ts';
import { pluginSource } from '../plugins/support.ts';

interface Report {
  readonly failure: ArchiveError | undefined;
  readonly text: string;
  readonly parts: readonly ExaminedPart[];
  /** The one finding of a part whose check begins like this. */
  readonly of: (part: ExaminedPart['part'], check: string) => Finding;
}

/** A server that is certainly not there: nothing listens at port 1. */
const NO_SERVER = 'postgres://pgark@127.0.0.1:1/';

async function doctor(
  files: Readonly<Record<string, string>>,
  options: {
    readonly env?: Readonly<Record<string, string>>;
    readonly path?: string;
    readonly before?: (directory: string) => void;
  } = {},
): Promise<Report> {
  const { env = {}, path, before } = options;
  const directory = folder();
  for (const [name, content] of Object.entries(files)) writeFileSync(join(directory, name), content, { mode: 0o600 });
  mkdirSync(join(directory, 'archive'));
  before?.(directory);
  const parts: ExaminedPart[] = [];
  const signal = new AbortController().signal;
  const all = { PATH: process.env['PATH'], ...env };
  for await (const part of examine({ path, env: all, directory, logger: silentLogger, signal })) parts.push(part);
  return {
    parts,
    failure: failureOf(parts),
    text: JSON.stringify([parts, failureOf(parts)]),
    of: (part, check) => {
      const found = parts
        .filter((one) => one.part === part)
        .flatMap(({ findings }) => findings)
        .filter((finding) => finding.check.startsWith(check));
      const [one] = found;
      if (one === undefined || found.length > 1)
        throw new Error(`${found.length} findings "${part}: ${check}":\n${JSON.stringify(parts)}`);
      return one;
    },
  };
}

const config = (more = '', codecs = 'zstd'): string => `cluster: main
postgres: { url: '${NO_SERVER}' }
repositories: [{ name: primary, storage: { use: fs, path: archive }, codecs: [{ use: ${codecs} }] }]
receive: { spool: spool }
${more}`;

describe('pgark doctor', () => {
  test('looks at every part, and a server that is away keeps no other part from being looked at', async () => {
    const { failure, of, parts } = await doctor({ 'pgark.yaml': config() });
    expect(failure?.code).toBe('CHECK_FAILED');
    expect(parts.map(({ part }) => part)).toEqual([
      'host',
      'config',
      'secrets',
      'permissions',
      'disk',
      'server',
      'storage',
      'clock',
      'plugins',
    ]);
    expect(of('server', 'connection')).toMatchObject({ state: 'failed', hint: expect.any(String) as string });
    for (const check of ['archive', 'write', 'list', 'race']) {
      const [storage] = parts.filter(({ part }) => part === 'storage');
      expect(storage?.findings.find((one) => one.check === check)?.state, check).toBe('ok');
    }
    expect(of('host', 'node').state).not.toBe('failed');
    expect(of('disk', 'spool')).toMatchObject({
      state: 'ok',
      message: expect.stringContaining('not there yet') as string,
    });
    expect(of('plugins', 'storage fs').message).toMatch(/^@pgark\/storage-fs \d/);
  });

  test.each([
    ['an unknown key', config('serve: { token: [hunter2hunter2], tokn: 1 }'), 'serve.tokn: not a known key'],
    ['what is no YAML', config('serve:\n  token: "hunter2hunter2'), 'pgark.yaml:'],
    ['a tag with capitals', config('serve: { token: !Hunter2hunter2 x }'), 'begins with "!" and is no tag'],
    ['an alias without an anchor', 'postgres: { password: *hunter2hunter2 }', 'begins with "*"'],
  ])(
    'H-64 a config that is broken by %s is told, without its secrets, and the rest is looked at',
    async (_, text, said) => {
      const { failure, parts, of, text: shown } = await doctor({ 'pgark.yaml': text });
      expect(failure?.code).toBe('CHECK_FAILED');
      const found = parts.filter(({ part }) => part === 'config').flatMap(({ findings }) => findings);
      expect(found.map(({ check, message }) => `${check}: ${message}`).join('\n')).toContain(said);
      for (const one of found) expect(one).toMatchObject({ state: 'failed', hint: expect.any(String) as string });
      expect(of('permissions', 'config file').state).toBe('ok');
      expect(of('plugins', 'storage @pgark/storage-fs').state).toBe('ok');
      expect(shown).not.toMatch(/hunter/i);
    },
  );

  test('a plugin that ends the process, one that is missing, and the repositories that work', async () => {
    const text = `cluster: main
postgres: { url: '${NO_SERVER}' }
repositories:
  - { name: deadly, storage: { use: ./deadly.mjs } }
  - { name: primary, storage: { use: fs, path: archive }, codecs: [{ use: zstd }] }
receive: { spool: spool }
hooks: [{ use: nowhere, token: hunter2 }]
`;
    const files = { 'pgark.yaml': text, 'deadly.mjs': pluginSource({ kind: 'storage', before: 'process.exit(3);' }) };
    const { of, parts, text: shown } = await doctor(files);
    expect(of('plugins', 'storage ./deadly.mjs')).toMatchObject({
      state: 'failed',
      hint: expect.any(String) as string,
    });
    expect(of('plugins', 'hook nowhere')).toMatchObject({
      state: 'failed',
      hint: expect.stringContaining('npm install') as string,
    });
    expect(of('plugins', 'codec zstd').state).toBe('ok');
    const storage = parts.find(({ part }) => part === 'storage')?.findings ?? [];
    expect(storage.find(({ subject }) => subject === 'repository deadly')).toMatchObject({ state: 'skipped' });
    expect(storage.find(({ subject, check }) => subject === 'repository primary' && check === 'race')?.state).toBe(
      'ok',
    );
    // Nobody can say which of its options are secrets.
    expect(shown).not.toContain('hunter2');
  });

  test('a storage that is not there', async () => {
    const { of } = await doctor({ 'pgark.yaml': config().replace('archive', '/not/mounted/here') });
    expect(of('storage', 'archive')).toMatchObject({ state: 'failed', hint: expect.any(String) as string });
  });

  test('spool, cache and drills where nothing can be written', async () => {
    const { of } = await doctor(
      { 'pgark.yaml': config("status: { cache: occupied }\ndrill: { folder: '/proc/pgark' }"), occupied: '' },
      { before: (cwd) => mkdirSync(join(cwd, 'spool')) },
    );
    expect(of('disk', 'cache')).toMatchObject({
      state: 'warning',
      message: expect.stringContaining('no folder') as string,
    });
    expect(of('disk', 'drills').message).toContain('/proc');
    expect(of('disk', 'space of spool').message).toMatch(/\d \w+ of \d+ \w+ are free|free for/);
    expect(of('disk', 'type of spool').message).toContain('the spool is on ');
    expect(of('disk', 'receiver').state).toBe('skipped');
  });

  test('files that others may read or change', async () => {
    const text = config('restore: { identities: [{ file: key }] }\nserve: { token: hunter2hunter2hunter2 }');
    const { of, text: shown } = await doctor(
      { 'pgark.yaml': text, key: 'hunter3hunter3' },
      {
        before: (cwd) => {
          chmodSync(join(cwd, 'pgark.yaml'), 0o644);
          chmodSync(join(cwd, 'key'), 0o644);
        },
      },
    );
    expect(of('permissions', 'config file')).toMatchObject({
      state: 'warning',
      message: expect.stringContaining('serve.token') as string,
      hint: expect.stringContaining('chmod 0600') as string,
    });
    expect(of('secrets', 'restore.identities[0]')).toMatchObject({
      state: 'warning',
      message: expect.stringContaining('every user') as string,
    });
    const open = await doctor(
      { 'pgark.yaml': text, key: 'x' },
      { before: (cwd) => chmodSync(join(cwd, 'pgark.yaml'), 0o666) },
    );
    expect(open.of('permissions', 'config file')).toMatchObject({
      state: 'failed',
      hint: expect.stringContaining('chmod go-w') as string,
    });
    expect(shown).not.toContain('hunter');
  });

  test('H-64 shows no secret, whatever it comes from, and says where it comes from', async () => {
    const store = pluginSource({
      kind: 'storage',
      members: `secrets: ["key", "list[].key"], create: ({ key, list }) => {
        throw new Error('cannot use ' + key.reveal() + ' and ' + list[0].key.reveal());
      }`,
    });
    const text = `cluster: main
postgres: { url: 'postgres://pgark:hunter1hunter1@127.0.0.1:1/', password: { env: PASSWORD_OF_TEST } }
repositories: [{ storage: { use: ./store.mjs, key: hunter2hunter2, list: [{ key: { file: token } }] } }]
receive: { spool: spool }
restore: { identities: [hunter4hunter4, { command: [echo, hunter5hunter5] }, { env: GONE_FROM_TEST }, { file: gone }, { command: ['false', hunter6hunter6] }] }
hooks: [{ use: exec, command: [curl, --token, hunter7hunter7, 'https://u:hunter8hunter8@h/'] }]
daemon: { tokens: [{ name: me, role: viewer, token: hunter9hunter9xx }] }
`;
    const files = { 'pgark.yaml': text, 'store.mjs': store, token: 'hunter3hunter3\n' };
    const report = await doctor(files, { env: { PASSWORD_OF_TEST: 'hunter0hunter0', MY_API_TOKEN: 'hunterAhunterA' } });
    expect(report.text).not.toContain('hunter');
    expect(report.of('plugins', 'storage ./store.mjs').message).toContain('cannot use [redacted] and [redacted]');
    expect(report.of('secrets', 'postgres.password')).toMatchObject({
      state: 'ok',
      message: 'is read from environment variable PASSWORD_OF_TEST',
    });
    expect(report.of('secrets', 'restore.identities[1]')).toMatchObject({
      state: 'ok',
      message: 'is read from command echo',
    });
    for (const at of [2, 3, 4])
      expect(report.of('secrets', `restore.identities[${at}]`)).toMatchObject({
        state: 'failed',
        hint: expect.any(String) as string,
      });
    const settings = report.parts.find(({ part }) => part === 'config')?.settings ?? [];
    expect(settings.find(({ key }) => key === 'postgres.url')?.value).toBe('[redacted]');
    expect(settings.find(({ key }) => key === 'postgres.password')?.value).toBe(
      '[from environment variable PASSWORD_OF_TEST]',
    );
  });

  test('each cluster of a file has its parts', async () => {
    const section = `{ postgres: { url: '${NO_SERVER}' }, repositories: [{ storage: { use: fs, path: archive } }], receive: { spool: spool } }`;
    const { parts } = await doctor({ 'pgark.yaml': `clusters:\n  a: ${section}\n  b: ${section}\n` });
    expect(parts.filter(({ part }) => part === 'storage').map(({ cluster }) => cluster)).toEqual(['a', 'b']);
    expect(parts.filter(({ part }) => part === 'plugins')).toHaveLength(1);
  });

  test('is printed for people and for programs, and ends as a check does', async () => {
    const cwd = folder();
    const text = await runCli(['doctor'], { cwd });
    expect(text.code).toBe(1);
    expect(text.stdout).toMatch(
      /^pgark \S+ doctor, [^]*\n== host\nok [^]*\n== config\nfailed +file [^]*\n +hint: [^]*\n1 failed, /,
    );
    expect(text.stderr).toContain('checks failed (config: file)');
    const json = await runCli(['doctor', '--json'], { cwd });
    expect(json.code).toBe(1);
    expect(JSON.parse(json.stdout)).toMatchObject({
      ok: false,
      version: VERSION,
      parts: expect.any(Array) as unknown[],
    });
    expect(JSON.parse(json.stderr)).toMatchObject({ error: { code: 'CHECK_FAILED' } });
  });
});
