/** Two containers of one host that have the same host name, such as two of `network_mode: host`, share a spool. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const LOCK = fileURLToPath(new URL('../../src/receive/spool-lock.ts', import.meta.url));
/** Namespaces need rights that not every user has. */
const CONTAINED = spawnSync('unshare', ['-pf', '--mount-proc', 'true']).status === 0;

test.skipIf(!CONTAINED)('H-04 a lock is held across the namespaces of processes', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'pgark-lock-'));
  const script = (rest: string): string =>
    `import(${JSON.stringify(LOCK)}).then(({ SpoolLock }) => { SpoolLock.acquire(${JSON.stringify(folder)}); ${rest} })` +
    `.catch((error) => { console.log(error.code); process.exit(3); });`;
  const flags = ['-pf', '--mount-proc', process.execPath, '--conditions=@pgark/source', '-e'];
  const first = spawn('unshare', [...flags, script(`console.log('held'); setInterval(() => 0, 1000);`)], {
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  });
  try {
    await once(first.stdout, 'data');
    // The second container has run other processes before, so that its own id is another one.
    const second = spawnSync('unshare', [...flags, script(`console.log('held too');`)], {
      encoding: 'utf8',
      timeout: 10_000,
    });
    expect(second.stdout.trim()).toBe('SPOOL_LOCKED');
  } finally {
    if (first.pid !== undefined) process.kill(-first.pid, 'SIGKILL');
    rmSync(folder, { recursive: true });
  }
});
