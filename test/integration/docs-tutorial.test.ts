/** Runs docs/tutorial/first-archive.md as it is printed, against a server with the usual access rules. */
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { expectPrinted, runBlocks, shellBlocks } from '../docs/page-script.ts';
import { readPage } from '../docs/pages.ts';
import { freePort } from '../support/free-port.ts';
import { serverUser } from '../support/binaries.ts';
import { CLI } from '../support/cli.ts';
import { giveToServer, PostgresServer, removeFolder, run, temporaryFolder } from '../support/postgres.ts';
import { MISSING, tool } from '../support/tools.ts';

const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const undo of cleanup.splice(0).toReversed()) await undo();
});

/** What the page says of the machine that it was written on. */
const HOME_IN_PAGE = '/var/lib/postgresql';

test.skipIf(tool('psql') === undefined)(
  `the tutorial does what it says (${MISSING})`,
  async () => {
    const { blocks } = readPage('docs/tutorial/first-archive.md');
    const scripts = shellBlocks(blocks);
    expect(scripts.length).toBeGreaterThan(10);
    const server = await usualServer();
    const { home, path } = machine();
    const data = join(home, 'first-archive', 'restored');
    cleanup.push(() => {
      if (existsSync(join(data, 'postmaster.pid')))
        run(server.major, 'pg_ctl', ['-D', data, '-m', 'immediate', 'stop']);
    });

    const printed = await runBlocks(scripts, {
      values: { PGHOST: server.folder, PGPORT: String(server.port), RESTORED_PORT: String(await freePort()) },
      cwd: home,
      env: { HOME: home, PATH: path, NODE_NO_WARNINGS: '1' },
      user: serverUser(),
      onStart: (end) => cleanup.push(end),
    });
    expectPrinted(blocks, scripts, printed, {
      clean: (text) => text.replaceAll(home, HOME_IN_PAGE),
      // The line for pg_hba.conf is to be written, not read.
      isInput: ({ text }) => /^host\s/.test(text),
    });
    expect(printed.join('')).toMatch(/answer[^]*42[^]*recovery stopping before commit/);
    expect(await server.value('SELECT count(*) FROM pg_replication_slots')).toBe('0');
    expect(await server.value(`SELECT count(*) FROM pg_roles WHERE rolname = 'pgark'`)).toBe('0');
    expect(existsSync(join(home, 'first-archive'))).toBe(false);
  },
  120_000,
);

/** A server that asks for passwords over TCP, as packages set it up. */
async function usualServer(): Promise<PostgresServer> {
  const server = await PostgresServer.create({ major: 17, settings: { password_encryption: 'scram-sha-256' } });
  cleanup.push(() => server.destroy());
  server.setHba([
    'local all postgres trust',
    'host all pgark 127.0.0.1/32 scram-sha-256',
    'host replication all 127.0.0.1/32 scram-sha-256',
    'host all postgres 127.0.0.1/32 trust',
  ]);
  await server.start();
  return server;
}

/** A home and the programs that the page takes for granted: pgark, as it is in the source, and psql. */
function machine(): { readonly home: string; readonly path: string } {
  const home = temporaryFolder('tutorial');
  cleanup.push(() => {
    removeFolder(home);
  });
  const bin = join(home, 'bin');
  mkdirSync(bin);
  const words = CLI.map((word) => `'${word}'`).join(' ');
  writeFileSync(join(bin, 'pgark'), `#!/bin/sh\nexec ${words} "$@"\n`, { mode: 0o755 });
  symlinkSync(tool('psql') ?? '', join(bin, 'psql'));
  giveToServer(bin);
  return { home, path: `${bin}:/usr/bin:/bin` };
}
