/**
 * `pgark run` with a clock for its jobs that is faster than that of the host: the program of `week.test.ts`, and of the kills of a daemon.
 * Config, factor and the moment from which the clock is faster are its arguments; who begins it anew gives the same one, as a clock does not
 * go back. What happens is written to stdout, a line of JSON for each.
 */
import { readFileSync } from 'node:fs';
import { loadSections } from '../../core/src/config/load.ts';
import { openDaemon } from '../../core/src/daemon/open.ts';
import type { Logger } from '../../core/src/contracts/plugin.ts';
import { acceleratedClock } from '../support/accelerated-clock.ts';

const [path = '', factor = '', from = ''] = process.argv.slice(2);
const clock = acceleratedClock(Number(factor), Number(from));

const tell = (what: object): void => void process.stdout.write(`${JSON.stringify(what)}\n`);
const log =
  (level: string) =>
  (fields: Readonly<Record<string, unknown>>, message: string): void => {
    if (level !== 'debug') tell({ log: level, message, fields: { ...fields, error: undefined } });
  };
const logger: Logger = { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') };

/** Megabytes: what is resident, as the system counts it, and what the main thread has of it. */
function memoryNow(): object {
  const resident = Number(/VmRSS:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) / 1024;
  const { heapUsed, heapTotal, external } = process.memoryUsage();
  const megabytes = (bytes: number): number => bytes / 1024 / 1024;
  return { resident, heapUsed: megabytes(heapUsed), heapTotal: megabytes(heapTotal), external: megabytes(external) };
}

const daemon = await openDaemon({
  load: () => loadSections({ path, env: process.env, directory: '/' }),
  command: [process.execPath, ...process.execArgv, new URL('../../core/src/cli/bin.ts', import.meta.url).pathname],
  logger,
  openScheduler: (archive, told) => archive.openScheduler({ ...told, clock }),
});
daemon.observe({
  run: (_, run) => tell({ run }),
  event: (_, { name, data }) => tell({ event: name, data }),
});
const memory = setInterval(() => tell({ memory: memoryNow(), clock: clock.now() }), 1000);
process.once('SIGTERM', () => void daemon.close());
await daemon.done;
clearInterval(memory);
