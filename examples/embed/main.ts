/** Runs the service: `node main.ts RESTORES CONFIG...`, where RESTORES is the folder of restored clusters. Ends at SIGTERM or SIGINT. */
import type { Logger } from 'pgark';
import { startService } from './service.ts';

const [restores, ...configs] = process.argv.slice(2);
if (restores === undefined || configs.length === 0) throw new Error('usage: main.ts RESTORES CONFIG...');

const log =
  (level: string): Logger['info'] =>
  (fields, message) =>
    console.error(`${level}: ${message}`, fields['error'] ?? '');
const logger: Logger = { debug: () => undefined, info: log('info'), warn: log('warn'), error: log('error') };

const command = process.env['EMBED_COMMAND'];
const { EMBED_COMMAND: _, ...env } = process.env;
const service = await startService({
  restores,
  configs,
  env,
  logger,
  ...(command === undefined ? {} : { command: command.split(' ') }),
});
console.log(`listening at ${service.url}`);

// There is no process.exit(): nothing of pgark is left that would keep the process alive. stdout and stderr are all that is open.
async function stop(): Promise<void> {
  await service.close();
  setImmediate(() => console.log('closed', ...process.getActiveResourcesInfo()));
}
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void stop());
