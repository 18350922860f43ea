import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MemoryStorage } from '@pgark/storage-memory';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { withPut } from '../../../test/support/receiving.ts';
import { silentLogger } from '../../../test/support/silent-logger.ts';
import { ArchiveError } from '../../src/contracts/errors.ts';
import type { EventSink } from '../../src/contracts/hook.ts';
import type { Storage } from '../../src/contracts/storage.ts';
import { ancestry } from '../../src/postgres/timeline.ts';
import { segmentName } from '../../src/postgres/wal-file.ts';
import { archiveEnds } from '../../src/receive/archive-ends.ts';
import { KnownRepositories } from '../../src/receive/known-repositories.ts';
import { Outlet, type OutletOptions } from '../../src/receive/outlet.ts';
import { ConfirmedFiles } from '../../src/receive/confirmed-files.ts';
import { Shipper } from '../../src/receive/shipper.ts';
import { AHEAD } from '../../src/receive/shipping-lane.ts';
import { Spool } from '../../src/receive/spool.ts';
import type { Repository } from '../../src/repository/repository.ts';
import { repositoryOf, segment, SIZE, SYSTEM } from './shipping-scene.ts';

let root: string;
let events: { readonly name: string; readonly data: Readonly<Record<string, unknown>> }[];
const onEvent: EventSink = (name, data) => {
  events.push({ name, data: { ...data } });
};

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'pgark-shipper-'));
  events = [];
});
afterEach(() => {
  rmSync(root, { recursive: true });
});

let made = 0;
function repository(storage: Storage = new MemoryStorage()): Repository {
  made += 1;
  return repositoryOf(`repository ${made}`, storage);
}

function outlet(made: Repository, options: Partial<OutletOptions> = {}): Outlet {
  return new Outlet({
    ...options,
    repository: made,
    known: new KnownRepositories(root),
    onEvent,
    logger: silentLogger,
    retry: { first: 1, most: 10 },
  });
}

function shipper(outlets: readonly Outlet[], concurrency = 2): { spool: Spool; made: Shipper } {
  const spool = new Spool(root, 'main');
  spool.create(SYSTEM);
  const made = new Shipper({
    spool,
    systemId: SYSTEM,
    outlets,
    confirmed: new ConfirmedFiles(spool, silentLogger),
    concurrency,
    onEvent,
    logger: silentLogger,
  });
  return { spool, made };
}

function put(spool: Spool, number: number, content: Buffer = segment(1, number)): string {
  const name = segmentName(1, BigInt(number), SIZE);
  writeFileSync(spool.path(SYSTEM, name), content);
  return name;
}

async function names(made: Repository): Promise<readonly string[]> {
  const found: string[] = [];
  for await (const object of made.wal(SYSTEM).segments(1, { segmentSize: SIZE })) found.push(object.file.name);
  return found;
}

