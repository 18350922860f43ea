/** The last lines of the logs of the last runs, and loggers that write into them. */
import type { Logger } from '../contracts/plugin.ts';
import { bounded } from './run-facts.ts';
import type { RunLine } from './run.ts';

/** Lines of one run, and runs, that are kept. */
const MOST_LINES = 500;
const MOST_RUNS = 100;

export class RunLogs {
  readonly #logger: Logger;
  readonly #now: () => number;
  readonly #lines = new Map<string, RunLine[]>();

  constructor(logger: Logger, now: () => number) {
    this.#logger = logger;
    this.#now = now;
  }

  of(id: string): readonly RunLine[] | undefined {
    const lines = this.#lines.get(id);
    return lines === undefined ? undefined : [...lines];
  }

  /** A logger of a run: each line has its id, and is kept. */
  begin(id: string): Logger {
    const lines: RunLine[] = [];
    this.#lines.set(id, lines);
    for (const old of [...this.#lines.keys()].slice(0, -MOST_RUNS)) this.#lines.delete(old);
    const at =
      (level: RunLine['level']) =>
      (fields: Readonly<Record<string, unknown>>, message: string): void => {
        lines.push({ time: this.#now(), level, message: bounded(message) });
        if (lines.length > MOST_LINES) lines.shift();
        this.#logger[level]({ run: id, ...fields }, message);
      };
    return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
  }
}
