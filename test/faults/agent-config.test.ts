/** A config that is a link which is switched over, as Kubernetes and configuration management do. */
import { mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { spawnCli, runCli } from '../support/cli.ts';
import { TestArchive } from '../support/archive.ts';
import { serverUser } from '../support/binaries.ts';
import { later } from '../support/later.ts';
import { giveToServer, PostgresServer, removeFolder, temporaryFolder } from '../support/postgres.ts';

test('an agent serves on when the link to its config is switched over', async () => {
  const server = later(await PostgresServer.start({ major: 17 }), (one) => one.destroy());
  const folder = later(temporaryFolder('links'), removeFolder);
  const archive = later(new TestArchive(server, { config: { agent: { socket: join(folder, 'agent.sock') } } }), (one) =>
    one.destroy(),
  );
  // An archive that holds the cluster, but not that file, answers at once.
  const receiver = await archive.receive(server);
  await archive.switchWal(server);
  await receiver.stop();
  const systemId = await server.value('SELECT system_identifier FROM pg_control_system()');
  const version = (name: string): void => {
    mkdirSync(join(folder, name));
    writeFileSync(join(folder, name, 'pgark.json'), readFileSync(archive.config));
    for (const path of [join(folder, name), join(folder, name, 'pgark.json')]) giveToServer(path);
  };
  version('1');
  symlinkSync('1', join(folder, 'data'));
  symlinkSync('data/pgark.json', join(folder, 'pgark.json'));
  const config = join(folder, 'pgark.json');
  const agent = spawnCli(['--config', config, '--log-level', 'debug', 'agent'], { ...serverUser() });
  later(agent, async (one) => {
    one.kill('SIGKILL');
    await one.ended;
  });
  await agent.waitFor(/the agent listens/);
  const asked = async (): Promise<number> => {
    const count = (): number => agent.stderr().split('a command asks').length;
    const before = count();
    await runCli(['--config', config, 'wal-fetch', '--system-id', systemId, '00000002.history', 'x'], {
      ...serverUser(),
      cwd: folder,
    });
    return count() - before;
  };
  expect(await asked()).toBe(1);
  version('2');
  symlinkSync('2', join(folder, 'data.new'));
  renameSync(join(folder, 'data.new'), join(folder, 'data'));
  rmSync(join(folder, '1'), { recursive: true });
  expect(await asked()).toBe(1);
});
