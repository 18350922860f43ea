/**
 * `codec-pipe encode|decode CODECS [IDENTITY FILE]`: the project's pipeline from stdin to stdout, as a program beside `zstd` and the
 * like: source, SHA-256 of the plain bytes, codecs, SHA-256 of the stored bytes. CODECS is JSON as in the config. What passed is told
 * on stderr, as JSON.
 */
import { readFileSync, write } from 'node:fs';
import { Socket } from 'node:net';
import { availableParallelism } from 'node:os';
import { releaseChunk } from '../../core/src/contracts/lease.ts';
import type { Logger } from '../../core/src/contracts/plugin.ts';
import { Secret } from '../../core/src/contracts/secret.ts';
import type { Storage } from '../../core/src/contracts/storage.ts';
import { load } from '../../core/src/pipeline/load.ts';
import { ByteQueue } from '../../core/src/pipeline/queue.ts';
import { store } from '../../core/src/pipeline/store.ts';
import { Registry } from '../../core/src/plugins/registry.ts';

const STDIN = 0;
const STDOUT = 1;
const KEY = 'the stream';

/** In the thread pool, as a storage writes its files; gives the bytes that were taken. */
function writeSome(chunk: Uint8Array): Promise<number> {
  return new Promise((resolve, reject) =>
    write(STDOUT, chunk, (error, written) => (error === null ? resolve(written) : reject(error))),
  );
}

/** As a backup reads its socket: into one buffer that is used again, and from there into a queue of blocks. */
function stdin(): ByteQueue {
  const queue = new ByteQueue();
  const take = (length: number, buffer: Uint8Array): boolean => {
    queue.write(buffer.subarray(0, length));
    const pressure = queue.pressure();
    if (pressure === undefined) return true;
    void pressure.then(() => socket.resume());
    return false;
  };
  const socket = new Socket({
    fd: STDIN,
    readable: true,
    onread: { buffer: Buffer.allocUnsafeSlow(64 * 1024), callback: take },
  });
  socket.once('end', () => queue.end());
  socket.once('error', (error) => queue.fail(error));
  socket.resume();
  return queue;
}

async function writeAll(body: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const chunk of body) {
    for (let rest = chunk; rest.byteLength > 0;) rest = rest.subarray(await writeSome(rest));
    releaseChunk(chunk);
  }
}

/** One object that comes and goes by the standard streams; the pipeline asks for nothing else. */
const streams = {
  put: async (_key: string, body: AsyncIterable<Uint8Array>) => writeAll(body),
  get: () => stdin(),
} as unknown as Storage;

const logger: Logger = { debug: () => undefined, info: () => undefined, warn: console.error, error: console.error };

const [direction = '', chain = '[]', identityFile] = process.argv.slice(2);
const registry = new Registry({
  directory: process.env['BENCH_ROOT'] ?? process.cwd(),
  env: {},
  logger,
  identities: async () => (identityFile === undefined ? [] : [new Secret(readFileSync(identityFile, 'utf8'))]),
});
const codecs = [];
for (const { use, ...options } of JSON.parse(chain) as { use: string }[])
  codecs.push(await registry.createCodec({ use, options, path: `codec ${use}`, texts: [] }));
const shared = { codecs, concurrency: availableParallelism(), large: true };

if (direction === 'encode') {
  console.error(JSON.stringify(await store(streams, KEY, stdin(), shared)));
} else if (direction === 'decode') {
  await writeAll(load(streams, KEY, { ...shared, onEnd: (facts) => console.error(JSON.stringify(facts)) }));
} else {
  throw new Error(`encode or decode, not ${direction}`);
}
