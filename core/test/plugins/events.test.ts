import { describe, expect, test } from 'vitest';
import type { HookConfig } from '../../src/config/config.ts';
import type { ArchiveEvent, Hook } from '../../src/contracts/hook.ts';
import { Events } from '../../src/plugins/events.ts';
import { recordingLogger, section } from './support.ts';

class FakeHook implements Hook {
  readonly told: ArchiveEvent[] = [];
  readonly #failures: number;
  tries = 0;

  constructor(failures = 0) {
    this.#failures = failures;
  }

  async handle(event: ArchiveEvent): Promise<void> {
    this.tries += 1;
    if (this.tries <= this.#failures) throw new Error('no route');
    this.told.push(event);
    await Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

function setup(hooks: readonly (readonly [Hook, Partial<HookConfig>])[]): { events: Events; lines: string[] } {
  const logger = recordingLogger();
  const made = hooks.map(([hook, config]) => ({
    hook,
    config: { hook: section('fake'), policy: 'warn' as const, timeout: 1000, retries: 2, ...config },
  }));
  return { events: new Events({ cluster: 'c', hooks: made, logger, backoff: 1 }), lines: logger.lines };
}

describe('Events', () => {
  test('go to the hooks that ask for them, with name, time, cluster and data', async () => {
    const [all, some, none] = [new FakeHook(), new FakeHook(), new FakeHook()];
    const { events } = setup([
      [all, {}],
      [some, { events: ['backup.started', 'wal.gap'] }],
      [none, { events: ['wal.gap'] }],
    ]);
    await events.emit('backup.started', { id: 'b1' });
    expect(all.told).toEqual(some.told);
    expect(some.told).toMatchObject([{ name: 'backup.started', cluster: 'c', data: { id: 'b1' } }]);
    expect(none.tries).toBe(0);
  });

  test('a failed delivery is tried again', async () => {
    const hook = new FakeHook(2);
    const { events, lines } = setup([[hook, {}]]);
    await events.emit('backup.started', { id: 'b1' });
    expect(hook.tries).toBe(3);
    expect(hook.told).toHaveLength(1);
    expect(lines).toEqual([]);
  });

  test('then it is a warning, or with the policy "fail" an error, after every hook was told', async () => {
    const good = new FakeHook();
    const warned = setup([
      [new FakeHook(99), {}],
      [good, {}],
    ]);
    await warned.events.emit('backup.started', { id: 'b1' });
    expect(warned.lines).toEqual(['warn: hook fake was not told of backup.started: no route']);
    const fatal = setup([
      [new FakeHook(99), { policy: 'fail', retries: 0 }],
      [good, {}],
    ]);
    await expect(fatal.events.emit('backup.started', { id: 'b1' })).rejects.toMatchObject({
      code: 'HOOK_FAILED',
      message: 'hook fake failed at backup.started: no route',
    });
    expect(good.told).toHaveLength(2);
  });

  test('a hook that never answers does not hold up the work', async () => {
    let aborted = false;
    const deaf: Hook = {
      handle: (_, { signal }) => {
        signal.addEventListener('abort', () => (aborted = true));
        return new Promise(() => undefined);
      },
      close: () => Promise.resolve(),
    };
    const { events, lines } = setup([[deaf, { timeout: 20, retries: 0 }]]);
    await events.emit('receive.stopped', { lsn: '0/1' });
    expect(aborted).toBe(true);
    expect(lines).toEqual(['warn: hook fake was not told of receive.stopped: no answer within 0.02 s']);
  });
});
