/**
 * A process that tells a hook of numbered events, for tests that kill it. Arguments: the folder of the events, the address of the receiver, the
 * number of the first event, and how many. Says on stdout up to which number they were emitted, and the memory that is held. Ends in order on SIGTERM.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Events } from '../../core/src/hooks/events.ts';
import { HttpHook } from './http-hook.ts';

const [folder = '', url = '', first = '', count = '', mode = 'numbers'] = process.argv.slice(2);

const logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: (_: unknown, message: string) => process.stderr.write(`${message}\n`),
  error: (_: unknown, message: string) => process.stderr.write(`${message}\n`),
};
const events = new Events({
  cluster: 'main',
  hooks: [
    {
      hook: new HttpHook(url, 'secret'),
      config: {
        name: 'http',
        hook: { use: 'http', options: {}, path: 'hooks[0]', texts: [] },
        severity: 'info',
        policy: 'warn',
        quiet: 3_600_000,
        timeout: 10_000,
        retries: 1,
        spool: mode === 'flood' ? 64 * 1024 : 8 * 1024 * 1024,
      },
    },
  ],
  logger,
  folder,
  pace: { retry: 10, most: 100, look: 50, end: 1000 },
});

/** Bytes that are really held. */
function memory(): number {
  globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

const stop = new AbortController();
process.on('SIGTERM', () => stop.abort());
events.start();
/** What is bulky and what comes over and over, beside the numbers. */
function flood(): void {
  for (let file = 0; file < 20; file += 1) events.emit('wal.shipped', { file: '0'.repeat(24), bytes: 16_777_216 });
  events.emit('storage.degraded', { repository: 'offsite', code: 'STORAGE_UNAVAILABLE', message: 'x'.repeat(500) });
}
for (let number = Number(first); number < Number(first) + Number(count) && !stop.signal.aborted; number += 1) {
  if (mode === 'flood') flood();
  events.emit('guardian.acted', { action: 'hole', message: String(number) });
  if (number % 50 === 0) process.stdout.write(`${number} ${memory()}\n`);
  if (mode === 'flood' ? number % 50 === 0 : number % 5 === 0) await sleep(5);
}
process.stdout.write('done\n');
while (!stop.signal.aborted) await sleep(20);
await events.close();
