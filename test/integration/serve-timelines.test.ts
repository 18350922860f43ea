/** A recovery that follows promotions by what `pgark serve` gives, histories and the newest partial segment included. */
import { spawnSync } from 'node:child_process';
import { appendFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { TestArchive } from '../support/archive.ts';
import { serverUser } from '../support/binaries.ts';
import { CLI, spawnCli } from '../support/cli.ts';
import { freePort } from '../support/free-port.ts';
import { later } from '../support/later.ts';
import { PostgresServer } from '../support/postgres.ts';
import { flushedAll } from '../support/receiving.ts';
import { dropSetting, restored, startAndPromote } from '../support/restoring.ts';
import { caughtUp, destroyStandby, promote, startStandby } from '../support/standby.ts';
import { until } from '../support/until.ts';

test('H-08 timelines are followed through the WAL server, by pgark and by curl', async () => {
  const primary = later(await PostgresServer.create({ major: 18 }), (started) => started.destroy());
  const standby = later(await startStandby(primary), destroyStandby);
  const port = await freePort();
  const archive = later(
    new TestArchive(primary, { config: { serve: { listen: `127.0.0.1:${port}` }, log: { level: 'debug' } } }),
    (made) => made.destroy(),
  );
  const receiver = later(await archive.receive(primary), (started) => started.kill());
  await primary.query('CREATE TABLE numbers (n int)');
  await archive.backup();
  await primary.query('INSERT INTO numbers VALUES (1)');
  await caughtUp(primary, standby);
  await primary.stop();
  await receiver.stop();
  await promote(standby);
  archive.connectTo(standby);
  const second = later(await archive.receive(standby), (started) => started.kill());
  await standby.query('INSERT INTO numbers VALUES (2)');
  await archive.switchWal(standby);
  await standby.query('INSERT INTO numbers VALUES (3)');
  await until('the history', () => archive.holds('00000002.history'));
  await flushedAll(standby);
  await Promise.all([standby.kill(), second.stop()]);

  const server = spawnCli(['--config', archive.config, 'serve'], { ...serverUser() });
  later(server, (started) => started.kill('SIGKILL'));
  await server.waitFor(/serving WAL at http:/);
  const clients = spawnSync('curl', ['--version']).status === 0 ? (['pgark', 'curl'] as const) : (['pgark'] as const);
  for (const client of clients) {
    const text = await archive.run(['serve', '--print-restore-command', client]);
    const command = text.replace('pgark wal-fetch', `${CLI.join(' ')} wal-fetch --retry 1s`);
    const clone = later(await restored(archive, 18, client), (opened) => opened.destroy());
    // What the restore has put into its folder would not be asked for.
    rmSync(join(clone.data, 'pg_wal', '00000002.history'), { force: true });
    dropSetting(clone.data, 'restore_command');
    appendFileSync(join(clone.data, 'postgresql.auto.conf'), command);
    await startAndPromote(clone);
    expect(await clone.value(`SELECT string_agg(n::text, ' ' ORDER BY n) FROM numbers`)).toBe('1 2 3');
    expect(clone.log).toContain('selected new timeline ID: 3');
    expect(server.stderr()).toMatch(/sent \(file=00000002\.history /);
    expect(server.stderr()).toMatch(/sent \(file=0000000200000000\d+ /);
  }
});
