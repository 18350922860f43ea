/** Runs docs/tutorial/first-archive.md as it is printed, against a server with the usual access rules. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { readPage, type Block } from '../docs/pages.ts';
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
    const scripts = blocks.filter(({ language, mark }) => language === 'sh' && mark?.startsWith('not run') !== true);
    expect(scripts.length).toBeGreaterThan(10);
    const server = await usualServer();
    const { home, path } = machine();
    const data = join(home, 'first-archive', 'restored');
    cleanup.push(() => {
      if (existsSync(join(data, 'postmaster.pid')))
        run(server.major, 'pg_ctl', ['-D', data, '-m', 'immediate', 'stop']);
    });

    const values = { PGHOST: server.folder, PGPORT: String(server.port), RESTORED_PORT: String(await freePort()) };
    const { code, output } = await shell(script(scripts, values), { home, path });
    const printed = outputs(output);
    expect(code, output).toBe(0);
    expect(printed).toHaveLength(scripts.length);

    // What stands below a block of commands was printed by it.
    for (const [index, block] of scripts.entries()) {
      const next = blocks[blocks.indexOf(block) + 1];
      if (next?.language !== 'text') continue;
      const actual = new Set((printed[index] ?? '').replaceAll(home, HOME_IN_PAGE).split('\n').map(withoutNumbers));
      const shown = next.text.split('\n').filter((line) => line.trim() !== '...');
      // The line for pg_hba.conf is to be written, not read.
      if (/^host\s/.test(next.text)) continue;
      expect(
        shown.filter((line) => !actual.has(withoutNumbers(line))),
        `line ${next.line}, printed was:\n${printed[index]}`,
      ).toEqual([]);
    }
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

const BORDER = '--- block ';

/** One script: what a reader types, with the values of the reader's machine. */
function script(scripts: readonly Block[], values: Readonly<Record<string, string>>): string {
  let text = scripts.map((block, index) => `echo '${BORDER}${index}'\n${block.text}`).join('');
  for (const [name, value] of Object.entries(values)) {
    const line = new RegExp(`^export ${name}=\\S+`, 'm');
    expect(text).toMatch(line);
    text = text.replace(line, `export ${name}='${value}'`);
  }
  return text;
}

/** Runs a script as the user of the server, in a process group of its own. */
async function shell(
  text: string,
  { home, path }: { readonly home: string; readonly path: string },
): Promise<{ readonly code: number | null; readonly output: string }> {
  const child = spawn('/bin/sh', ['-eu', '-c', `exec 2>&1\n${text}`], {
    ...serverUser(),
    cwd: home,
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { HOME: home, PATH: path, LC_ALL: 'C', TZ: 'UTC', NODE_NO_WARNINGS: '1' },
  });
  const ended = once(child, 'close');
  cleanup.push(() => {
    try {
      process.kill(-(child.pid ?? 0), 'SIGKILL');
    } catch {
      // All of it has ended, as it should.
    }
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (output += chunk));
  const [code] = (await ended) as [number | null];
  return { code, output };
}

/** What each block printed. */
function outputs(output: string): readonly string[] {
  return output.split(new RegExp(`^${BORDER}\\d+\n`, 'm')).slice(1);
}

/** A line with what differs from run to run taken out: numbers with their units, ids, the width of columns. */
function withoutNumbers(line: string): string {
  return line
    .replaceAll(/\b[0-9A-F]+\/[0-9A-F]+\b/g, '#')
    .replaceAll(/\b\d[\dA-Za-z:.+-]*(?: (?:B|KiB|MiB|ms|s)\b)?/g, '#')
    .replaceAll(/-{2,}/g, '--')
    .replaceAll(/ +/g, ' ')
    .trim();
}
