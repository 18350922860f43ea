import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { PluginSection } from '../../src/config/config.ts';
import type { Logger } from '../../src/contracts/plugin.ts';

/** A folder with these files, deleted when the test ends. */
export function tree(files: Readonly<Record<string, string>>): string {
  const root = mkdtempSync(join(tmpdir(), 'pgark-plugins-'));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), content);
  }
  return root;
}

export interface FakePlugin {
  readonly name?: string;
  readonly kind?: string;
  readonly apiVersion?: number;
  readonly suffix?: string;
  /** JavaScript of further members of the manifest. */
  readonly members?: string;
  readonly exports?: unknown;
  /** The "pgark" field; default as the code says. */
  readonly field?: unknown;
  /** JavaScript before the export. */
  readonly before?: string;
}

/** Source of a plugin's module that takes any options and hands them out again as `options` of what it creates. */
export function pluginSource({
  name = 'x',
  kind = 'codec',
  apiVersion = 1,
  suffix = 'xx',
  members = '',
  before = '',
}: FakePlugin = {}): string {
  const suffixMember = kind === 'codec' ? `suffix: ${JSON.stringify(suffix)},` : '';
  const create = {
    codec: `{ id: ${JSON.stringify(name)}, suffix: ${JSON.stringify(suffix)}, encode() {}, decode() {}, options, context }`,
    storage:
      '{ capabilities: {}, put() {}, get() {}, stat() {}, list() {}, remove() {}, close() {}, options, context }',
    hook: '{ handle() {}, close() {}, options, context }',
  }[kind];
  return `${before}
    export default {
      name: ${JSON.stringify(name)}, kind: ${JSON.stringify(kind)}, apiVersion: ${apiVersion}, ${suffixMember}
      options: { '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value }) } },
      create: (options, context) => (${create ?? '{}'}),
      ${members}
    };`;
}

/** Files of a plugin package below `node_modules`. */
export function pluginPackage(name: string, plugin: FakePlugin = {}, folder = 'node_modules'): Record<string, string> {
  const { name: short = 'x', kind = 'codec', apiVersion = 1, suffix = 'xx' } = plugin;
  const field = plugin.field ?? { name: short, kind, apiVersion, ...(kind === 'codec' ? { suffix } : {}) };
  const content = {
    name,
    version: '1.2.3',
    type: 'module',
    exports: plugin.exports ?? { '.': { types: './x.d.ts', default: './index.js' } },
    peerDependencies: { pgark: '^1.0.0' },
    pgark: field,
  };
  return {
    [`${folder}/${name}/package.json`]: JSON.stringify(content),
    [`${folder}/${name}/index.js`]: pluginSource(plugin),
  };
}

export function section(
  use: string,
  options: Readonly<Record<string, unknown>> = {},
  texts: readonly string[] = [],
): PluginSection {
  return { use, options, path: 'repositories[0].storage', texts };
}

/** A logger that keeps what it is told. */
export function recordingLogger(): Logger & { readonly lines: string[] } {
  const lines: string[] = [];
  const at = (level: string) => (_: unknown, message: string) => void lines.push(`${level}: ${message}`);
  return { lines, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}
