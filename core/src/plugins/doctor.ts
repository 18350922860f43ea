/** Loads every plugin and says what is wrong with it, each in a thread of its own: what it does there ends neither the command nor its report. */
import { Worker } from 'node:worker_threads';
import { ArchiveError, throwIfAborted, type ErrorCode } from '../contracts/errors.ts';
import type { Logger, PluginKind } from '../contracts/plugin.ts';
import type { PluginSection } from '../config/config.ts';
import type { ListedPlugin, NamedPlugin } from './listing.ts';
import type { UnreadablePlugin } from './discovery.ts';

/** One line of `pgark plugins doctor`. */
export interface Diagnosis {
  readonly kind?: PluginKind;
  /** The short name, package or path, as the config has it; of what it does not name, the package. */
  readonly use: string;
  /** The place of the config that names it. */
  readonly place?: string;
  /** `warning`: what was tried works, and something else will not. */
  readonly state: 'ok' | 'warning' | 'failed';
  readonly code?: ErrorCode;
  readonly message: string;
  readonly hint?: string;
}

/** What the thread is given to look at. */
export interface DoctorSubject {
  readonly kind: PluginKind;
  readonly use: string;
  /** With the options that it has in the config; absent for what the config does not name. */
  readonly section?: PluginSection;
}

export interface DoctorWork {
  readonly subject: DoctorSubject;
  readonly directory: string;
  readonly env: NodeJS.ProcessEnv;
}

/** What was found of one subject. */
export type DoctorAnswer = Pick<Diagnosis, 'state' | 'code' | 'message' | 'hint'>;

export interface DoctorOptions {
  readonly directory: string;
  readonly env: NodeJS.ProcessEnv;
  readonly logger: Logger;
  /** Milliseconds in which a plugin must be loaded and its options checked. Default 20,000: an option may come from a command. */
  readonly timeout?: number;
  readonly signal?: AbortSignal;
}

/**
 * Looks at what the config names, with its options, and then at what else is installed, without any. A plugin's `create` is called, which
 * opens nothing. Every plugin gets its line, whatever the others do.
 */
export async function* diagnose(
  named: readonly NamedPlugin[],
  installed: readonly ListedPlugin[],
  unreadable: readonly UnreadablePlugin[],
  options: DoctorOptions,
): AsyncGenerator<Diagnosis, void, undefined> {
  for (const { kind, section, place } of named) {
    const { use } = section;
    yield { kind, use, place, ...(await look({ kind, use, section }, options)) };
  }
  for (const { kind, package: use, namedBy = [] } of installed) {
    if (use !== undefined && namedBy.length === 0) yield { kind, use, ...(await look({ kind, use }, options)) };
  }
  for (const { package: use, folder, reason } of unreadable) {
    const message = `the "pgark" field in ${folder}/package.json is no manifest: ${reason}`;
    yield {
      use,
      state: 'failed',
      code: 'PLUGIN_INVALID',
      message,
      hint: 'Report it to the author of the package, or remove it.',
    };
  }
}

async function look(subject: DoctorSubject, options: DoctorOptions): Promise<DoctorAnswer> {
  const { directory, env, logger, timeout = 20_000, signal } = options;
  throwIfAborted(signal, 'looking at the plugins');
  const data: DoctorWork = { subject, directory, env: { ...env } };
  // Built, the modules are chunks in one folder, and the thread is an entry of its own.
  const file = import.meta.url.endsWith('.ts') ? './doctor-thread.ts' : './plugin-doctor.js';
  const thread = new Worker(new URL(file, import.meta.url), {
    workerData: data,
    name: 'pgark plugins doctor',
    stdout: true,
    stderr: true,
  });
  for (const stream of [thread.stdout, thread.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => logger.debug({ plugin: subject.use }, text.trimEnd()));
  }
  let timer: NodeJS.Timeout | undefined;
  let cancel: (() => void) | undefined;
  try {
    return await new Promise<DoctorAnswer>((resolve, reject) => {
      const broken = (reason: string): void =>
        resolve({ state: 'failed', code: 'PLUGIN_INVALID', ...brokenBy(subject, reason) });
      timer = setTimeout(() => broken(`is not done with loading after ${timeout / 1000} s`), timeout);
      cancel = () =>
        reject(new ArchiveError('ABORTED', 'looking at the plugins was cancelled', { cause: signal?.reason }));
      signal?.addEventListener('abort', cancel);
      thread.on('message', resolve);
      thread.on('error', (error: unknown) =>
        broken(`throws outside of any call: ${error instanceof Error ? error.message : String(error)}`),
      );
      thread.on('exit', (code) =>
        broken(`is never loaded: it ends the process (with ${code}), or waits for what does not come`),
      );
    });
  } finally {
    clearTimeout(timer);
    if (cancel !== undefined) signal?.removeEventListener('abort', cancel);
    await thread.terminate();
  }
}

function brokenBy({ kind, use }: DoctorSubject, reason: string): Pick<DoctorAnswer, 'message' | 'hint'> {
  return { message: `${kind} ${use} ${reason}`, hint: 'Report it to the author of the plugin.' };
}
