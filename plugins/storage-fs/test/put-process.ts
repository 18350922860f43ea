/** A process that works on a storage so that a test can kill, limit or trace it. Arguments: the action and its values. */
import { setTimeout as sleep } from 'node:timers/promises';
import { isArchiveError, type Storage } from '@pgark/sdk';
import { FsStorage } from '@pgark/storage-fs';
import { silentLogger } from '../../../test/support/silent-logger.ts';

const [action = '', root = '', ...values] = process.argv.slice(2);
const storage: Storage = new FsStorage({ path: root }, { directory: '/', logger: silentLogger });
const tell = (line: unknown): boolean => process.stdout.write(`${JSON.stringify(line)}\n`);

/** Tells what came of a call. */
async function report(name: string, call: () => Promise<unknown>): Promise<void> {
  try {
    tell({ name, result: (await call()) ?? 'done' });
  } catch (error) {
    if (!isArchiveError(error)) throw error;
    tell({ name, code: error.code, retriable: error.retriable, message: error.message, hint: error.hint });
  }
}

async function* bodyOf(bytes: number, chunk = 1024 * 1024): AsyncGenerator<Uint8Array, void, undefined> {
  for (let left = bytes; left > 0; left -= chunk) yield Buffer.alloc(Math.min(left, chunk), 'p');
}

async function keys(options: { startAfter?: string } = {}): Promise<string[]> {
  const found: string[] = [];
  for await (const { key } of storage.list('', options)) found.push(key);
  return found;
}

async function read(key: string): Promise<number> {
  let bytes = 0;
  for await (const chunk of storage.get(key)) bytes += chunk.byteLength;
  return bytes;
}

/** A body that stops half-way for ever. */
async function* halfOf(bytes: number): AsyncGenerator<Uint8Array, void, undefined> {
  yield* bodyOf(bytes / 2);
  tell('half');
  await sleep(2 ** 30);
}

const actions: Record<string, () => Promise<void>> = {
  /** `put KEY BYTES`: stores one object. */
  put: () => report('put', () => storage.put(values[0] ?? '', bodyOf(Number(values[1])), { ifAbsent: true })),
  /** `hang KEY BYTES`: stores half of an object. */
  hang: () => storage.put(values[0] ?? '', halfOf(Number(values[1])), { ifAbsent: true, size: Number(values[1]) }),
  /** `stream BYTES`: stores object after object and tells the key of each when its put has returned. */
  stream: async () => {
    for (let number = 0; ; number++) {
      const key = `folder-${number % 3}/${number}`;
      await storage.put(key, bodyOf(Number(values[0]), 65_536), { ifAbsent: true });
      tell(key);
    }
  },
  /** `every KEY`: tries all calls. */
  every: async () => {
    const key = values[0] ?? '';
    await report('get', () => read(key));
    await report('stat', () => storage.stat(key));
    await report('list', () => keys());
    await report('remove', () => storage.remove([key]));
    await report('put', () => storage.put(`${key}-new`, bodyOf(1), { ifAbsent: true }));
  },
  /** `remove KEY...`: removes objects. */
  remove: () => report('remove', () => storage.remove(values)),
  /** `list KEY`: all keys, and those after KEY. */
  list: async () => {
    await report('all', () => keys());
    await report('after', () => keys({ startAfter: values[0] ?? '' }));
  },
};

const run = actions[action];
if (run === undefined) throw new Error(`no action ${action}`);
await run();
