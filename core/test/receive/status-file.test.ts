import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, onTestFinished, test, vi } from 'vitest';
import { STATUS_FILE, StatusFile } from '../../src/receive/status-file.ts';
import { readReceiverState } from '../../src/status/receiver-state.ts';
import { silentLogger } from '../../../test/support/silent-logger.ts';

afterEach(() => void vi.useRealTimers());

test('H-12 a thread that stands still says nothing: its status grows old, until it works again or has ended', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'Date', 'performance'] });
  const spool = mkdtempSync(join(tmpdir(), 'pgark-status-'));
  onTestFinished(() => rmSync(spool, { recursive: true }));
  const status = new StatusFile({ folder: spool, slot: 'pgark', repositories: () => [], logger: silentLogger });
  onTestFinished(() => status.close());
  const state = async (): Promise<string> => (await readReceiverState(spool, '')).state;
  const writtenAt = (): number =>
    Date.parse((JSON.parse(readFileSync(join(spool, STATUS_FILE), 'utf8')) as { readonly time: string }).time);
  const later = (seconds: number, each: () => void = () => undefined): void => {
    for (let second = 0; second < seconds; second += 1) {
      vi.advanceTimersByTime(1000);
      each();
    }
  };

  status.connected('db1:5432');
  later(60, () => status.alive());
  expect(Date.now() - writtenAt()).toBeLessThan(5000);
  expect(await state()).toBe('running');
  later(60);
  expect(Date.now() - writtenAt()).toBeGreaterThan(40_000);
  expect(await state()).toBe('stale');
  later(10, () => status.alive());
  expect(await state()).toBe('running');
  // While the rest is shipped there is no thread that could say anything.
  status.threadEnded();
  later(60);
  expect(await state()).toBe('running');
});
