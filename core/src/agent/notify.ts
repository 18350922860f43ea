/** Tells systemd how the service is. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Logger } from '../contracts/plugin.ts';

/**
 * Sends such messages as `READY=1` to the service manager, if one asked for them: by its own program, since Node has no sockets for
 * datagrams of this kind. A unit needs `NotifyAccess=all` for it.
 */
export async function notifySystemd(
  messages: readonly string[],
  env: NodeJS.ProcessEnv,
  logger: Logger,
): Promise<void> {
  if (!env['NOTIFY_SOCKET']) return;
  try {
    await promisify(execFile)('systemd-notify', [...messages], { env, timeout: 10_000 });
  } catch (error) {
    logger.warn({ error }, 'systemd was not told: systemd-notify failed');
  }
}
