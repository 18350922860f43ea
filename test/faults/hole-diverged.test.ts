/** A hole, and a server that has split off without a new timeline, as one from a snapshot. */
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { closeHole } from '../../core/src/guardian/close-hole.ts';
import { resolveTarget } from '../../core/src/postgres/target.ts';
import { segmentName } from '../../core/src/postgres/wal-file.ts';
import { fsRepository } from '../support/fs-repository.ts';
import { later } from '../support/later.ts';
import { PostgresServer, removeFolder, temporaryFolder } from '../support/postgres.ts';
import { hashes, repositoryHashes } from '../support/receiving.ts';
import { KEEP_WAL, shipWal, systemIdOf } from '../support/ship-wal.ts';

async function fill(server: PostgresServer, segments: number, text: string): Promise<void> {
  await server.query('CREATE TABLE IF NOT EXISTS filler (a text)');
  for (let count = 0; count < segments; count++) {
    await server.query(`INSERT INTO filler SELECT repeat('${text}', 100) FROM generate_series(1, 3000)`);
    await server.query('SELECT pg_switch_wal()');
  }
}

test('H-08 a hole is not closed with WAL that does not fit what lies around it', async () => {
  const server = later(await PostgresServer.start({ segmentMegabytes: 1, settings: KEEP_WAL }), (one) => one.destroy());
  await server.stop();
  const data = join(later(temporaryFolder('snapshot'), removeFolder), 'data');
  execFileSync('cp', ['-a', server.data, data]);
  await server.start();
  const other = later(await PostgresServer.open(18, data), (one) => one.destroy());
  await other.start();
  await fill(server, 6, 'x');
  await fill(other, 8, 'y');
  const systemId = await systemIdOf(server);
  const folder = later(temporaryFolder('repository'), removeFolder);
  const repository = await fsRepository(join(folder, 'repository'), { compressed: false });
  await repository.open({ create: true });
  const names = (await shipWal(server, repository)).filter((name) => /^[0-9A-F]{24}$/.test(name));
  const lost = names.at(-3) ?? '';
  const place = join(folder, 'repository', 'main', systemId, 'wal', lost.slice(0, 8), lost.slice(8, 16));
  for (const name of readdirSync(place)) if (name.startsWith(lost)) execFileSync('rm', [join(place, name)]);
  const number = BigInt(Number.parseInt(lost.slice(16), 16));
  expect(segmentName(1, number, 1 << 20)).toBe(lost);
  const hole = { timeline: 1, first: number, last: number };
  const close = async (from: PostgresServer): ReturnType<typeof closeHole> => {
    const at = { env: {}, home: '/nonexistent', applicationName: 'x' };
    return closeHole(repository, hole, {
      systemId,
      segmentSize: 1 << 20,
      others: [],
      servers: [await resolveTarget({ url: from.url() }, at)],
      folder: join(folder, 'holes'),
      signal: new AbortController().signal,
    });
  };
  const archived = async (): Promise<string | undefined> =>
    (await repositoryHashes(join(folder, 'repository'), systemId)).get(lost);
  const right = hashes(join(server.data, 'pg_wal'), /^[0-9A-F]{24}$/).get(lost);
  expect(
    hashes(join(other.data, 'pg_wal'), /^[0-9A-F]{24}$/).has(lost),
    'the other one has a segment of the name',
  ).toBe(true);

  const refused = await close(other);
  expect([...refused.brought]).toEqual([]);
  expect(refused.left).toEqual([hole]);
  expect(refused.silent).toMatchObject([{ error: { code: 'WAL_CONFLICT' } }]);
  expect(await archived()).toBeUndefined();

  const closed = await close(server);
  expect(closed).toMatchObject({ left: [], silent: [] });
  expect(await archived()).toBe(right);
});
