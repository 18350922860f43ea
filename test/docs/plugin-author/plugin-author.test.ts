/**
 * Follows docs/tutorial/write-a-plugin.md as it is printed, from an empty folder to a restored PostgreSQL, with the packages that npm would
 * publish and nothing of the workspace.
 */
import { existsSync, mkdirSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { serverUser } from '../../support/binaries.ts';
import { freePort } from '../../support/free-port.ts';
import { PostgresServer, removeFolder, run, temporaryFolder } from '../../support/postgres.ts';
import { MISSING, tool } from '../../support/tools.ts';
import { expectPrinted, runBlocks, shellBlocks } from '../page-script.ts';
import { PROJECT, readPage, type Block } from '../pages.ts';
import { cleanEnv, execute, importable, pack, pathOutside, registry, type Registry } from './packages.ts';

const PAGE = readPage('docs/tutorial/write-a-plugin.md');
/** From this line on the page is for the user of PostgreSQL. */
const AS_POSTGRES = PAGE.blocks.find(({ text }) => text.includes('su postgres'))?.line ?? 0;
const HOME_IN_PAGE = '/var/lib/postgresql';
const SCRIPTS = shellBlocks(PAGE.blocks);

const cleanup: (() => unknown)[] = [];
afterAll(async () => {
  for (const undo of cleanup.splice(0).toReversed()) await undo();
});

const home = temporaryFolder('plugin-author');
cleanup.push(() => removeFolder(home));
const places = { PACKAGES: join(home, 'packages'), WORK: join(home, 'plugin-author') };
const plugin = join(places.WORK, 'pgark-storage-shelf');
const installed = join(places.WORK, 'archive', 'node_modules');

let npm: Registry | string = 'not looked for';
beforeAll(async () => {
  npm = await registry();
  if (typeof npm === 'string') return;
  mkdirSync(places.PACKAGES);
  pack(['core', 'sdk', 'sdk/create-pgark-plugin', 'plugins/codec-zstd'], places.PACKAGES);
}, 120_000);

/** The registry, or the end of a test that is nothing without one. */
function needed(skip: (reason: string) => never): Registry {
  return typeof npm === 'string' ? skip(npm) : npm;
}

/** What stands below a comment that begins with `mark`, by the path that follows there. */
function snippets(mark: string): readonly (readonly [path: string, block: Block])[] {
  return PAGE.blocks.flatMap((block) => {
    const path = block.mark?.startsWith(mark) === true ? block.mark.slice(mark.length) : undefined;
    return path === undefined ? [] : [[path, block] as const];
  });
}

describe('write-a-plugin.md', () => {
  test('steps 1 to 5, from an empty folder to a package', { timeout: 300_000 }, async ({ skip }) => {
    const { env } = needed(skip);
    const scripts = SCRIPTS.filter(({ line }) => line < AS_POSTGRES);
    expect(scripts.length).toBeGreaterThan(5);
    const printed = await runBlocks(scripts, {
      values: places,
      cwd: home,
      env: { HOME: home, PATH: pathOutside(), NO_COLOR: '1', ...env },
      onStart: (end) => cleanup.push(end),
    });
    expectPrinted(PAGE.blocks, scripts, printed, { clean: (text) => text.replaceAll(home, '/home/you') });
    // Nothing of the workspace was in reach.
    for (const name of ['pgark', '@pgark/sdk', '@pgark/codec-zstd']) {
      expect(realpathSync(join(installed, name)).startsWith(home), name).toBe(true);
    }
  });

  test('its snippets are the code that was written, or compile beside it', ({ skip }) => {
    const { env } = needed(skip);
    const shown = snippets('is: ');
    expect(shown.length).toBeGreaterThan(0);
    for (const [path, { text }] of shown) expect(readFileSync(join(plugin, path), 'utf8'), path).toBe(text);
    const compiled = snippets('compiled: ');
    for (const [path, { text }] of compiled) writeFileSync(join(plugin, path), text, { flag: 'wx' });
    execute('npm', ['run', 'types'], { cwd: plugin, env: cleanEnv(env) });
    const known = PAGE.blocks.filter(({ language }) => language === 'ts').length;
    expect(shown.length + compiled.length).toBe(known);
  });

  test.for(['codec', 'hook'])(
    '"npm create pgark-plugin %s" passes its suite at once',
    { timeout: 300_000 },
    async (kind, { skip }) => {
      const { env } = needed(skip);
      const own = join(home, kind);
      mkdirSync(own);
      execute('npm', ['install', join(places.PACKAGES, 'create-pgark-plugin-0.1.0.tgz')], {
        cwd: own,
        env: cleanEnv(env),
      });
      execute('npm', ['create', 'pgark-plugin', kind, 'mine', '--', '--directory', 'mine'], {
        cwd: own,
        env: cleanEnv(env),
      });
      // What it needs is installed already.
      symlinkSync(join(plugin, 'node_modules'), join(own, 'mine', 'node_modules'));
      for (const script of ['types', 'build', 'test']) {
        const output = execute('npm', ['run', script], {
          cwd: join(own, 'mine'),
          env: cleanEnv({ NO_COLOR: '1', ...env }),
        });
        if (script === 'test') expect(output).toMatch(/Tests {2}[2-9]\d passed/);
      }
      expect(importable([`pgark-${kind}-mine`], join(own, 'mine'))).toEqual([`pgark-${kind}-mine`]);
    },
  );

  test('all entries of what was installed can be imported', ({ skip }) => {
    needed(skip);
    const entries = ['pgark', 'pgark/contracts', '@pgark/sdk', 'pgark-storage-shelf', '@pgark/codec-zstd'];
    expect(importable(entries, join(places.WORK, 'archive'))).toEqual(entries);
  });

  test.skipIf(tool('psql') === undefined)(
    `steps 6 and 7, from a package to a restored PostgreSQL (${MISSING})`,
    { timeout: 300_000 },
    async ({ skip }) => {
      needed(skip);
      const server = await PostgresServer.start({ major: 17, settings: { fsync: 'on' } });
      cleanup.push(() => server.destroy());
      const restored = join(places.WORK, 'archive', 'restored');
      cleanup.push(() => {
        if (existsSync(join(restored, 'postmaster.pid')))
          run(server.major, 'pg_ctl', ['-D', restored, '-m', 'immediate', 'stop']);
      });
      const user = serverUser();
      if (user !== undefined) execute('chown', ['-R', `${user.uid}:${user.gid}`, home], { cwd: home, env: cleanEnv() });
      const bin = join(home, 'bin');
      mkdirSync(bin);
      symlinkSync(tool('psql') ?? '', join(bin, 'psql'));

      const scripts = SCRIPTS.filter(({ line }) => line > AS_POSTGRES);
      const printed = await runBlocks(scripts, {
        values: { PGHOST: server.folder, PGPORT: String(server.port), RESTORED_PORT: String(await freePort()) },
        cwd: home,
        env: { HOME: home, PATH: `${bin}:${dirname(process.execPath)}:/usr/bin:/bin`, ...places },
        user,
        onStart: (end) => cleanup.push(end),
      });
      expectPrinted(PAGE.blocks, scripts, printed, { clean: (text) => text.replaceAll(home, HOME_IN_PAGE) });
      expect(await server.value('SELECT count(*) FROM pg_replication_slots')).toBe('0');
      expect(existsSync(places.WORK)).toBe(false);
    },
  );
});

test('the workspace is not in reach of the page', () => {
  expect(places.WORK.startsWith(PROJECT)).toBe(false);
  expect(
    pathOutside()
      .split(':')
      .slice(1)
      .filter((folder) => folder.startsWith(PROJECT)),
  ).toEqual([]);
});
