import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { HookConfig } from '../../src/config/config.ts';
import { ArchiveError } from '../../src/contracts/errors.ts';
import type { ArchiveEvent, Hook, HookContext } from '../../src/contracts/hook.ts';

/** What a hook is that runs in the test's process, and can be told to fail. */
export class InProcessHook implements Hook {
  readonly told: ArchiveEvent[] = [];
  tries = 0;
  closed = 0;
  /** Called at each try; throws to fail. */
  before: (event: ArchiveEvent, context: HookContext) => void | Promise<void> = () => undefined;

  get names(): readonly string[] {
    return this.told.map(({ name }) => name);
  }

  async handle(event: ArchiveEvent, context: HookContext): Promise<void> {
    this.tries += 1;
    await this.before(event, context);
    this.told.push(event);
  }

  close(): Promise<void> {
    this.closed += 1;
    return Promise.resolve();
  }
}

export function down(): never {
  throw new ArchiveError('HOOK_FAILED', 'the receiver is down');
}

export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'pgark-hooks-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export function hookConfig(config: Partial<HookConfig> = {}): HookConfig {
  return {
    name: 'fake',
    hook: { use: 'fake', options: {}, path: 'hooks[0]', texts: [] },
    severity: 'info',
    policy: 'warn',
    quiet: 3_600_000,
    timeout: 1000,
    retries: 0,
    spool: 1024 * 1024,
    ...config,
  };
}
