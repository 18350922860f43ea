import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { notifySystemd } from '../../src/agent/notify.ts';

let folder = '';
const warnings: string[] = [];
const logger = {
  debug: (): void => undefined,
  info: (): void => undefined,
  warn: (_: object, message: string): void => void warnings.push(message),
  error: (): void => undefined,
};
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'pgark-notify-'));
  warnings.length = 0;
});
afterEach(() => rmSync(folder, { recursive: true }));

/** A program in the place of systemd's, which writes down how it was called. */
function program(): NodeJS.ProcessEnv {
  const path = join(folder, 'systemd-notify');
  writeFileSync(path, `#!/bin/sh\nprintf '%s|' "$NOTIFY_SOCKET" "$@" >"${folder}/called"\n`);
  chmodSync(path, 0o755);
  return { PATH: `${folder}:/usr/bin:/bin` };
}

test('the service manager that asked for it is told, by its own program', async () => {
  await notifySystemd(['READY=1', 'STATUS=listens on /a b'], { ...program(), NOTIFY_SOCKET: '/run/notify' }, logger);
  expect(readFileSync(join(folder, 'called'), 'utf8')).toBe('/run/notify|READY=1|STATUS=listens on /a b|');
  expect(warnings).toEqual([]);
});

test('without one nothing is called, and a program that is missing is a warning', async () => {
  await notifySystemd(['READY=1'], program(), logger);
  expect(existsSync(join(folder, 'called'))).toBe(false);
  rmSync(join(folder, 'systemd-notify'));
  await notifySystemd(['READY=1'], { PATH: folder, NOTIFY_SOCKET: '/run/notify' }, logger);
  expect(warnings).toEqual(['systemd was not told: systemd-notify failed']);
});
