/** The units in examples/systemd: systemd takes them, pgark takes what they run, and they are as closed as they say. */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadConfig } from '../../core/src/config/load.ts';
import { unavailable } from '../support/require.ts';
import { commandLines, refusal } from './command-lines.ts';
import { PROJECT } from './pages.ts';

const FOLDER = join(PROJECT, 'examples/systemd');
const files = readdirSync(FOLDER, { recursive: true, encoding: 'utf8' }).filter((name) =>
  /\.(?:service|timer|conf)$/.test(name),
);
const units = files.filter((name) => !name.endsWith('.conf'));
const read = (name: string): string => readFileSync(join(FOLDER, name), 'utf8');
const setting = (name: string, key: string): string | undefined =>
  new RegExp(`^${key}=(.*)$`, 'm').exec(read(name))?.[1];

describe('examples/systemd', () => {
  test('pgark takes what the units run', () => {
    const lines = files.flatMap((name) => {
      // %i is the part of the name behind "@", which its timers give.
      const instances = name.includes('@.') ? ['backup', 'verify'] : [''];
      return instances.flatMap((instance) =>
        commandLines(
          read(name)
            .replaceAll('%i', instance)
            .replaceAll(/^(?!ExecStart=).*$/gm, ''),
        ),
      );
    });
    expect(lines.map((line) => line.at(-1) ?? '').toSorted()).toEqual([
      '--confirm',
      'agent',
      'backup',
      'run',
      'verify',
    ]);
    for (const line of lines) expect(refusal(line), line.join(' ')).toBeUndefined();
  });

  test('every timer has a service, at a time of its own', () => {
    const timers = units.filter((name) => name.endsWith('.timer'));
    expect(timers.length).toBe(3);
    expect(new Set(timers.map((name) => setting(name, 'OnCalendar'))).size).toBe(timers.length);
    for (const name of timers) {
      expect(name).toMatch(/^pgark-task@\w+\.timer$/);
      expect(setting(name, 'Persistent')).toBe('true');
    }
  });

  test('the daemon has time to ship what it received before systemd ends it', async () => {
    const value = { repositories: [{ storage: { use: 'memory' } }] };
    const { config } = await loadConfig({ value, env: {}, directory: '/' });
    expect(Number(setting('pgark.service', 'TimeoutStopSec')) * 1000).toBeGreaterThanOrEqual(
      config.daemon.drain + 75_000,
    );
    expect(setting('pgark.service', 'WatchdogSec')).toMatch(/^\d+$/);
    expect(setting('pgark.service', 'NotifyAccess')).toBe('all');
  });
});

const version = spawnSync('systemd-analyze', ['--version'], { encoding: 'utf8' });
const missing =
  version.status === 0 && Number(/^systemd (\d+)/.exec(version.stdout)?.[1]) >= 250
    ? undefined
    : unavailable('systemd-analyze of systemd 250', 'apt-get install systemd');

describe.skipIf(missing !== undefined)(`systemd-analyze${missing === undefined ? '' : ` (${missing})`}`, () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'pgark-units-'));
    cpSync(FOLDER, folder, { recursive: true });
    // The program is not installed here, and verify looks for it.
    for (const name of files)
      writeFileSync(join(folder, name), read(name).replaceAll('/usr/local/bin/pgark', '/bin/true'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const analyze = (
    ...args: readonly string[]
  ): { readonly status: number | null; readonly told: string; readonly said: string } => {
    const env = { ...process.env, SYSTEMD_UNIT_PATH: `${folder}:`, LC_ALL: 'C' };
    const { status, stdout, stderr } = spawnSync('systemd-analyze', args, { cwd: folder, encoding: 'utf8', env });
    return { status, told: stderr, said: stdout };
  };
  const instances = units
    .map((name) => name.replace('@.service', '@backup.service'))
    .concat('pgark-task@expire.service');

  test.each(instances)('%s is taken without a word', (name) => {
    expect(analyze('verify', '--man=no', `./${name}`)).toEqual({ status: 0, told: '', said: '' });
  });

  test('H-84 an unknown setting is told', () => {
    writeFileSync(join(folder, 'bad.service'), '[Service]\nExecStart=/bin/true\nProtectSytem=strict\n');
    expect(analyze('verify', '--man=no', './bad.service').told).toContain('ProtectSytem');
  });

  test.each([
    ['pgark.service', 20],
    ['pgark-task@backup.service', 20],
    ['pgark-agent.service', 30],
  ])('%s is exposed to at most %i of 100', (name, most) => {
    const { status, said } = analyze('security', '--offline=true', `--threshold=${most}`, '--no-pager', `./${name}`);
    expect(status, said).toBe(0);
    expect(said).toContain('Overall exposure level');
  });
});
