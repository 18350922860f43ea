/**
 * A backup and a push are killed between any two calls of their storage, each in turn: what is left lists correctly, holds nothing that
 * passes for a backup and is none, and the next run succeeds.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import zstd from '@pgark/codec-zstd';
import { Secret, type Storage } from '@pgark/sdk';
import { FsStorage } from '@pgark/storage-fs';
import { S3Storage } from '@pgark/storage-s3';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { testContext } from '@pgark/sdk/testing';
import { Repository } from '../../core/src/repository/repository.ts';
import { serverUser } from '../support/binaries.ts';
import { runCli, type CliResult } from '../support/cli.ts';
import { giveToServer, PostgresServer, removeFolder, temporaryFolder } from '../support/postgres.ts';
import { startFauxS3, type S3Server } from '../support/s3-server.ts';
import { KEEP_WAL, shipWal, systemIdOf } from '../support/ship-wal.ts';

const PLUGIN = fileURLToPath(new URL('../support/killing-storage.ts', import.meta.url));

/** Kill points that are tried at once: as many as there are cores. */
const LANES = 2;

let server: PostgresServer;
let s3: S3Server;
let folder: string;
let systemId: string;
beforeAll(async () => {
  folder = temporaryFolder('kill-points');
  s3 = await startFauxS3(['archive']);
  const settings = { ...KEEP_WAL, autovacuum: 'off' };
  server = await PostgresServer.start({ major: 17, segmentMegabytes: 1, settings });
  systemId = await systemIdOf(server);
});
afterAll(async () => {
  await server?.destroy();
  await s3?.stop();
  if (folder !== undefined) removeFolder(folder);
});

/** A place of one kill point, and its storage as the test sees it. */
interface Place {
  readonly config: string;
  readonly log: string;
  readonly storage: Storage;
  readonly repository: Repository;
}

async function placeOn(kind: 'fs' | 's3', name: string): Promise<Place> {
  const home = join(folder, name);
  mkdirSync(home);
  giveToServer(home);
  const context = testContext({ directory: home });
  const keys = { accessKeyId: s3.accessKeyId, endpoint: s3.endpoint };
  // Less than an empty cluster, so that its data go in parts.
  const options = { bucket: name, ...keys, singlePut: '1MiB' };
  const path = join(home, 'repository');
  let inner: Storage;
  if (kind === 's3') {
    await s3.admin.createBucket({ Bucket: name });
    inner = new S3Storage({ ...options, secretAccessKey: new Secret(s3.secretAccessKey) }, context);
  } else {
    // Commands write as the user of the server, the test as its own: both have to be able to.
    for (const part of ['', '.pgark-tmp', 'main', `main/${systemId}`]) {
      mkdirSync(join(path, part));
      giveToServer(join(path, part));
    }
    inner = new FsStorage({ path, directoryMode: '0755', fileMode: '0644' }, context);
  }
  const storage = kind === 's3' ? { s3: { ...options, secretAccessKey: s3.secretAccessKey } } : { path };
  const config = join(home, 'pgark.json');
  writeFileSync(
    config,
    JSON.stringify({
      cluster: 'main',
      postgres: { url: server.url() },
      repositories: [{ name: 'primary', storage: { use: PLUGIN, ...storage }, codecs: [{ use: 'zstd' }] }],
    }),
  );
  giveToServer(config);
  const codec = await zstd.create({ level: 1 }, context);
  const repository = new Repository({
    cluster: 'main',
    storage: inner,
    codecs: [codec],
    codecFor: async () => codec,
  });
  return { config, log: join(home, 'calls'), storage: inner, repository };
}

function pgark(place: Place, args: readonly string[], killAt?: string): Promise<CliResult> {
  const env = { KILL_LOG: place.log, ...(killAt !== undefined && { KILL_AT: killAt }) };
  return runCli(['--config', place.config, ...args], { env, ...serverUser() });
}

/** Ships the WAL that the server writes from now on into a place, once a backup has made a repository of it. */
class Shipping {
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  static async start(place: Place): Promise<Shipping> {
    return new Shipping(place, await server.value('SELECT pg_walfile_name(pg_current_wal_lsn())'));
  }

  private constructor(place: Place, from: string) {
    this.#running = this.#run(place, from);
    this.#running.catch(() => undefined); // during() and stop() tell
  }

