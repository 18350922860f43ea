/** A step of a put is cancelled and begun again, as the stack does with one that stands still: no attempt meets its successor. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { isArchiveError, type PutOptions } from '@pgark/sdk';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { storageStack } from '../../../core/src/storage/stack.ts';
import { Proxy } from '../../../test/support/proxy.ts';
import { unavailable } from '../../../test/support/require.ts';
import { noSshd, SftpServer } from '../../../test/support/sftp-server.ts';
import { silentLogger } from '../../../test/support/silent-logger.ts';
import { until } from '../../../test/support/until.ts';
import { Connection } from '../src/connection.ts';
import { Pool } from '../src/pool.ts';
import { body, keysOf, MIB, open, read, temporaryFiles } from './helpers.ts';

const noStrace = existsSync('/usr/bin/strace') ? undefined : unavailable('strace', 'apt-get install strace');

/** A server whose sessions have this fault by strace; `log` gives what they synced. */
async function faultyServer(fault: string): Promise<{ readonly server: SftpServer; readonly log: () => string }> {
  const server = await SftpServer.start();
  const path = join(server.folder, 'strace.log');
  const pid = readFileSync(join(server.folder, 'sshd.pid'), 'utf8').trim();
  const args = ['-f', '-qq', '-y', '-o', path, '-e', 'trace=fsync', '-e', `inject=${fault}`, '-p', pid];
  const strace = spawn('strace', args, { stdio: 'ignore' });
  const ended = once(strace, 'exit');
  onTestFinished(async () => {
    await server.stop();
    strace.kill();
    await ended;
  });
  await until('strace is attached', () => /^TracerPid:\s+[1-9]/mu.test(readFileSync(`/proc/${pid}/status`, 'utf8')));
  return { server, log: () => readFileSync(path, 'utf8') };
}

/** Attempts that are cancelled while they dial, and whose connection stands when the attempt that follows them has got its own file. */
interface LateDials {
  /** Dials that stood after their attempt was cancelled. */
  readonly dials: number;
  /** Whether they stand by now. */
  readonly awake: boolean;
  /** What the cancelled attempts have asked of the server. */
  readonly requests: readonly string[];
  cancelInDial(call: (signal: AbortSignal) => Promise<unknown>): Promise<void>;
  /** Wakes them at the first write that is not theirs behind `position` bytes, which waits until they have nothing more to do. */
  wakeBeforeWriteAt(position: number): void;
}

function lateDials(): LateDials {
  const cancelled = new AsyncLocalStorage<true>();
  const dialled: Promise<Connection>[] = [];
  const requests: string[] = [];
  let wake: () => void = () => undefined;
  const awaking = new Promise<void>((resolve) => (wake = resolve));
  const late = { dials: 0, awake: false, requests };
  let wakeAt: number | undefined;
  let waiting = 0;

  const lease: Pool['lease'] = Reflect.get(Pool.prototype, 'lease');
  vi.spyOn(Pool.prototype, 'lease').mockImplementation(function (this: Pool) {
    const real = lease.call(this);
    if (cancelled.getStore() === undefined) return real;
    dialled.push(real.connection);
    return { ...real, connection: awaking.then(() => real.connection) };
  });
  const asleep = async (): Promise<void> => {
    late.awake = true;
    for (const { status } of await Promise.allSettled(dialled)) if (status === 'fulfilled') late.dials += 1;
    wake();
    // From one answer of the server to the next request there is nothing to wait for.
    for (let idle = 0; idle < 10; idle = waiting === 0 ? idle + 1 : 0) await setImmediate();
  };
  for (const name of Object.getOwnPropertyNames(Connection.prototype)) {
    const { value: real } = Object.getOwnPropertyDescriptor(Connection.prototype, name) ?? {};
    if (name === 'constructor' || name === 'drop' || typeof real !== 'function') continue;
    vi.spyOn(Connection.prototype, name as 'write').mockImplementation(async function (this: Connection, ...args) {
      const isLate = cancelled.getStore() !== undefined;
      if (isLate) requests.push(name);
      else if (name === 'write' && wakeAt !== undefined && args[2] >= wakeAt && !late.awake) await asleep();
      waiting += isLate ? 1 : 0;
      try {
        return await (real as Connection['write']).apply(this, args);
      } finally {
        waiting -= isLate ? 1 : 0;
      }
    });
  }
  onTestFinished(() => void vi.restoreAllMocks());
  return Object.assign(late, {
    cancelInDial: async (call: (signal: AbortSignal) => Promise<unknown>) => {
      const before = dialled.length;
      // The first may still find the connection that was cut.
      while (dialled.length === before) {
        const cancel = new AbortController();
        let code: string | undefined;
        const answer = cancelled
          .run(true, () => call(cancel.signal))
          .catch((error: unknown) => (code = isArchiveError(error) ? error.code : String(error)));
        await until('it dials', () => dialled.length > before || code !== undefined);
        cancel.abort();
        await answer;
        expect(code).toBe(dialled.length > before ? 'ABORTED' : 'STORAGE_UNAVAILABLE');
        if (dialled.length === before) requests.length = 0;
      }
    },
    wakeBeforeWriteAt: (position: number) => {
      wakeAt = position;
    },
  });
}

