import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import plugin from '@pgark/hook-exec';
import {
  EVENT_NAMES,
  exampleEvent,
  isArchiveError,
  type ArchiveError,
  type ArchiveEvent,
  type Logger,
} from '@pgark/sdk';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { configuredHook, optionFaults } from '../../../test/support/configured-hook.ts';
import { NASTY_TEXTS } from '../../../test/support/nasty-text.ts';
import { until } from '../../../test/support/until.ts';

let folder: string;
/** Processes that a failed test would leave behind. */
const started: number[] = [];
const log: string[] = [];
const logger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: (_, message) => void log.push(message),
  error: () => undefined,
};
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'pgark-exec-'));
  log.length = 0;
});
afterEach(() => {
  vi.unstubAllEnvs();
  for (const pid of started.splice(0)) if (isRunning(pid)) process.kill(pid, 'SIGKILL');
  rmSync(folder, { recursive: true });
});

/** Writes a script and gives the command that runs it. */
function script(lines: string, name = './hook.sh'): readonly string[] {
  writeFileSync(join(folder, name), `#!/bin/sh\n${lines}\n`);
  chmodSync(join(folder, name), 0o755);
  return [name];
}

async function run(
  event: ArchiveEvent,
  options: { readonly command: readonly string[]; readonly mode?: string; readonly inherit?: readonly string[] },
  signal: AbortSignal = new AbortController().signal,
): Promise<void> {
  const hook = await configuredHook(plugin, options, { directory: folder, logger });
  await hook.handle(event, { signal });
  await hook.close();
}

async function failure(running: Promise<void>): Promise<ArchiveError> {
  const error: unknown = await running.then(
    () => expect.unreachable('it succeeded'),
    (thrown: unknown) => thrown,
  );
  if (!isArchiveError(error)) throw error;
  return error;
}

const written = (name: string): string => readFileSync(join(folder, name), 'utf8');

/** A file that `env -0` wrote. */
const variablesIn = (name: string): Readonly<Record<string, string>> =>
  Object.fromEntries(
    written(name)
      .split('\0')
      .filter((line) => line !== '')
      .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  );

