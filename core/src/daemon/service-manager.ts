/**
 * Messages to systemd. Node has no sockets for datagrams of this kind, and a process that holds much memory should not fork every few seconds:
 * a small shell is kept open, reads a line for each message, and has it sent by systemd's own program.
 */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import type { Logger } from '../contracts/plugin.ts';
import { within } from '../receive/backoff.ts';

/** One message a line, its parts between tabs. systemd signals all processes of a unit to stop, while there is still something to say. */
const RELAY = `trap '' TERM INT HUP; set -f; tab=$(printf '\\t')
while IFS= read -r line; do IFS=$tab; systemd-notify -- $line; done`;

/** Milliseconds for the last messages. */
const LAST = 3000;

export class ServiceManager {
  readonly #env: NodeJS.ProcessEnv;
  readonly #logger: Logger;
  #relay: ChildProcessWithoutNullStreams | undefined;
  #complained = false;

  private constructor(env: NodeJS.ProcessEnv, logger: Logger) {
    this.#env = env;
    this.#logger = logger;
  }

  /** Undefined when no service manager has asked for messages. A unit needs `NotifyAccess=all`. */
  static of(env: NodeJS.ProcessEnv, logger: Logger): ServiceManager | undefined {
    return env['NOTIFY_SOCKET'] ? new ServiceManager(env, logger) : undefined;
  }

  /** Milliseconds in which it wants a sign of life; undefined when it wants none. */
  get watchdog(): number | undefined {
    const { WATCHDOG_USEC: time, WATCHDOG_PID: process_ } = this.#env;
    if (!time || !/^\d+$/.test(time) || (process_ && process_ !== String(process.pid))) return undefined;
    return Number(time) / 1000;
  }

  /** Sends one message, such as `READY=1` and a status; its parts are one line each. Never throws and never waits. */
  tell(...parts: readonly string[]): void {
    const relay = (this.#relay ??= this.#open());
    relay.stdin.write(`${parts.map((part) => part.replaceAll(/[\t\r\n]+/g, ' ')).join('\t')}\n`);
  }

  /** Waits until the last message was sent, a few seconds at most. */
  async close(): Promise<void> {
    const relay = this.#relay;
    if (relay === undefined) return;
    const ended = once(relay, 'exit').then(() => undefined);
    relay.stdin.end();
    await within(LAST, ended);
  }

  #open(): ChildProcessWithoutNullStreams {
    const relay = spawn('sh', ['-c', RELAY], { env: this.#env, stdio: 'pipe' });
    const gone = (): void => {
      if (this.#relay === relay) this.#relay = undefined;
    };
    relay.on('error', (error) => {
      this.#complain(error.message);
      gone();
    });
    relay.on('exit', gone);
    relay.stdin.on('error', gone);
    relay.stdout.resume();
    relay.stderr.setEncoding('utf8').on('data', (text: string) => this.#complain(text.trim()));
    return relay;
  }

  #complain(text: string): void {
    if (!this.#complained) this.#logger.warn({}, `systemd was not told: ${text}`);
    this.#complained = true;
  }
}
