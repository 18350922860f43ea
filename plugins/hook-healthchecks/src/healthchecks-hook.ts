import {
  ArchiveError,
  HttpDelivery,
  oneLine,
  originLine,
  type ArchiveEvent,
  type Hook,
  type HookContext,
  type Secret,
} from '@pgark/sdk';
import { runId } from './run-id.ts';

export interface HealthchecksHookOptions {
  /** Ping URL of the check. */
  readonly url: Secret;
  /** Names of the events that start the clock of a run. */
  readonly start: readonly string[];
  readonly success: readonly string[];
  readonly fail: readonly string[];
  /** Names of the events that are noted only. */
  readonly log: readonly string[];
}

/** Pings a check of Healthchecks: events that stand in none of the lists are let pass. */
export class HealthchecksHook implements Hook {
  readonly #options: HealthchecksHookOptions;
  readonly #delivery: HttpDelivery;

  constructor(options: HealthchecksHookOptions) {
    this.#options = options;
    this.#delivery = new HttpDelivery({
      to: 'the check of Healthchecks',
      secrets: [options.url],
      reason: ({ body }) => /^[a-z ()]{1,80}$/i.exec(body.trim())?.[0],
    });
  }

  async handle(event: ArchiveEvent, { signal }: HookContext): Promise<void> {
    const path = this.#pathOf(event);
    if (path === undefined) return;
    const url = new URL(this.#options.url.reveal());
    url.pathname = url.pathname.replace(/\/+$/, '') + path;
    const run = runId(event);
    if (run !== undefined) url.searchParams.set('rid', run);
    const headers = { 'content-type': 'text/plain; charset=utf-8' };
    const { body } = await this.#delivery.send({ url: url.href, headers, body: noteOf(event) }, { signal });
    // Servers before version 2 answer 200 to what they do not know.
    if (body.includes('(not found)')) throw new ArchiveError('HOOK_REJECTED', 'there is no such check in Healthchecks');
    if (body.includes('(rate limited)'))
      throw new ArchiveError('HOOK_FAILED', 'Healthchecks takes no more pings for now');
  }

  close(): Promise<void> {
    return this.#delivery.close();
  }

  #pathOf({ name, severity }: ArchiveEvent): string | undefined {
    const { start, success, fail, log } = this.#options;
    // A backup is complete also when the server found damaged pages in it: that must not look like all is well.
    if (success.includes(name)) return severity === 'critical' ? '/fail' : '';
    if (fail.includes(name)) return '/fail';
    if (start.includes(name)) return '/start';
    return log.includes(name) ? '/log' : undefined;
  }
}

/** What is kept with the ping; at most 10 kB of it in older servers. */
function noteOf(event: ArchiveEvent): string {
  const lines = [`${event.cluster}: ${event.name}`, event.summary, originLine(event), `event ${event.id}`];
  return lines.map((line) => `${oneLine(line, 2000)}\n`).join('');
}