  async #run({ storage, repository }: Place, from: string): Promise<void> {
    const exists = (): Promise<boolean> =>
      storage.stat('main/pgark.json').then(
        () => true,
        () => false,
      );
    let shipped = '';
    for (; !this.#stop.signal.aborted; await sleep(50)) {
      const current = await server.value('SELECT pg_walfile_name(pg_current_wal_lsn())');
      if (current === shipped || !(await exists())) continue;
      await shipWal(server, repository, from);
      shipped = current;
    }
  }

  /** What a command gives that needs the WAL; an error at once when the shipping has ended with one. */
  async during<T>(command: Promise<T>): Promise<T> {
    return Promise.race([command, this.#running.then(() => command)]);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }
}

interface Entry {
  readonly id: string;
  readonly state: 'complete' | 'incomplete' | 'unreadable';
}

/** What `pgark list` says. */
async function listed(place: Place): Promise<readonly Entry[]> {
  const result = await pgark(place, ['list', '--json']);
  const entries = JSON.parse(result.stdout) as readonly Entry[];
  const isThere = entries.some(({ state }) => state === 'complete');
  expect(result.code, result.stderr).toBe(isThere ? 0 : 1);
  return entries;
}

/** Reads every object of the complete backups and compares it with its digests; gives their ids. */
async function verified({ repository }: Place): Promise<readonly string[]> {
  const catalog = repository.backups(systemId);
  const ids: string[] = [];
  for (const entry of await catalog.list()) {
    if (entry.state !== 'complete') continue;
    const { parts, manifest, fileList } = entry.record;
    for (const object of [...parts, manifest, fileList]) {
      let bytes = 0;
      for await (const chunk of catalog.readObject(entry.id, object)) bytes += chunk.byteLength;
      expect(bytes, `${entry.id} ${object.name}`).toBe(object.plainSize);
    }
    ids.push(entry.id);
  }
  return ids;
}

/** The call at which a process has killed itself, as its log tells; undefined when it did not. */
function killedAt(place: Place, result: CliResult, at: string): string | undefined {
  const line = /^killed (.*)$/m.exec(readFileSync(place.log, 'utf8'))?.[1];
  expect([result.signal, result.signal === undefined ? result.code : undefined], result.stderr).toEqual(
    line === undefined ? [undefined, 0] : ['SIGKILL', undefined],
  );
  const [, when = '', call] = /^(\w+) ~(.*)$/.exec(at) ?? [];
  const wanted = call === undefined ? new RegExp(`^${at} `) : new RegExp(`^${when} .*${call}`);
  if (line !== undefined) expect(line).toMatch(wanted);
  return line;
}

/** Whether an object was stored when the process was killed there. */
function isStored(place: Place, line: string | undefined, name: RegExp): boolean {
  if (line === undefined) return true;
  const [when, at] = line.split(' ');
  // The last line of it is that of the put, or of the step that decided.
  const [number] = readFileSync(place.log, 'utf8')
    .split('\n')
    .filter((entry) => /^\d/.test(entry) && name.test(entry))
    .map(Number.parseFloat)
    .toSorted((left, right) => right - left);
  if (number === undefined) return false;
  if (when === 'before') return Number(at) > number;
  return Number(at) >= number;
}

/** Tries kill points in turn, a few at once, until there is none any more; gives what was killed. */
async function everyPoint(
  points: (number: number) => readonly string[],
  tryPoint: (at: string) => Promise<string | undefined>,
): Promise<readonly string[]> {
  const killed: string[] = [];
  let number = 0;
  let passed = false;
  const lane = async (): Promise<void> => {
    while (!passed) {
      number += 1;
      for (const at of points(number)) {
        const line = await tryPoint(at);
        if (line === undefined) passed = true;
        else killed.push(line);
      }
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  return killed;
}

const shown = (line: string): string => line.replace(/[^ ]*\/(?=[^/ ]+\/[^/ ]+)/, '').replace(/-[0-9a-f]{32}/, '');

test.each([
  // Killed after the n-th call or before the next one is all the same to the storage, but for what runs at the same time.
  ['fs', (number: number) => (number === 1 ? ['before 1', 'after 1'] : [`after ${number}`])],
  ['s3', (number: number) => [`after ${number}`]],
] as const)(
  'a backup to %s that is killed between any two calls of the storage leaves a good repository',
  async (kind, points) => {
    let last: Place | undefined;
    let tried = 0;
    const tryPoint = async (at: string): Promise<string | undefined> => {
      const place = await placeOn(kind, `backup-${kind}-${tried++}`);
      const shipping = await Shipping.start(place);
      const backup = ['backup', '--json', '--checkpoint', 'fast'];
      const line = killedAt(place, await shipping.during(pgark(place, backup, at)), at);
      const done = isStored(place, line, /put [^ ]*\/backup\.json/);
      const found = await listed(place);
      expect(found.map(({ state }) => state).filter((state) => state !== 'incomplete')).toEqual(
        done ? ['complete'] : [],
      );
      expect(await verified(place)).toHaveLength(done ? 1 : 0);
      const next = await shipping.during(pgark(place, backup));
      expect(next.code, `after ${line}: ${next.stderr}`).toBe(0);
      const { id } = JSON.parse(next.stdout) as { readonly id: string };
      const whole = await verified(place);
      expect(whole).toHaveLength(done ? 2 : 1);
      expect(whole).toContain(id);
      await shipping.stop();
      if (line !== undefined) last = place;
      return line;
    };
    const killed = [...(await everyPoint(points, tryPoint))];
    const objects = ['pgark.json', 'base/0000.tar', 'backup_manifest', 'files.json', 'backup.json'];
    const steps = kind === 's3' ? ['lookup', 'begin of the upload', 'part 1', 'completion'] : [];
    const calls = [...objects.map((name) => `put [^ ]*${name}`), ...steps.map((step) => `base/0000.tar.zst: ${step}$`)];
    // Objects are stored at the same time, so that the n-th call is not the same one in each run.
    for (const call of calls) {
      if (killed.some((line) => new RegExp(`^after .*${call}`).test(line))) continue;
      const line = await tryPoint(`after ~${call}`);
      expect(line, `the backup must have been killed after ${call}`).toBeDefined();
      killed.push(line ?? '');
    }
    console.log(`${killed.length} kill points of a backup to ${kind}:\n${killed.map(shown).join('\n')}`);
    const data = join(folder, `restored-${kind}`);
    const restored = await pgark(last as Place, ['restore', data]);
    expect(restored.code, restored.stderr).toBe(0);
    const clone = await PostgresServer.open(17, data);
    await clone.start();
    await clone.recovered();
    expect(await systemIdOf(clone)).toBe(systemId);
    await clone.destroy();
  },
  400_000,
);

test.each(['fs', 's3'] as const)(
  'a push to %s that is killed between any two calls of the storage leaves one segment at the end',
  async (kind) => {
    await server.query(`SELECT pg_logical_emit_message(false, 'test', '')`);
    const name = await server.value('SELECT pg_walfile_name(pg_switch_wal())');
    const path = join(server.data, 'pg_wal', name);
    const both = (number: number): readonly string[] => [`before ${number}`, `after ${number}`];
    const killed = await everyPoint(both, async (at) => {
      const place = await placeOn(kind, `push-${kind}-${at.replace(' ', '-')}`);
      await place.repository.open({ create: true });
      const segments = async (): Promise<readonly string[]> => {
        const keys: string[] = [];
        for await (const { key } of place.storage.list(`main/${systemId}/`)) keys.push(key);
        return keys;
      };
      const line = killedAt(place, await pgark(place, ['wal-push', path, name], at), at);
      const left = await segments();
      expect(left.length, `after ${line}`).toBe(isStored(place, line, /put/) ? 1 : 0);
      expect(await listed(place)).toEqual([]);
      const next = await pgark(place, ['wal-push', path, name]);
      expect(next.code, `after ${line}: ${next.stderr}`).toBe(0);
      const [key = '', ...more] = await segments();
      expect([more, left.filter((before) => before !== key)]).toEqual([[], []]);
      const codec = await zstd.create({ level: 1 }, testContext());
      const chunks: Uint8Array[] = [];
      for await (const chunk of codec.decode(place.storage.get(key), { concurrency: 1 })) chunks.push(chunk);
      expect(Buffer.concat(chunks).equals(readFileSync(path))).toBe(true);
      return line;
    });
    console.log(`${killed.length} kill points of a push to ${kind}:\n${killed.map(shown).join('\n')}`);
    expect(killed.some((line) => /^before \d+ put/.test(line))).toBe(true);
    expect(killed.some((line) => /^after \d+ put/.test(line))).toBe(true);
  },
  200_000,
);
