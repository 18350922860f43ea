import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { runCli } from '../../../test/support/cli.ts';

const PROJECT = new URL('../../..', import.meta.url).href;
const LISTER = fileURLToPath(new URL('../../../test/support/loaded-modules.ts', import.meta.url));

/** Rooms whose code is loaded when a command begins to work, and folders of plugins. */
const LATER = [
  'plugins/',
  'sdk/',
  ...['hooks', 'pipeline', 'plugins', 'postgres/replication', 'receive', 'server', 'storage'].map(
    (room) => `core/src/${room}/`,
  ),
];

/** Modules of Node that take their time, or open something. */
const HEAVY = ['node:http', 'node:https', 'node:tls', 'node:worker_threads', 'node:zlib'];

/** What a command loads: paths of ours, names of packages, modules of Node. */
async function loaded(...args: readonly string[]): Promise<Readonly<Record<'own' | 'packages' | 'node', string[]>>> {
  const { code, stderr, stdout } = await runCli(args, { env: { NODE_OPTIONS: `--import=${LISTER}` } });
  expect(code, stderr).toBe(0);
  expect(stdout).not.toBe('');
  const urls = [...stderr.matchAll(/^loaded (.*)$/gm)].map(([, url]) => url ?? '');
  const packages = urls.flatMap((url) => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(url)?.[1] ?? []);
  const own = urls.filter((url) => url.startsWith(PROJECT) && !url.includes('/node_modules/'));
  return {
    own: own.map((url) => url.slice(PROJECT.length)),
    packages: [...new Set(packages)],
    node: urls.filter((url) => url.startsWith('node:')),
  };
}

test.for([['--help'], ['backup', '--help']])(
  'pgark %j loads no plugin, no package but that of the command line, and nothing that is heavy',
  async (args) => {
    const { own, packages, node } = await loaded(...args);
    expect(own).toContain('core/src/cli/program.ts');
    expect(packages).toEqual(['commander']);
    expect(own.filter((path) => LATER.some((room) => path.startsWith(room)))).toEqual([]);
    expect(node.filter((module) => HEAVY.includes(module))).toEqual([]);
  },
);

test('H-84 what a command does load is seen', async () => {
  const { own } = await loaded('plugins', 'list', '--json');
  expect(own).toContain('core/src/plugins/listing.ts');
});