describe('Shipper', () => {
  test('what an earlier run left is shipped, but no partial segment (H-04)', async () => {
    const target = repository();
    const { spool, made } = shipper([outlet(target)]);
    for (const number of [4, 5, 6]) put(spool, number);
    writeFileSync(spool.path(SYSTEM, '000000010000000000000007.partial'), segment(1, 7));
    writeFileSync(spool.path(SYSTEM, '00000002.history'), '1\t0/500000\tno recovery target specified\n');
    made.addLeftovers();
    expect(await made.finish(10_000)).toBe(0);
    expect(await names(target)).toHaveLength(3);
    expect(await target.wal(SYSTEM).history(2)).toBeDefined();
    expect(readdirSync(spool.folderOf(SYSTEM))).toEqual(['000000010000000000000007.partial']);
  });

  test('H-04 a file leaves the spool when the last repository has it, not before', async () => {
    const down = { on: true };
    const memory = new MemoryStorage();
    const slow = withPut(memory, async (key, body, options) => {
      if (down.on) throw new ArchiveError('STORAGE_UNAVAILABLE', 'down');
      await memory.put(key, body, options);
    });
    const [first, second] = [repository(), repository(slow)];
    const { spool, made } = shipper([outlet(first), outlet(second)]);
    const name = put(spool, 1);
    made.add(name);
    while ((await names(first)).length === 0) await sleep(5);
    await sleep(50);
    expect(readdirSync(spool.folderOf(SYSTEM))).toEqual([name]);
    expect(events.filter(({ name }) => name === 'wal.ship_failed')).toHaveLength(1);
    expect(events.filter(({ name }) => name === 'wal.shipped')).toHaveLength(0);
    down.on = false;
    expect(await made.finish(10_000)).toBe(0);
    expect(await names(second)).toEqual([name]);
    expect(readdirSync(spool.folderOf(SYSTEM))).toEqual([]);
    expect(events.at(-1)).toMatchObject({ name: 'wal.shipped', data: { file: name, bytes: SIZE } });
    expect(events.map(({ name }) => name).filter((name) => name.startsWith('storage.'))).toEqual([
      'storage.degraded',
      'storage.recovered',
    ]);
  });

  test('trouble that an earlier run has told is told to be over when all that waited is there, and once', async () => {
    const target = repository();
    const states = (): readonly unknown[] =>
      events.filter(({ name }) => name === 'wal.state').map(({ data }) => (data as { readonly state: unknown }).state);
    const to = outlet(target, { wasTroubled: true });
    const { spool, made } = shipper([to]);
    // One that cannot be shipped is the trouble that there was.
    const stuck = put(spool, 3, segment(1, 3, { systemId: 5n }));
    for (const number of [4, 5]) put(spool, number);
    made.addLeftovers();
    await vi.waitFor(async () => expect(await names(target)).toHaveLength(2));
    to.finish();
    expect(await made.finish(10_000)).toBe(1);
    expect(states()).toEqual(['WAL_INVALID']);
    rmSync(spool.path(SYSTEM, stuck));

    const again = shipper([outlet(target, { wasTroubled: true })]);
    for (const number of [6, 7]) put(again.spool, number);
    again.made.addLeftovers();
    await vi.waitFor(() => expect(states()).toEqual(['WAL_INVALID', 'shipping']));
    again.made.add(put(again.spool, 8));
    expect(await again.made.finish(10_000)).toBe(0);
    expect(states()).toEqual(['WAL_INVALID', 'shipping']);
    expect(events.filter(({ name }) => name.startsWith('storage.'))).toEqual([]);
  });

  test.each([
    ['of another system', { systemId: 5n }],
    ['of a later timeline', { timeline: 2 }],
    ['of another place', { address: 0n }],
    ['of another segment size', { segmentSize: 16 * SIZE }],
  ])('a segment %s than its name says is not archived', async (_, changes) => {
    const target = repository();
    const to = outlet(target);
    const { spool, made } = shipper([to]);
    const name = put(spool, 9, segment(1, 9, changes));
    made.add(name);
    while (events.length === 0) await sleep(5);
    to.finish();
    expect(await made.finish(10_000)).toBe(1);
    expect(events).toContainEqual(
      expect.objectContaining({
        name: 'wal.state',
        data: expect.objectContaining({ state: 'WAL_INVALID' }) as unknown,
      }),
    );
    expect(await names(target)).toEqual([]);
    expect(readdirSync(spool.folderOf(SYSTEM))).toEqual([name]);
  });

  test('the first segment of a timeline begins with pages of its ancestor', async () => {
    const target = repository();
    const { spool, made } = shipper([outlet(target)]);
    const name = segmentName(2, 9n, SIZE);
    writeFileSync(spool.path(SYSTEM, name), segment(1, 9));
    made.add(name);
    expect(await made.finish(10_000)).toBe(0);
    expect(await target.wal(SYSTEM).find(name)).toBeDefined();
  });

  test('the end of a timeline goes into slices: the name of the partial segment is PostgreSQL’s', async () => {
    const target = repository();
    const { spool, made } = shipper([outlet(target)], 1);
    const [end, empty] = ['000000010000000000000009', '00000001000000000000000B'];
    await target.open({ create: true });
    await target.wal(SYSTEM).push(`${end}.partial`, { bytes: Buffer.from('another end') });
    const content = segment(1, 9);
    content.write('the last record', 9000);
    writeFileSync(spool.path(SYSTEM, `${end}.partial`), content);
    writeFileSync(spool.path(SYSTEM, `${empty}.partial`), Buffer.alloc(SIZE));
    made.add(`${end}.partial`);
    made.add(`${empty}.partial`);
    expect(await made.finish(10_000)).toBe(0);
    expect(readdirSync(spool.folderOf(SYSTEM))).toEqual([]);
    expect(Buffer.from((await target.wal(SYSTEM).tail(end)) ?? []).equals(content.subarray(0, 9015))).toBe(true);
    expect(await target.wal(SYSTEM).tail(empty)).toBeUndefined();
    expect(await target.wal(SYSTEM).find(`${empty}.partial`)).toBeUndefined();
    expect(events.map(({ name }) => name)).not.toContain('wal.conflict');
  });

  test('shipping goes on past a segment that fails, but not so far that the hole would be overlooked', async () => {
    const memory = new MemoryStorage();
    const failing = { on: true };
    const target = repository(
      withPut(memory, async (key, body, options) => {
        if (failing.on && key.includes('000000010000000000000003'))
          throw new ArchiveError('STORAGE_UNAVAILABLE', 'down');
        await memory.put(key, body, options);
      }),
    );
    const { spool, made } = shipper([outlet(target)], 3);
    const count = Number(AHEAD) + 5;
    for (let number = 3; number < 3 + count; number++) made.add(put(spool, number));
    while (made.waiting.length > 6) await sleep(5);
    await sleep(50);
    expect(made.waiting.map(({ name }) => name)).toEqual(
      [3, 67, 68, 69, 70, 71].map((number) => segmentName(1, BigInt(number), SIZE)),
    );
    const ends = (): Promise<ReadonlyMap<number, bigint>> =>
      archiveEnds(target, SYSTEM, { segmentSize: SIZE, lineage: ancestry(1, []) });
    // Of the very first segment nobody can know that it is missing; of the next one the archive tells.
    await target.wal(SYSTEM).push(segmentName(1, 2n, SIZE), { bytes: segment(1, 2) });
    expect(await ends()).toEqual(new Map([[1, BigInt(3 * SIZE)]]));
    failing.on = false;
    while (made.waiting.length > 0) await sleep(5);
    expect(await made.finish(1000)).toBe(0);
    expect(await ends()).toEqual(new Map([[1, BigInt((3 + count) * SIZE)]]));
  });

  test('while finishing, a segment that is put aside holds back what is too far ahead, as one that is tried again does', async () => {
    const memory = new MemoryStorage();
    const target = repository(
      withPut(memory, async (key, body, options) => {
        if (key.includes('000000010000000000000003')) throw new ArchiveError('STORAGE_UNAVAILABLE', 'down');
        await memory.put(key, body, options);
      }),
    );
    const to = outlet(target);
    const { spool, made } = shipper([to], 3);
    to.finish();
    const count = Number(AHEAD) + 5;
    for (let number = 3; number < 3 + count; number++) made.add(put(spool, number));
    expect(await made.finish(20_000)).toBe(6);
    expect(made.waiting.map(({ name }) => name)).toEqual(
      [3, 67, 68, 69, 70, 71].map((number) => segmentName(1, BigInt(number), SIZE)),
    );
    expect(events).toContainEqual(expect.objectContaining({ name: 'wal.ship_failed' }));
  });

  test('a storage that ignores that it is cancelled does not hold the end up', async () => {
    const memory = new MemoryStorage();
    const target = repository(
      withPut(memory, (key, body, options) =>
        key.includes('/wal/') ? new Promise<void>(() => undefined) : memory.put(key, body, options),
      ),
    );
    const { spool, made } = shipper([outlet(target)]);
    made.add(put(spool, 1));
    expect(await made.finish(100)).toBe(1);
  });
});