interface InSteps {
  readonly put: Promise<void>;
  readonly content: Buffer;
  readonly steps: readonly { readonly name: string; readonly received: number }[];
}

describe.skipIf(noSshd !== undefined)(`attempts that are cancelled ${noSshd ?? ''}`, () => {
  let server: SftpServer;
  beforeAll(async () => {
    server = await SftpServer.start();
  });
  afterAll(() => server.stop());

  test('STOR-18 attempts that were cancelled in their dial do not touch the file of the one that succeeds', async () => {
    const proxy = await Proxy.listen({ port: server.port });
    onTestFinished(() => proxy.close());
    const storage = open(server, 'dials', { port: proxy.port, hostKey: server.fingerprint() });
    const content = randomBytes(3 * MIB);
    const late = lateDials();
    let done = 0;
    let isCut = false;
    let confirmed: number | undefined;
    const attempt: PutOptions['attempt'] = async (step, call) => {
      for (;;) {
        if (isCut && confirmed === undefined) {
          confirmed = Number(/^bytes from (\d+)$/.exec(step.name)?.[1]);
          for (let count = 0; count < 3; count++) await late.cancelInDial(call);
          late.wakeBeforeWriteAt(confirmed);
        }
        try {
          const value = await call(step.signal ?? new AbortController().signal);
          done += 1;
          return value;
        } catch (error) {
          if (!isArchiveError(error) || !error.retriable) throw error;
        }
      }
    };
    const cutting = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
      yield content.subarray(0, 5 * (MIB / 2));
      await until('two megabytes are confirmed', () => done > 0);
      isCut = proxy.cut() > 0;
      yield content.subarray(5 * (MIB / 2));
    };
    await storage.put('key', cutting(), { ifAbsent: true, attempt });
    expect(confirmed).toBeGreaterThan(MIB);
    expect(late).toMatchObject({ dials: 3, awake: true });
    expect((await read(storage, 'key')).equals(content)).toBe(true);
    expect(temporaryFiles(server, 'dials')).toEqual([]);
    expect(await keysOf(storage)).toEqual(['key']);
    expect(late.requests).toEqual([]);
  });

  test('STOR-18 wherever an attempt is cancelled, the object is whole and no temporary file is left', async () => {
    const storage = open(server, 'each');
    const content = randomBytes(5 * MIB);
    let cancelled = 0;
    // Cancels after ever more answers of the server, and begins the next attempt at once.
    for (let answers = 1; ; answers += 4) {
      const key = `each/${answers}`;
      const before = cancelled;
      const attempt: PutOptions['attempt'] = async (step, call) => {
        if (cancelled > before) return call(step.signal ?? new AbortController().signal);
        const cancel = new AbortController();
        let left = answers;
        const stalled = new Promise<'stalled'>((resolve) => {
          for (const name of ['write', 'fsync', 'fstat', 'close', 'link'] as const) {
            const real = Connection.prototype[name] as (...args: unknown[]) => Promise<unknown>;
            vi.spyOn(Connection.prototype, name).mockImplementation(async function (
              this: Connection,
              ...args: unknown[]
            ) {
              const answer = await real.apply(this, args);
              if (--left === 0) {
                cancelled += 1;
                cancel.abort();
                resolve('stalled');
              }
              return answer as never;
            });
          }
        });
        try {
          const running = call(cancel.signal).then((value) => ({ value }));
          running.catch(() => undefined);
          const first = await Promise.race([stalled, running]);
          if (first !== 'stalled') return first.value;
        } finally {
          vi.restoreAllMocks();
        }
        return call(step.signal ?? new AbortController().signal);
      };
      await storage.put(key, body(content), { ifAbsent: true, attempt });
      expect((await read(storage, key)).equals(content), key).toBe(true);
      if (cancelled === before) break;
    }
    expect(cancelled).toBeGreaterThan(3);
    expect(temporaryFiles(server, 'each')).toEqual([]);
  }, 60_000);

  test('STOR-18 a link of a session that hung, done after the look of the next attempt, is the own object', async () => {
    const storage = open(server, 'link', { timeout: 1000 });
    const path = join(server.archives, 'link', 'key');
    const hung: number[] = [];
    const existed: boolean[] = [];
    const real: Connection['link'] = Reflect.get(Connection.prototype, 'link');
    const link = vi.spyOn(Connection.prototype, 'link').mockImplementation(async function (this: Connection, ...args) {
      if (link.mock.calls.length === 1) {
        hung.push(...server.sessions);
        expect(server.freezeSftp()).toBe(1);
      } else {
        existed.push(existsSync(path));
        for (const pid of hung) {
          try {
            process.kill(pid, 'SIGCONT');
          } catch {
            // What served the connection has ended with it.
          }
        }
        await until('the old link is done', () => existsSync(path));
      }
      return real.apply(this, args);
    });
    onTestFinished(() => void vi.restoreAllMocks());
    const stack = storageStack(storage, { logger: silentLogger, retry: { firstDelay: 10 } });
    await stack.put('key', body('the content'), { ifAbsent: true });
    expect(existed).toEqual([false]);
    expect((await read(storage, 'key')).toString()).toBe('the content');
    await expect(stack.put('key', body('another'), { ifAbsent: true })).rejects.toMatchObject({
      code: 'STORAGE_EXISTS',
    });
    expect(temporaryFiles(server, 'link')).toEqual([]);
  });

  /** Puts 22 MiB, the network being cut when 18 are confirmed, with `before` each step; gives the bytes that came in each step. */
  const putInSteps = async (archive: string, before: (name: string, proxy: Proxy) => void): Promise<InSteps> => {
    const proxy = await Proxy.listen({ port: server.port });
    onTestFinished(() => proxy.close());
    const storage = open(server, archive, { port: proxy.port, hostKey: server.fingerprint() });
    const content = randomBytes(22 * MIB);
    const steps: { readonly name: string; readonly received: number }[] = [];
    const attempt: PutOptions['attempt'] = async (step, call) => {
      const begin = proxy.received;
      before(step.name, proxy);
      for (;;) {
        try {
          return await call(step.signal ?? new AbortController().signal);
        } catch (error) {
          if (!isArchiveError(error) || !error.retriable) throw error;
        } finally {
          steps.push({ name: step.name, received: proxy.received - begin });
        }
      }
    };
    async function* cutting(): AsyncGenerator<Uint8Array, void, undefined> {
      yield content.subarray(0, 20 * MIB);
      expect(proxy.cut()).toBe(1);
      yield content.subarray(20 * MIB);
    }
    return { put: storage.put('key', cutting(), { ifAbsent: true, attempt }), content, steps };
  };

  test('STOR-18 what was confirmed is copied a piece a step, and anew when the connection is lost on the way', async () => {
    let lost = 0;
    const {
      put: call,
      content,
      steps,
    } = await putInSteps('pieces', (name, proxy) => {
      if (name === `copy from ${16 * MIB}` && lost < 2 && proxy.cut() > 0) lost += 1;
    });
    await call;
    expect(lost).toBe(2);
    expect(steps.filter(({ name }) => name === `copy from ${8 * MIB}`)).toHaveLength(3);
    for (const { name, received } of steps) expect(received, name).toBeLessThan(18 * MIB);
    const direct = open(server, 'pieces');
    expect((await read(direct, 'key')).equals(content)).toBe(true);
    expect(await keysOf(direct)).toEqual(['key']);
    expect(temporaryFiles(server, 'pieces')).toEqual([]);
  });

  test('a copy that is lost again and again fails the put in the end, and publishes nothing', async () => {
    let lost = 0;
    const { put: call } = await putInSteps('flapping', (name, proxy) => {
      if (name === `copy from ${8 * MIB}` && proxy.cut() > 0) lost += 1;
    });
    await expect(call).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      message: expect.stringContaining('lost more than 10 times'),
    });
    expect(lost).toBeGreaterThanOrEqual(10);
    expect(await keysOf(open(server, 'flapping'))).toEqual([]);
  }, 60_000);

  test.skipIf(noStrace !== undefined)(
    'a file whose sync failed is not synced again: its bytes go into another one, which is published',
    async () => {
      const { server: failing, log } = await faultyServer('fsync:error=EIO:when=1');
      const storage = open(failing, 'archive');
      const stack = storageStack(storage, { logger: silentLogger, retry: { firstDelay: 10 } });
      const content = randomBytes(5 * MIB);
      async function* chunks(): AsyncGenerator<Uint8Array, void, undefined> {
        yield content;
      }
      await stack.put('key', chunks(), { ifAbsent: true });
      const [, failed] = /fsync\(\d+<(.*)>\) += -1 EIO/u.exec(log()) ?? [];
      const synced = [...log().matchAll(/fsync\(\d+<(.*)>\) += 0/gu)].map((match) => match[1]);
      expect(failed).toContain('.pgark-tmp/put-');
      expect(synced).toHaveLength(1);
      expect(synced).not.toContain(failed);
      expect((await read(storage, 'key')).equals(content)).toBe(true);
      expect(temporaryFiles(failing, 'archive')).toEqual([]);
    },
  );
});
