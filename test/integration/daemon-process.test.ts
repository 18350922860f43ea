/** `pgark run` as a process: signals, what it tells systemd, and how it ends. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ConfigValue } from '../../core/src/config/load.ts';
import { spawnCli, type CliChild } from '../support/cli.ts';
import { sectionFor } from '../support/daemon.ts';
import { later } from '../support/later.ts';
import { missingForNotify, notifySocket } from '../support/notify-socket.ts';
import { PostgresServer, removeFolder, temporaryFolder } from '../support/postgres.ts';

let server: PostgresServer;
beforeAll(async () => {
  server = await PostgresServer.start({ major: 18, segmentMegabytes: 1 });
});
afterAll(() => server.destroy());

const noNotify = missingForNotify();

/** Starts `pgark run` with a config file in a folder of its own. */
function runDaemon(
  sections: (folder: string) => Readonly<Record<string, ConfigValue>>,
  env: Readonly<Record<string, string>> = {},
): {
  readonly child: CliChild;
  readonly write: (clusters: object, daemon?: object) => void;
  readonly folder: string;
  readonly clusters: Readonly<Record<string, ConfigValue>>;
} {
  const folder = later(temporaryFolder('run'), removeFolder);
  const file = join(folder, 'pgark.json');
  const write = (clusters: object, daemon: object = {}): void =>
    writeFileSync(file, JSON.stringify({ clusters, daemon: { listen: 'off', ...daemon } }));
  const clusters = sections(folder);
  write(clusters);
  const child = later(spawnCli(['--config', file, 'run'], { env }), async ({ kill, ended }) => {
    kill('SIGKILL');
    await ended;
  });
  return { child, write, folder, clusters };
}

test.skipIf(noNotify !== undefined)(
  `systemd is told of start, reload, life and end (${noNotify ?? 'all there'})`,
  async () => {
    const socket = await notifySocket();
    const { child, write, clusters } = runDaemon((folder) => ({ main: sectionFor(folder, 'main', server.url()) }), {
      NOTIFY_SOCKET: socket.path,
      WATCHDOG_USEC: '3000000',
    });
    const ready = await socket.waitFor(/^READY=1/);
    expect(ready).toBe('READY=1\tSTATUS=1 of 1 cluster streaming');
    await socket.waitFor(/^WATCHDOG=1$/);

    let before = socket.messages.length;
    const now = process.hrtime.bigint();
    child.kill('SIGHUP');
    const reloading = await socket.waitFor(/^RELOADING=1/, before);
    const clock = BigInt(/MONOTONIC_USEC=(\d+)/.exec(reloading)?.[1] ?? 0) * 1000n;
    expect(clock - now).toBeGreaterThan(0n);
    expect(clock - now).toBeLessThan(60_000_000_000n);
    expect(await socket.waitFor(/^READY=1/, before)).toBe('READY=1\tSTATUS=1 of 1 cluster streaming');

    before = socket.messages.length;
    write({ ...clusters, wrong: { nonsense: 1 } });
    child.kill('SIGHUP');
    expect(await socket.waitFor(/^READY=1/, before)).toMatch(/the config stays as it was: .*nonsense/);
    expect(child.stderr()).toMatch(/error: the config stays as it was/);

    before = socket.messages.length;
    child.kill('SIGTERM');
    expect((await child.ended).code).toBe(0);
    await socket.waitFor(/^STOPPING=1/, before);
    await socket.waitFor(/^EXTEND_TIMEOUT_USEC=\d+$/, before);
  },
);