describe('archiveEnds', () => {
  const lineage = ancestry(3, [
    { timeline: 1, end: BigInt(10 * SIZE), reason: '' },
    { timeline: 2, end: BigInt(20 * SIZE), reason: '' },
  ]);
  const archive = async (numbers: Readonly<Record<number, readonly number[]>>): Promise<Repository> => {
    const made = repository();
    for (const [timeline, list] of Object.entries(numbers)) {
      for (const number of list) {
        const name = segmentName(Number(timeline), BigInt(number), SIZE);
        await made.wal(SYSTEM).push(name, { bytes: Buffer.from(name) });
      }
    }
    return made;
  };
  const ends = async (made: Repository): Promise<Readonly<Record<number, number>>> =>
    Object.fromEntries(
      [...(await archiveEnds(made, SYSTEM, { segmentSize: SIZE, lineage }))].map(([timeline, lsn]) => [
        timeline,
        Number(lsn) / SIZE,
      ]),
    );

  test('nothing', async () => {
    expect(await ends(await archive({}))).toEqual({});
  });

  test('the segment after the last one, of each timeline, also of another branch', async () => {
    expect(await ends(await archive({ 1: [7, 8, 9], 3: [20, 21], 5: [30] }))).toEqual({ 1: 10, 3: 22, 5: 31 });
  });

  test('a hole is where the archive ends: a segment that was shipped out of order counts only when the one before it is there', async () => {
    expect(await ends(await archive({ 3: [20, 21, 23, 24] }))).toEqual({ 3: 22 });
  });

  test('a recorded gap is no hole', async () => {
    const made = await archive({ 3: [20, 21, 24, 25] });
    await made.facts(SYSTEM).add('wal', {
      kind: 'gap',
      time: 0,
      data: { timeline: 3, from: '0/1600000', to: '0/1800000', reason: '' },
    });
    expect(await ends(made)).toEqual({ 3: 26 });
  });

  test.each([
    ['of another timeline', { timeline: 1 }],
    ['that leads to another timeline', { timeline: 2, to_timeline: 3 }],
  ])('a gap %s closes no hole', async (_, timelines) => {
    const made = await archive({ 3: [20, 21, 24, 25] });
    const data = { ...timelines, from: '0/1600000', to: '0/1800000', reason: '' };
    await made.facts(SYSTEM).add('wal', { kind: 'gap', time: 0, data });
    expect(await ends(made)).toEqual({ 3: 22 });
  });
});
