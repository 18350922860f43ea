import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { exampleEvent } from '../../src/contracts/event-table.ts';
import { readHookBacklogs } from '../../src/hooks/hook-backlog.ts';
import { WaitingEvents } from '../../src/hooks/waiting-events.ts';
import { temporaryFolder } from './support.ts';

test('says what waits for each hook and since when, and nothing where it cannot look', async () => {
  const folder = temporaryFolder();
  const fail = (error: unknown): void => {
    throw error;
  };
  const waiting = new WaitingEvents({
    folder: join(folder, 'chat'),
    bytes: 1024 * 1024,
    count: 100,
    onUnkept: fail,
    onUnread: fail,
  });
  const before = Date.now();
  for (const name of ['wal.gap', 'backup.failed'] as const)
    waiting.add(exampleEvent(name, { id: crypto.randomUUID() }));
  const after = Date.now();
  mkdirSync(join(folder, 'mail'));
  writeFileSync(join(folder, 'pager'), 'a file where the folder should be');

  const [chat, ...others] = await readHookBacklogs(folder, ['chat', 'mail', 'never', 'pager']);
  expect(chat).toMatchObject({ hook: 'chat', waiting: 2 });
  expect(chat?.oldest).toBeGreaterThanOrEqual(before);
  expect(chat?.oldest).toBeLessThanOrEqual(after);
  expect(others).toEqual([{ hook: 'mail', waiting: 0 }, { hook: 'never', waiting: 0 }, { hook: 'pager' }]);
});
