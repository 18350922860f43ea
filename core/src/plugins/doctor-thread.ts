/** The thread in which plugins are looked at. It is started by doctor.ts and does nothing else. */
import { setImmediate as turn } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import type { PluginSection } from '../config/config.ts';
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import type { PluginKind } from '../contracts/plugin.ts';
import type { DoctorAnswer, DoctorMessage, DoctorSubject, DoctorWork } from './doctor.ts';
import { Registry } from './registry.ts';

const port = parentPort;
if (port === null) throw new ArchiveError('INTERNAL', 'the thread of the doctor was started as a program');

const { subjects, directory, env } = workerData as DoctorWork;
const say = (_: unknown, message: string): void => void process.stderr.write(`${message}\n`);
const registry = new Registry({ directory, env, logger: { debug: say, info: say, warn: say, error: say } });

async function look(subject: DoctorSubject): Promise<DoctorAnswer> {
  const { kind, use, section } = subject;
  const plugin = await registry.plugin(kind, use);
  if (section !== undefined) {
    await made(kind, section);
    return { state: 'ok', message: 'is loaded, and takes its options' };
  }
  if (kind !== 'codec') return { state: 'ok', message: 'is loaded' };
  try {
    await made(kind, { use, options: {}, path: use, texts: [] });
    return { state: 'ok', message: `is loaded, and reads ".${plugin.suffix}"` };
  } catch (error) {
    const { code, message } = told(subject, error);
    const hint = 'Name it among the codecs of a repository, with its options, where objects of it are to be read.';
    const text = `does not read ".${plugin.suffix}" without options: ${message}`;
    return { state: 'warning', ...(code === undefined ? {} : { code }), message: text, hint };
  }
}

async function made(kind: PluginKind, section: PluginSection): Promise<void> {
  if (kind === 'codec') await registry.createCodec(section);
  else if (kind === 'hook') await (await registry.createHook(section)).close();
  else await (await registry.createStorage(section)).close();
}

function told({ kind, use }: DoctorSubject, error: unknown): DoctorAnswer {
  if (isArchiveError(error)) {
    const { code, message, hint } = error;
    return { state: 'failed', code, message, hint };
  }
  const message = error instanceof Error ? error.message : String(error);
  return {
    state: 'failed',
    code: 'PLUGIN_INVALID',
    message: `${kind} ${use} fails when it is made: ${message}`,
    hint: 'Report it to the author of the plugin.',
  };
}

function post(message: DoctorMessage): void {
  port?.postMessage(message);
}

async function main(): Promise<void> {
  for (const subject of subjects) post(await look(subject).catch((error: unknown) => told(subject, error)));
  // What a plugin began and did not wait for shows itself now.
  await turn();
  await turn();
  post('end');
}

void main();
