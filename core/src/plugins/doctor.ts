/** Loads every plugin and says what is wrong with it, in a thread: what a plugin does there ends neither the command nor its report. */
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
  readonly subjects: readonly DoctorSubject[];
  readonly directory: string;
  readonly env: NodeJS.ProcessEnv;
}

/** What was found of one subject. */
export type DoctorAnswer = Pick<Diagnosis, 'state' | 'code' | 'message' | 'hint'>;

/** What the thread says: an answer for each subject in order, and that nothing came after the last. */
export type DoctorMessage = DoctorAnswer | 'end';

export interface DoctorOptions {
  readonly directory: string;
  readonly env: NodeJS.ProcessEnv;
  readonly logger: Logger;
  /** Milliseconds in which each plugin must be loaded and its options checked. Default 60,000: an option may come from a command. */
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
  const subjects: readonly (DoctorSubject & { readonly place?: string })[] = [
    ...named.map(({ kind, section, place }) => ({ kind, use: section.use, section, place })),
    ...installed.flatMap(({ kind, package: use, namedBy = [] }) =>
      use === undefined || namedBy.length > 0 ? [] : [{ kind, use }],
    ),
  ];
  const together = await look(subjects, options);
  for (const [at, subject] of subjects.entries()) {
    const { section: _section, ...shown } = subject;
    yield { ...shown, ...(together.answers[at] ?? (await lookAlone(subject, options))) };
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

/** One answer for each subject in order, or the reason why the thread had no good end: then nobody knows whose fault it was. */
type Looked =
  | { readonly answers: readonly DoctorAnswer[]; readonly death?: undefined }
  | { readonly answers: readonly []; readonly death: string };

async function lookAlone(subject: DoctorSubject, options: DoctorOptions): Promise<DoctorAnswer> {
  const { answers, death } = await look([subject], options);
  if (death === undefined) return answers[0] as DoctorAnswer;
  const message = `${subject.kind} ${subject.use} ${death}`;
  return { state: 'failed', code: 'PLUGIN_INVALID', message, hint: 'Report it to the author of the plugin.' };
}

/** Looks at these in a thread, as a command would load them: together. */
async function look(subjects: readonly DoctorSubject[], options: DoctorOptions): Promise<Looked> {
  const { directory, env, logger, timeout = 60_000, signal } = options;
  throwIfAborted(signal, 'looking at the plugins');
  const data: DoctorWork = {
    subjects: subjects.map(({ kind, use, section }) => ({ kind, use, ...(section === undefined ? {} : { section }) })),
    directory,
    env: { ...env },
  };
  // Built, the modules are chunks in one folder, and the thread is an entry of its own.
  const file = import.meta.url.endsWith('.ts') ? './doctor-thread.ts' : './plugin-doctor.js';
  const thread = new Worker(new URL(file, import.meta.url), {
    workerData: data,
    name: 'pgark plugins doctor',
    stdout: true,
    stderr: true,
  });
  for (const stream of [thread.stdout, thread.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => logger.debug({}, `a plugin wrote: ${text.trimEnd()}`));
  }
  let timer: NodeJS.Timeout | undefined;
  let cancel: (() => void) | undefined;
  try {
    return await new Promise<Looked>((resolve, reject) => {
      const answers: DoctorAnswer[] = [];
      const died = (death: string): void => resolve({ answers: [], death });
      const late = (): void => died(`is not done with loading after ${timeout / 1000} s`);
      timer = setTimeout(late, timeout);
      cancel = () =>
        reject(new ArchiveError('ABORTED', 'looking at the plugins was cancelled', { cause: signal?.reason }));
      signal?.addEventListener('abort', cancel);
      thread.on('message', (message: DoctorMessage) => {
        timer?.refresh();
        if (message === 'end') resolve({ answers });
        else answers.push(message);
      });
      thread.on('error', (error: unknown) =>
        died(`throws outside of any call: ${error instanceof Error ? error.message : String(error)}`),
      );
      thread.on('exit', (code) =>
        died(`is never loaded: it ends the process (with ${code}), or waits for what does not come`),
      );
    });
  } finally {
    clearTimeout(timer);
    if (cancel !== undefined) signal?.removeEventListener('abort', cancel);
    await thread.terminate();
  }
}
