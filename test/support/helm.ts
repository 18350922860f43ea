/** The program `helm`, where it can be had, and what it makes of the chart in examples/helm. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { PROJECT } from '../docs/pages.ts';
import type { Manifest } from './deployment.ts';
import { goProgram } from './go-server.ts';
import { unavailable } from './require.ts';

export const CHART: string = join(PROJECT, 'examples/helm/pgark');

/** As Go builds it, which takes minutes: `test/storage-servers.ts` does, no test. */
export const HELM = 'helm.sh/helm/v3/cmd/helm@v3.22.0';

/** Built for the tests, by `go install`, or of the PATH. */
const places = [goProgram(HELM, 'helm'), join(process.env['GOPATH'] ?? join(homedir(), 'go'), 'bin/helm')];
const program =
  places.find((path) => existsSync(path)) ?? (spawnSync('helm', ['version']).status === 0 ? 'helm' : undefined);

/** Why tests that need it do not run; undefined where it is. */
export const helmMissing: string | undefined =
  program === undefined ? unavailable('helm', `go install ${HELM}`) : undefined;

/** Runs it in the folder of the project. */
export function helm(...args: readonly string[]): {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
} {
  const { status, stdout, stderr } = spawnSync(program ?? 'helm', args, { cwd: PROJECT, encoding: 'utf8' });
  return { status, stdout, stderr };
}

/** What is rendered for a file of values in `ci`. The release is called `backup`, its namespace `pgark`. */
export function rendered(values: 'small' | 'full', ...more: readonly string[]): readonly Manifest[] {
  const file = join(CHART, 'ci', `${values}.yaml`);
  const args = ['template', 'backup', CHART, '--namespace', 'pgark', '--kube-version', '1.33.0', '--values', file];
  const { status, stdout, stderr } = helm(...args, ...more);
  if (status !== 0) throw new Error(`helm template: ${stderr}`);
  return parseAllDocuments(stdout).flatMap((document) => {
    const [error] = document.errors;
    if (error !== undefined) throw new Error(error.message);
    return (document.toJS() as Manifest | null) ?? [];
  });
}
