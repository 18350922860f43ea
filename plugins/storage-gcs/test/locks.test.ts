/** The retention of objects, with answers like the service's; and the past, on a server that keeps versions. */
import { runStorageClause, STORAGE_CLAUSES } from '@pgark/sdk/testing';
import { GcsStorage } from '@pgark/storage-gcs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { gcsMissing, startGcsServer, type GcsServer } from '../../../test/support/gcs-server.ts';
import { answer, body, openOn, read, refuse, scriptedServer } from './scripted-server.ts';

const NOW = Date.now();
const at = (seconds: number): Date => new Date(NOW + seconds * 1000);

test('STOR-19 a lock is looked at, and extended when it ends early enough; one that ends later is left', async () => {
  const ends: Record<string, Date | undefined> = { early: at(60), late: at(600), free: undefined };
  const server = await scriptedServer((response, seen) => {
    const key = seen.path.split('/').at(-1) ?? '';
    if (!(key in ends)) return refuse(response, 404, `No such object: archive/${key}`, 'notFound');
    if (seen.method === 'PATCH') {
      const { retention } = JSON.parse(seen.body.toString()) as {
        retention: { mode: string; retainUntilTime: string };
      };
      expect(retention.mode).toBe('Locked');
      ends[key] = new Date(retention.retainUntilTime);
    }
    const end = ends[key];
    answer(
      response,
      200,
      end === undefined ? {} : { retention: { mode: 'Locked', retainUntilTime: end.toISOString() } },
    );
  });
  const storage = openOn(server, { retention: 'locked' });
  const until = at(300);
  expect(await storage.retain('early', until)).toEqual(until);
  expect(await storage.retain('late', until)).toEqual(at(600));
  expect(await storage.retain('free', until)).toEqual(until);
  expect(await storage.retain('free', at(900), { ifBefore: at(200) })).toEqual(until);
  expect(ends).toEqual({ early: until, late: at(600), free: until });
  expect(server.lines.filter((line) => line.startsWith('PATCH'))).toHaveLength(2);
  await expect(storage.retain('nothing', until)).rejects.toMatchObject({ code: 'STORAGE_NOT_FOUND' });
  await expect(openOn(server).retain('early', until)).rejects.toMatchObject({ code: 'STORAGE_UNSUPPORTED' });
});

test('STOR-20 without the right to look at the bucket the past is read with a warning', async () => {
  const server = await scriptedServer((response, seen) => {
    if (seen.path.endsWith('/archive')) return refuse(response, 403, 'reader does not have storage.buckets.get access');
    expect(seen.query['versions']).toBe('true');
    const times = { timeCreated: at(-100).toISOString(), timeDeleted: at(-50).toISOString() };
    answer(response, 200, { items: [{ name: 'key', size: '1', generation: '7', ...times }] });
  });
  const warnings: string[] = [];
  const say = (): void => undefined;
  const logger = {
    debug: say,
    info: say,
    error: say,
    warn: (_: unknown, message: string) => void warnings.push(message),
  };
  const storage = new GcsStorage(
    { bucket: 'archive', endpoint: server.endpoint, anonymous: true, timeout: 10 },
    { directory: '/', logger },
  );
  expect(await storage.asOf(at(-75)).stat('key')).toEqual({ key: 'key', size: 1, modified: at(-100).getTime() });
  expect(warnings).toEqual([expect.stringContaining('storage.buckets.get')]);
  for (const moment of [at(-101), at(-50), at(0)]) {
    await expect(storage.asOf(moment).stat('key')).rejects.toMatchObject({ code: 'STORAGE_NOT_FOUND' });
  }
  await storage.close();
});

describe.skipIf(gcsMissing !== undefined)('a bucket on a server', () => {
  let server: GcsServer;
  beforeAll(async () => {
    server = await startGcsServer();
    await server.createBucket('archive', { versioning: { enabled: true } });
    await server.createBucket('plain');
  });
  afterAll(() => server.stop());

  test.each(['STOR-20/past', 'STOR-20/read-only'])('with versions keeps %s', async (id) => {
    const clause = STORAGE_CLAUSES.find((one) => one.id === id);
    if (clause === undefined) throw new Error('the suite has no such clause');
    const options = { bucket: 'archive', endpoint: server.endpoint, anonymous: true, timeout: 10 };
    const create = async (): Promise<GcsStorage> => new GcsStorage(options, { directory: '/' });
    expect(await runStorageClause(clause, { create }, 1)).toMatchObject({ outcome: 'passed' });
  });

  test('without versions has no past', async () => {
    const storage = openOn(server, { bucket: 'plain' });
    await storage.put('key', body('x'), { ifAbsent: true });
    const past = storage.asOf(new Date());
    await expect(past.stat('key')).rejects.toMatchObject({ code: 'STORAGE_UNSUPPORTED' });
    await expect(read(past.get('key'))).rejects.toMatchObject({ code: 'STORAGE_UNSUPPORTED' });
  });
});
