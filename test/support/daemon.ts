/** A daemon inside the test's process: real servers, real spools, folders as storages. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { loadSections, type ConfigValue } from '../../core/src/config/load.ts';
import type { Logger } from '../../core/src/contracts/plugin.ts';
import { openDaemon, type OpenDaemonOptions, type RunningDaemon } from '../../core/src/daemon/open.ts';
import { later } from './later.ts';
import { removeFolder, temporaryFolder } from './postgres.ts';
import { until } from './until.ts';

/** Waits that suit a test. */
const PACE = { restart: { first: 50, most: 500 }, slowRestart: { first: 200, most: 500 }, sample: 100, runs: 1000 };

export interface TestDaemon {
  readonly daemon: RunningDaemon;
  readonly folder: string;
  readonly logs: string[];
  /** The config of the next reload; change it before. */
  readonly config: { value: ConfigValue };
}

/** A section of the config for a server, with spool and storage of its own in the folder. */
export function sectionFor(folder: string, name: string, url: string): ConfigValue {
  const repository = join(folder, `${name}.repository`);
  mkdirSync(repository, { recursive: true });
  return {
    postgres: { url },
    repositories: [{ name: 'primary', storage: { use: 'fs', path: repository } }],
    receive: { slot: 'pgark', spool: join(folder, 'spool') },
    status: { cache: join(folder, 'cache') },
  };
}

/** Opens a daemon for the clusters that `sections` gives; it is closed at the end of the test. */
export async function testDaemon(
  sections: (folder: string) => Readonly<Record<string, ConfigValue>>,
  options: Partial<OpenDaemonOptions> & { readonly section?: object } = {},
): Promise<TestDaemon> {
  const folder = later(temporaryFolder('daemon'), removeFolder);
  const { section = {}, ...rest } = options;
  const config = { value: { clusters: sections(folder), daemon: { listen: 'off', refresh: '1s', ...section } } };
  const logs: string[] = [];
  const daemon = await openDaemon({
    load: () => loadSections({ value: config.value, env: {}, directory: folder }),
    logger: loggerInto(logs, ''),
    loggerOf: ({ cluster }) => Promise.resolve(loggerInto(logs, `${cluster}: `)),
    pace: PACE,
    ...rest,
  });
  later(daemon, (opened) => opened.close(5000));
  return { daemon, folder, logs, config };
}

function loggerInto(logs: string[], name: string): Logger {
  const log =
    (level: string) =>
    (fields: Readonly<Record<string, unknown>>, message: string): void => {
      logs.push(`${level}: ${name}${message} ${JSON.stringify(fields)}`);
    };
  return { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') };
}

/** Waits until the receiver of a cluster is in a state. */
export async function streamIs({ daemon, logs }: TestDaemon, cluster: string, state: string): Promise<void> {
  await until(
    `${cluster} is ${state}`,
    () => daemon.stream(cluster)?.state === state,
    () => `${JSON.stringify(daemon.stream(cluster))}\n${logs.join('\n')}`,
  );
}
