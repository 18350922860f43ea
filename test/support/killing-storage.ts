/**
 * A storage plugin, given to a config by its path, that kills its own process with SIGKILL at a chosen call of the storage it wraps.
 *
 * A call is one of the contract, on S3 one attempt of a step of a `put`; the same one again and again, as when WAL is awaited, counts once.
 * `KILL_LOG` is a file that gets a line for each; `KILL_AT` says where it ends, `before 3`, `after 3` or `after ~backup.json` for the call that
 * this expression matches, and is nowhere by default.
 */
import { appendFileSync } from 'node:fs';
import { definePlugin, Secret, type Attempt, type Plugin, type Storage } from '@pgark/sdk';
import { FsStorage } from '@pgark/storage-fs';
import { S3Storage, type S3StorageOptions } from '@pgark/storage-s3';

interface Options {
  /** Folder of an archive on the file system. */
  readonly path?: string | undefined;
  /** Options of the S3 storage, the secret as plain text. */
  readonly s3?: Readonly<Record<string, unknown>> | undefined;
}

const [, WHEN = 'never', AT = ''] = /^(\w+) (.*)$/.exec(process.env['KILL_AT'] ?? '') ?? [];
const LOG = process.env['KILL_LOG'] ?? '/dev/null';

let count = 0;
let last = '';

/** Counts a call, and dies before it or gives what is to be done after it. */
function begin(call: string): () => void {
  if (call !== last) count += 1;
  last = call;
  const number = count;
  appendFileSync(LOG, `${number} ${call}\n`);
  const dieAt = (when: string): void => {
    if (WHEN !== when || !(AT.startsWith('~') ? new RegExp(AT.slice(1)).test(call) : Number(AT) === number)) return;
    appendFileSync(LOG, `killed ${when} ${number} ${call}\n`);
    process.kill(process.pid, 'SIGKILL');
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0); // whatever the kernel does first, nothing more happens here
  };
  dieAt('before');
  return () => dieAt('after');
}

async function once<Value>(call: string, run: () => Promise<Value>): Promise<Value> {
  const after = begin(call);
  try {
    return await run();
  } finally {
    after(); // a failure is an end too
  }
}

async function* all<Item>(call: string, items: () => AsyncIterable<Item>): AsyncGenerator<Item, void, undefined> {
  const after = begin(call);
  try {
    yield* items();
  } finally {
    after();
  }
}

/** A put ends with its last step, so only the steps are counted. */
function killingAtSteps(storage: Storage): Storage {
  return {
    capabilities: storage.capabilities,
    put: (key, body, options) => {
      const outer = options.attempt;
      if (outer === undefined) throw new Error('the stack gives an attempt');
      const attempt: Attempt = (step, call) =>
        outer(step, (signal) => once(`put ${key}: ${step.name}`, () => call(signal)));
      return storage.put(key, body, { ...options, attempt });
    },
    get: (key, options) => storage.get(key, options),
    stat: (key, options) => storage.stat(key, options),
    list: (prefix, options) => storage.list(prefix, options),
    remove: (keys, options) => storage.remove(keys, options),
    close: () => storage.close(),
  };
}

function killing(storage: Storage): Storage {
  return {
    capabilities: storage.capabilities,
    put: (key, body, options) => once(`put ${key}`, () => storage.put(key, body, options)),
    get: (key, options) => all(`get ${key}`, () => storage.get(key, options)),
    stat: (key, options) => once(`stat ${key}`, () => storage.stat(key, options)),
    list: (prefix, options) => all(`list ${prefix}`, () => storage.list(prefix, options)),
    remove: (keys, options) => once(`remove ${keys.join(' ')}`, () => storage.remove(keys, options)),
    close: () => once('close', () => storage.close()),
  };
}

const plugin: Plugin<'storage', Options> = definePlugin({
  name: 'killing',
  kind: 'storage',
  // Only the test writes them.
  options: { '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value: value as Options }) } },
  create: ({ path, s3 }, context) => {
    if (path !== undefined) return killing(new FsStorage({ path }, context));
    const secretAccessKey = new Secret(String(s3?.['secretAccessKey']));
    return killingAtSteps(new S3Storage({ ...s3, secretAccessKey } as unknown as S3StorageOptions, context));
  },
});

export default plugin;
