import type { Request } from './request.ts';

const ENGINES = '^22.18.0 || ^24.11.0 || >=26.0.0';

/** The `package.json` of a new plugin. `version` is that of pgark, with whose contracts it is to work. */
export function packageJson(request: Request, version: string): string {
  const { kind, name } = request;
  const pgark = `^${version}`;
  const content = {
    name: request.package,
    version: '0.1.0',
    description: `pgark ${kind}: ${name}.`,
    // Says that nobody may use it, until its author decides otherwise: see LICENSE.
    license: 'UNLICENSED',
    type: 'module',
    sideEffects: false,
    engines: { node: ENGINES },
    keywords: ['pgark', `pgark-${kind}`, 'postgresql'],
    // The same as in the manifest of src/index.ts: pgark lists plugins by it, without loading them.
    pgark: { kind, name, apiVersion: 1, ...(kind === 'codec' ? { suffix: name } : {}) },
    exports: {
      '.': { types: './dist/index.d.ts', default: './dist/index.js' },
      './package.json': './package.json',
    },
    files: ['dist', 'src'],
    scripts: {
      build: 'tsc -p tsconfig.build.json',
      types: 'tsc',
      test: 'vitest run',
      prepack: 'npm run build',
    },
    dependencies: { zod: '^4.6.7' },
    peerDependencies: { '@pgark/sdk': pgark, pgark },
    devDependencies: {
      '@pgark/sdk': pgark,
      '@types/node': '^24.19.2',
      pgark,
      typescript: '^7.0.2',
      vitest: '^5.1.1',
    },
  };
  return `${JSON.stringify(content, null, 2)}\n`;
}
