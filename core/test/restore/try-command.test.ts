import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { alive } from '../../../test/support/postgres.ts';
import { ArchiveError } from '../../src/contracts/errors.ts';
import { together } from '../../src/restore/together.ts';
import { tryCommand } from '../../src/restore/try-command.ts';

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'pgark-try-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

const FILES = { known: '000000010000000000000001', next: '000000010000000000000002' };

async function tried(command: string, signal?: AbortSignal): Promise<void> {
  const cancel = signal === undefined ? {} : { signal };
  await tryCommand(command, FILES, { directory, owner: undefined, env: process.env, ...cancel });
}

/** The processes that the commands have noted, once both of them have. */
async function noted(count: number): Promise<readonly number[]> {
  for (;;) {
    const names = readdirSync(directory).filter((name) => name.startsWith('pid.'));
    if (names.length === count) return names.map((name) => Number(name.slice('pid.'.length)));
    await sleep(5);
  }
}

test('what is there must be fetched; for what is not, an answer is enough, and nothing is left in the folder', async () => {
  await tried(`case %f in *1) echo wal > %p;; *2) exit 1;; esac`);
  expect(readdirSync(directory)).toEqual([]);
  const said = 'the restore_command does not fetch';
  await expect(tried('echo no such config >&2; exit 1')).rejects.toMatchObject({
    code: 'RESTORE_FAILED',
    message: `${said} ${FILES.known}: exit code 1: no such config`,
  });
  await expect(tried(`case %f in *2) exit 255;; esac`)).rejects.toMatchObject({
    code: 'RESTORE_FAILED',
    message: expect.stringContaining(`${said} ${FILES.next}: exit code 255`) as string,
  });
});

test.each([
  ['ends when it is told to', ''],
  ['does not heed that', `trap '' TERM; `],
])('an abort ends the commands and what they have started: one that %s', async (_, begin) => {
  const cancel = new AbortController();
  // The shell waits for a process of its own.
  const trying = tried(`${begin}sleep 300 & touch pid.$! pid.$$; touch %p; wait; wait`, cancel.signal);
  trying.catch(() => undefined);
  const pids = await noted(4);
  expect(pids.filter(alive)).toHaveLength(4);
  cancel.abort();
  await expect(trying).rejects.toMatchObject({ code: 'ABORTED' });
  expect(pids.filter(alive)).toEqual([]);
  expect(readdirSync(directory).filter((name) => !name.startsWith('pid.'))).toEqual([]);
  await expect(tried('touch begun', cancel.signal)).rejects.toMatchObject({ code: 'ABORTED' });
  expect(existsSync(join(directory, 'begun'))).toBe(false);
});

test('of two things at once the first failure is told, when the other one has ended', async () => {
  const fault = new ArchiveError('RESTORE_FAILED', 'the first');
  let ended = '';
  const untilAborted = async ({ signal }: { readonly signal: AbortSignal }): Promise<never> => {
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
    await sleep(20);
    ended += 'ended';
    throw new ArchiveError('ABORTED', 'the other');
  };
  const fail = (): Promise<never> => Promise.reject(fault);
  await expect(together(fail, untilAborted, {})).rejects.toBe(fault);
  await expect(together(untilAborted, fail, {})).rejects.toBe(fault);
  expect(ended).toBe('endedended');
  const cancel = new AbortController();
  const both = together(untilAborted, untilAborted, { signal: cancel.signal });
  cancel.abort();
  await expect(both).rejects.toMatchObject({ code: 'ABORTED' });
  expect(ended).toBe('endedendedendedended');
  expect(
    await together(
      async () => 7,
      async () => undefined,
      {},
    ),
  ).toBe(7);
});
