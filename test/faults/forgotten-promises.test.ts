/** The program as it is installed, when a part of it neither ends nor fails. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { CLI } from '../support/cli.ts';
import { later } from '../support/later.ts';
import { removeFolder, temporaryFolder } from '../support/postgres.ts';
import { walSegment } from '../../core/test/wal-command/segments.ts';

/** What npm installs, and what the tests run. The first needs `npm run build`. */
const INSTALLED: readonly string[] = [
  process.execPath,
  fileURLToPath(new URL('../../core/bin/pgark.js', import.meta.url)),
];
const PROGRAMS = existsSync(new URL('../../core/dist/cli.js', import.meta.url))
  ? [['installed', INSTALLED] as const, ['source', CLI] as const]
  : [['source', CLI] as const];

/** A plugin of somebody's own whose storage is down, and one of whose promises is forgotten: nothing keeps the process alive. */
function archive(forgets: 'create' | 'hook'): { readonly config: string; readonly cwd: string; readonly name: string } {
  const folder = later(temporaryFolder('forgotten'), removeFolder);
  const plugin = (name: string, kind: string, create: string): void =>
    writeFileSync(
      join(folder, `${name}.mjs`),
      `const fail = async () => { throw Object.assign(new Error('the storage is down'), {
         [Symbol.for('pgark.ArchiveError')]: true, code: 'STORAGE_UNAVAILABLE', retriable: true, exitCode: 2, hint: '', details: {} }); };
       const forgotten = () => new Promise(() => undefined);
       export default { name: '${name}', kind: '${kind}', apiVersion: 1,
         options: { '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value }) } }, create: () => ${create} };\n`,
    );
  const down = `({ capabilities: { conditionalPut: true, retention: false, metadata: false }, put: fail, stat: fail, remove: fail,
    get: async function* () { await fail(); }, list: async function* () { await fail(); }, close: async () => undefined })`;
  plugin('storage', 'storage', forgets === 'create' ? 'forgotten()' : down);
  plugin('hook', 'hook', `({ handle: forgotten, close: forgotten })`);
  const config = join(folder, 'pgark.json');
  writeFileSync(
    config,
    JSON.stringify({
      cluster: 'main',
      repositories: [{ storage: { use: './storage.mjs' } }],
      receive: { spool: join(folder, 'spool') },
      // It is asked before a segment is let go for want of room.
      ...(forgets === 'hook' && {
        hooks: [{ use: './hook.mjs', policy: 'fail', timeout: '100ms', retries: 0 }],
        push: { onFullDisk: 'drop', minFree: '1000TB' },
      }),
      restore: { walRetry: '0s' },
    }),
  );
  const { name, bytes } = walSegment(5n);
  mkdirSync(join(folder, 'pg_wal'));
  writeFileSync(join(folder, 'pg_wal', name), bytes);
  writeFileSync(join(folder, 'recovery.signal'), '');
  return { config, cwd: folder, name };
}

interface Ended {
  readonly status: number | null;
  readonly stderr: string;
}

async function run([program = '', ...first]: readonly string[], args: readonly string[], cwd: string): Promise<Ended> {
  const child = spawn(program, [...first, ...args], { cwd, stdio: ['ignore', 'ignore', 'pipe'] });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const [status] = (await once(child, 'close')) as [number | null];
  return { status, stderr };
}

test.each(PROGRAMS)(
  'H-20 H-21 %s: no command of PostgreSQL ends with 0, or a recovery with 1 to 125, when a plugin never ends its work',
  async (_, program) => {
    const cases = (['create', 'hook'] as const).flatMap((forgets) => {
      const { config, cwd, name } = archive(forgets);
      const push = ['--config', config, 'wal-push', `pg_wal/${name}`, name];
      const fetch = ['--config', config, 'wal-fetch', '--system-id', '42', name, 'pg_wal/RECOVERYXLOG'];
      return [
        { cwd, args: push, least: 1, most: 125, says: forgets === 'hook' ? 'no answer within 0.1 s' : '' },
        { cwd, args: fetch, least: 255, most: 255, says: '' },
      ];
    });
    const ended = await Promise.all(cases.map(({ cwd, args }) => run(program, args, cwd)));
    for (const [at, { status, stderr }] of ended.entries()) {
      const { args, least = 0, most = 0, says = '' } = cases[at] ?? {};
      expect(status, `${args?.join(' ')}\n${stderr}`).toBeGreaterThanOrEqual(least);
      expect(status, `${args?.join(' ')}\n${stderr}`).toBeLessThanOrEqual(most);
      expect(stderr).toContain('error: ');
      expect(stderr).toContain(says);
    }
  },
);