function isRunning(pid: number): boolean {
  try {
    // A process that nobody has waited for yet is gone all the same.
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

const event = exampleEvent('wal.gap');

describe('what a program gets', () => {
  test.each(EVENT_NAMES)('%s as a line of JSON', async (name) => {
    await run(exampleEvent(name), { command: script('cat >event.json') });
    expect(written('event.json')).toBe(`${JSON.stringify(exampleEvent(name))}\n`);
  });

  test('variables', async () => {
    const open = { ...event, condition: { key: 'gap', state: 'open' } } as const;
    await run(open, { command: script('env -0 >environment') });
    expect(variablesIn('environment')).toMatchObject({
      PGARK_EVENT_ID: event.id,
      PGARK_EVENT_NAME: 'wal.gap',
      PGARK_EVENT_TIME: '2026-11-29T01:02:03.000Z',
      PGARK_EVENT_CLUSTER: 'main',
      PGARK_EVENT_HOST: 'backup1',
      PGARK_EVENT_SEVERITY: 'critical',
      PGARK_EVENT_SUMMARY: event.summary,
      PGARK_EVENT_CONDITION: 'gap',
      PGARK_EVENT_STATE: 'open',
    });
  });

  test('nothing else of this environment, unless the config names it', async () => {
    vi.stubEnv('SLACK_URL', 'https://hooks.slack.com/services/secret');
    vi.stubEnv('PGPASSWORD', 'secret');
    vi.stubEnv('AWS_PROFILE', 'backups');
    const command = script('env -0 >environment');
    await run(event, { command, inherit: ['AWS_PROFILE', 'NOT_THERE'] });
    const variables = variablesIn('environment');
    expect(JSON.stringify(variables)).not.toContain('secret');
    expect(variables).toMatchObject({ AWS_PROFILE: 'backups', PATH: process.env['PATH'] });
    // `sh` adds its own.
    const more = Object.keys(variables).filter(
      (name) =>
        !/^(?:PGARK_EVENT_|PATH$|HOME$|USER$|LOGNAME$|SHELL$|TMPDIR$|TZ$|LANG$|LC_|AWS_PROFILE$|PWD$|OLDPWD$|SHLVL$|_$)/.test(
          name,
        ),
    );
    expect(more).toEqual([]);
  });

  test('its arguments, which no shell reads', async () => {
    const args = ['$(touch evil)', '`touch evil`', '; touch evil', '* ?', 'a b', '', '"', '\\'];
    await run(event, { command: [...script('printf "%s\\n" "$@" >arguments'), ...args] });
    expect(written('arguments')).toBe(args.map((argument) => `${argument}\n`).join(''));
    expect(() => written('evil')).toThrow('ENOENT');
  });

  test('the folder of the config to work in; a bare name is looked for in PATH', async () => {
    await run(event, { command: ['sh', '-c', 'pwd >where'] });
    expect(written('where').trim()).toMatch(new RegExp(`${folder}$`));
  });

  test('HOOK-06 text of an event stays text, in JSON and in variables', async () => {
    const command = script('cat >event.json; env -0 >environment');
    for (const text of NASTY_TEXTS) {
      const nasty = { ...event, cluster: text, host: text, summary: text };
      await run(nasty, { command });
      expect(JSON.stringify(JSON.parse(written('event.json')))).toBe(JSON.stringify(nasty));
      const { PGARK_EVENT_SUMMARY: summary = '', PGARK_EVENT_CLUSTER: cluster } = variablesIn('environment');
      expect(summary).toBe(cluster);
      // One line, without controls.
      expect(summary).not.toMatch(/[\p{Cc}\u202E]/u);
      expect(summary.length).toBeLessThanOrEqual(8192);
    }
  });

  test('it may leave its input unread, however much that is', async () => {
    const data = { ...event.data, reason: 'x'.repeat(1_000_000) };
    await run({ ...event, data }, { command: script('exit 0') });
    await run({ ...event, data }, { command: script('exec <&-; sleep 0.1; exit 0') });
  });
});

describe('exit codes', () => {
  test('HOOK-03 63 is a refusal', async () => {
    const error = await failure(run(event, { command: script('echo not now >&2; exit 63') }));
    expect(error).toMatchObject({
      code: 'HOOK_REJECTED',
      retriable: false,
      message: `program ${folder}/hook.sh refused (exit code 63): not now`,
      details: { exitCode: 63, output: 'not now\n' },
    });
  });

  test('62 gives up: no failure, a warning', async () => {
    await run(event, { command: script('echo nobody is there; exit 62') });
    expect(log).toEqual([`program ${folder}/hook.sh has given up on wal.gap (exit code 62): nobody is there`]);
  });

  test.each([1, 2, 61, 64, 126, 127, 255])('HOOK-03 %i is a failure that a further try may mend', async (exitCode) => {
    const error = await failure(run(event, { command: script(`exit ${exitCode}`) }));
    expect(error).toMatchObject({
      code: 'HOOK_FAILED',
      retriable: true,
      message: `program ${folder}/hook.sh ended with exit code ${exitCode}`,
    });
  });

  test('a signal, a program that is not there, one that must not be run', async () => {
    expect(await failure(run(event, { command: script('kill -9 $$') }))).toMatchObject({
      code: 'HOOK_FAILED',
      message: `program ${folder}/hook.sh was ended by SIGKILL`,
    });
    expect(await failure(run(event, { command: ['./absent.sh'] }))).toMatchObject({
      code: 'HOOK_FAILED',
      message: `program ${folder}/absent.sh cannot be run: ENOENT`,
    });
    writeFileSync(join(folder, 'plain'), 'no program');
    expect(await failure(run(event, { command: ['./plain'] }))).toMatchObject({
      code: 'HOOK_FAILED',
      message: `program ${folder}/plain cannot be run: EACCES`,
    });
  });

  test('arguments that are too long for the system', async () => {
    const error = await failure(run(event, { command: ['true', 'x'.repeat(200_000)] }));
    expect(error).toMatchObject({ code: 'HOOK_FAILED', message: 'program true cannot be run: E2BIG' });
  });

  test('output is read to its end, and the end of it is kept', async () => {
    const lines = script(
      'head -c 30000000 /dev/zero | tr "\\0" x; printf "\\n\\033[31mlast words\\033[0m\\n" >&2; exit 3',
    );
    const error = await failure(run(event, { command: lines }));
    expect(error.message).toBe(`program ${folder}/hook.sh ended with exit code 3: [31mlast words[0m`);
    expect((error.details as { readonly output: string }).output.length).toBeLessThanOrEqual(8192);
  });
});

describe('HOOK-02 the signal', () => {
  /** A program with a child, both deaf to a polite request. */
  const deaf =
    'trap "" TERM INT HUP; sh -c \'trap "" TERM INT HUP; echo $$ >child; while :; do sleep 1; done\' & echo $$ >parent; wait';

  async function pids(): Promise<readonly number[]> {
    await until('both run', () => {
      try {
        return written('child') !== '' && written('parent') !== '';
      } catch {
        return false;
      }
    });
    const both = ['parent', 'child'].map((name) => Number(written(name)));
    started.push(...both);
    return both;
  }

  test('the program is killed with all that it has started', async () => {
    const controller = new AbortController();
    const running = failure(run(event, { command: script(deaf) }, controller.signal));
    const processes = await pids();
    expect(processes.every(isRunning)).toBe(true);
    controller.abort('over');
    expect(await running).toMatchObject({ code: 'HOOK_FAILED', cause: 'over' });
    await until('both have ended', () => !processes.some(isRunning));
  });

  test('HOOK-07 close kills it too, and nothing runs after it', async () => {
    const hook = await configuredHook(plugin, { command: script(deaf) }, { directory: folder, logger });
    const { signal } = new AbortController();
    const running = failure(hook.handle(event, { signal }));
    const processes = await pids();
    await hook.close();
    expect(await running).toMatchObject({ code: 'HOOK_FAILED' });
    await until('both have ended', () => !processes.some(isRunning));
    rmSync(join(folder, 'parent'));
    await failure(hook.handle(event, { signal }));
    expect(() => written('parent')).toThrow('ENOENT');
  });

  test('one that has fired: nothing is run', async () => {
    await failure(run(event, { command: script('touch ran') }, AbortSignal.abort()));
    expect(() => written('ran')).toThrow('ENOENT');
  });

  test('what a program leaves running is not waited for', async () => {
    await run(event, { command: script('sleep 600 & echo $! >left; exit 0') });
    const left = Number(written('left'));
    started.push(left);
    expect(isRunning(left)).toBe(true);
  });
});

test('options are strict', async () => {
  expect(
    await optionFaults(plugin, { command: ['/bin/true', '-x'], mode: 'barman', inherit: ['A_1'] }),
  ).toBeUndefined();
  for (const wrong of [
    { command: [] },
    { command: [''] },
    { command: 'echo hello' },
    { command: ['a\0b'] },
    { mode: 'shell' },
    { inherit: ['A=B'] },
    { shell: true },
  ]) {
    expect(await optionFaults(plugin, { command: ['/bin/true'], ...wrong }), JSON.stringify(wrong)).toHaveLength(1);
  }
});
