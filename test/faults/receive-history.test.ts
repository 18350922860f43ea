/** Two servers were promoted to a timeline of the same number, as after a failover that was done twice. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { walSegment } from '../../core/test/wal-command/segments.ts';
import { fill } from '../support/fill.ts';
import { later } from '../support/later.ts';
import { giveToServer, PostgresServer } from '../support/postgres.ts';
import { flushedAll, Receiving } from '../support/receiving.ts';
import { systemIdOf } from '../support/ship-wal.ts';
import { promote } from '../support/standby.ts';

test('H-08 H-22 WAL of a timeline is not archived under the history of another one of the same number', async () => {
  const server = later(await PostgresServer.start({ segmentMegabytes: 1 }), (one) => one.destroy());
  const systemId = await systemIdOf(server);
  await fill(server, 2);
  await server.stop();
  writeFileSync(join(server.data, 'standby.signal'), '');
  giveToServer(join(server.data, 'standby.signal'));
  await server.start();
  await promote(server);
  const receiver = later(new Receiving(), (made) => made.destroy());
  // The other one, which forked earlier, has archived its history and one whole segment, then it was shut down for good.
  await receiver.repository.open({ create: true });
  const archive = receiver.repository.wal(systemId);
  await archive.push('00000002.history', { bytes: Buffer.from('1\t0/1200028\tno recovery target specified\n') });
  const theirs = walSegment(0x12n, { timeline: 2, systemId });
  await archive.push(theirs.name, { bytes: theirs.bytes });
  await fill(server, 20);
  await receiver.start(server.port);
  await receiver.waitFor('wal.conflict');
  await flushedAll(server);
  const { unshipped } = await receiver.stop();
  // All of it is safe in the spool.
  expect(unshipped).toBeGreaterThan(20);
  expect(receiver.states).toContain('WAL_CONFLICT');
  const names = [...(await receiver.archived(systemId)).keys()].filter((name) => name.startsWith('00000002'));
  expect(names.sort()).toEqual(['00000002.history', theirs.name].sort());
});
