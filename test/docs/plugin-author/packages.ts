/** The packages of the project as npm would publish them, and npm itself, for tests that must not see the workspace. */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { PROJECT } from '../pages.ts';

/** What runs `npm`: without the programs of the workspace, and with the Node of the tests before any other. */
export function pathOutside(...first: readonly string[]): string {
  const others = (process.env['PATH'] ?? '')
    .split(delimiter)
    .filter((folder) => !folder.startsWith(join(PROJECT, '/')));
  return [...first, dirname(process.execPath), ...others].join(delimiter);
}

/** Where npm finds packages, on this machine. */
export interface Registry {
  readonly url: string;
  /** Variables with which npm uses this registry and its cache, whatever the home. */
  readonly env: Readonly<Record<string, string>>;
}

/** The registry of npm's configuration; the reason for which there is none otherwise. In CI that is an error. */
export async function registry(): Promise<Registry | string> {
  const config = JSON.parse(execute('npm', ['config', 'list', '--json'], { cwd: '/', env: cleanEnv() })) as Readonly<
    Record<string, unknown>
  >;
  const text = (name: string): string => String(config[name]);
  const url = text('registry');
  const failed = await fetch(new URL('zod/latest', url), { method: 'HEAD', signal: AbortSignal.timeout(15_000) }).then(
    ({ status }) => (status < 500 ? undefined : `HTTP ${status}`),
    (error: unknown) => String((error as { cause?: unknown }).cause ?? error),
  );
  if (failed !== undefined) {
    const reason = `the npm registry ${url} cannot be reached: ${failed}`;
    if ((process.env['CI'] ?? '') !== '') throw new Error(`${reason} (CI is set)`);
    return reason;
  }
  const env = {
    ...networkEnv(),
    npm_config_registry: url,
    npm_config_cache: text('cache'),
    npm_config_userconfig: text('userconfig'),
    npm_config_prefer_offline: 'true',
    npm_config_audit: 'false',
    npm_config_fund: 'false',
    npm_config_update_notifier: 'false',
  };
  return { url, env };
}

/** How this machine gets out: proxies, and whose certificates are good. */
function networkEnv(): Record<string, string> {
  const names = /^(?:https?_proxy|no_proxy|all_proxy|NODE_EXTRA_CA_CERTS|NODE_USE_SYSTEM_CA|SSL_CERT_(?:FILE|DIR))$/i;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => names.test(name))) as Record<string, string>;
}

/** The environment without what an outer `npm run`, vitest and PostgreSQL put into it. */
export function cleanEnv(more: Readonly<Record<string, string>> = {}): Record<string, string> {
  const own = Object.entries(process.env).filter(
    ([name]) =>
      !/^(?:npm_|INIT_CWD$|NODE|VITEST|VITE_|TEST$|DEV$|PROD$|MODE$|SSR$|BASE_URL$|PGARK_|PG[A-Z])/i.test(name),
  );
  return { ...(Object.fromEntries(own) as Record<string, string>), ...networkEnv(), PATH: pathOutside(), ...more };
}

/** Runs a program to its end and gives its standard output. */
export function execute(
  program: string,
  args: readonly string[],
  options: { readonly cwd: string; readonly env: Readonly<Record<string, string>> },
): string {
  const result = spawnSync(program, args, { ...options, encoding: 'utf8', maxBuffer: 1 << 26 });
  if (result.status !== 0) {
    const what = [program, ...args].join(' ');
    throw new Error(`${what} ended with ${result.status ?? result.signal}:\n${result.stdout}${result.stderr}`, {
      cause: result.error,
    });
  }
  return result.stdout;
}

/** Folders of the project with a package that is published. */
export function publishedFolders(): readonly string[] {
  const plugins = readdirSync(join(PROJECT, 'plugins'), { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && existsSync(join(PROJECT, 'plugins', entry.name, 'package.json')))
    .map((entry) => `plugins/${entry.name}`);
  return ['core', 'sdk', 'sdk/create-pgark-plugin', 'plugins', ...plugins];
}

/**
 * Builds the packages in these folders from their source and packs them into `destination`. JavaScript is built beside the project, whose own
 * `dist` may be in use by a test that runs at the same time.
 */
export function pack(folders: readonly string[], destination: string): void {
  const stage = join(destination, '.stage');
  const bin = (name: string): string => join(PROJECT, 'node_modules/.bin', name);
  const env = cleanEnv();
  const typed = folders.filter((folder) => existsSync(join(PROJECT, folder, 'tsconfig.json')));
  execute(process.execPath, [bin('tsc'), '-b', ...typed], { cwd: PROJECT, env });
  const staged = folders.map((folder) => {
    const from = join(PROJECT, folder);
    const to = join(stage, folder);
    mkdirSync(to, { recursive: true });
    for (const name of ['package.json', 'bin', 'src', 'template']) {
      if (existsSync(join(from, name))) cpSync(join(from, name), join(to, name), { recursive: true });
    }
    if (existsSync(join(from, 'src'))) {
      if (existsSync(join(from, 'dist')))
        cpSync(join(from, 'dist'), join(to, 'dist'), { recursive: true, filter: isTypes });
      execute(process.execPath, [bin('tsup'), '--silent', '--out-dir', join(to, 'dist')], { cwd: from, env });
    }
    return to;
  });
  execute('npm', ['pack', '--silent', '--pack-destination', destination, ...staged], { cwd: stage, env });
  rmSync(stage, { recursive: true });
}

function isTypes(path: string): boolean {
  return !/\.[^./]+$/.test(path) || /\.d\.ts(?:\.map)?$/.test(path);
}

/** Those of the names that a module in `folder` can import and that export something, by this Node. */
export function importable(
  names: readonly string[],
  folder: string,
  node: string = process.execPath,
): readonly string[] {
  const code = `
    for (const name of ${JSON.stringify(names)}) {
      if (Object.keys(await import(name)).length > 0) console.log(name);
    }`;
  const output = execute(node, ['--input-type=module', '--eval', code], { cwd: folder, env: cleanEnv() });
  return output.trim().split('\n');
}
