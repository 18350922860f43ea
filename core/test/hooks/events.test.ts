import { spawnSync } from 'node:child_process';
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import type { HookConfig } from '../../src/config/config.ts';
import { ArchiveError } from '../../src/contracts/errors.ts';
import type { HookDelivery } from '../../src/hooks/courier.ts';
import { Events, type EventsOptions } from '../../src/hooks/events.ts';
import { recordingLogger } from '../plugins/support.ts';
import { down, hookConfig, InProcessHook, temporaryFolder } from './support.ts';

const PACE = { retry: 1, most: 5, look: 20, end: 2000 };
const FAILED = { id: 'b1', code: 'STORAGE_FULL', message: 'no space left' };
const FINISHED = { id: 'b2', bytes: 1, suspect: false, behind: [] };

function open(
  hooks: readonly (readonly [InProcessHook, Partial<HookConfig>])[],
  options: Partial<EventsOptions> = {},
): { readonly events: Events; readonly lines: readonly string[] } {
  const logger = recordingLogger();
  const made = hooks.map(([hook, config], at) => ({ hook, config: hookConfig({ name: `fake${at}`, ...config }) }));
  return { events: new Events({ cluster: 'c', hooks: made, logger, pace: PACE, ...options }), lines: logger.lines };
}

describe('which hooks are told', () => {
  test('those that ask for the event by its name, with all that an event has', async () => {
    const [all, some, none] = [new InProcessHook(), new InProcessHook(), new InProcessHook()];
    const { events } = open([
      [all, {}],
      [some, { events: ['receive.stopped', 'wal.gap'] }],
      [none, { events: ['wal.gap'] }],
    ]);
    events.emit('receive.stopped', { lsn: '0/1' });
    await events.close();
    expect(all.told).toEqual(some.told);
    expect(some.told).toMatchObject([
      {
        name: 'receive.stopped',
        cluster: 'c',
        severity: 'info',
        summary: 'the receiver was stopped at 0/1',
        data: { lsn: '0/1' },
      },
    ]);
    expect(none.tries).toBe(0);
    expect([all, some, none].map(({ closed }) => closed)).toEqual([1, 1, 1]);
  });

  test('those that ask for so severe an event; the end of what they were told of they hear of too', async () => {
    const [severe, named] = [new InProcessHook(), new InProcessHook()];
    const { events } = open([
      [severe, { severity: 'warning' }],
      [named, { events: ['backup.failed'] }],
    ]);
    events.emit('backup.finished', FINISHED);
    events.emit('backup.failed', FAILED);
    events.emit('receive.stopped', { lsn: '0/1' });
    events.emit('backup.finished', FINISHED);
    events.emit('backup.finished', FINISHED);
    await events.close();
    for (const hook of [severe, named]) expect(hook.names).toEqual(['backup.failed', 'backup.finished']);
  });
});

describe('what cannot be told', () => {
  test('is tried again, in order, and holds nobody up', async () => {
    const [hook, other] = [new InProcessHook(), new InProcessHook()];
    let failures = 5;
    hook.before = () => {
      if (failures-- > 0) down();
    };
    const deliveries: HookDelivery[] = [];
    const { events, lines } = open(
      [
        [hook, { retries: 1 }],
        [other, {}],
      ],
      { onDelivery: (delivery) => void deliveries.push(delivery) },
    );
    events.start();
    for (const lsn of ['0/1', '0/2', '0/3']) events.emit('receive.stopped', { lsn });
    await vi.waitFor(() =>
      expect(hook.told.map(({ data }) => data)).toEqual([{ lsn: '0/1' }, { lsn: '0/2' }, { lsn: '0/3' }]),
    );
    await events.close();
    expect(hook.tries).toBe(8);
    expect(other.tries).toBe(3);
    const failed = { hook: 'fake0', event: 'receive.stopped', failed: 'HOOK_FAILED' };
    expect(deliveries.filter((delivery) => 'failed' in delivery)).toEqual(Array.from({ length: 5 }, () => failed));
    expect(deliveries.filter((delivery) => !('failed' in delivery)).map((delivery) => delivery.hook)).toHaveLength(6);
    expect(lines).toEqual([
      'warn: hook fake0 cannot be told of receive.stopped, it is tried again: the receiver is down',
      'info: hook fake0 can be told again',
    ]);
  });

  test('waits for the next process, which tells it once', async () => {
    const folder = temporaryFolder();
    const hook = new InProcessHook();
    hook.before = down;
    const first = open([[hook, {}]], { folder });
    first.events.emit('backup.failed', FAILED);
    await first.events.close();
    expect(first.lines.at(-1)).toBe('warn: hook fake0 has yet to be told of 1 events');
    const again = new InProcessHook();
    const second = open([[again, {}]], { folder });
    second.events.emit('receive.stopped', { lsn: '0/1' });
    await second.events.close();
    expect(again.names).toEqual(['backup.failed', 'receive.stopped']);
    const third = open([[again, {}]], { folder });
    third.events.start();
    await third.events.close();
    expect(again.tries).toBe(2);
  });

  test('is told by a process that lasts, when the one that had it has ended', async () => {
    const folder = temporaryFolder();
    const lasting = new InProcessHook();
    const { events } = open([[lasting, {}]], { folder });
    events.start();
    const gone = new InProcessHook();
    gone.before = down;
    const short = open([[gone, {}]], { folder });
    short.events.emit('backup.failed', FAILED);
    await short.events.close();
    await vi.waitFor(() => expect(lasting.names).toEqual(['backup.failed']));
    await events.close();
  });

  test('what an earlier process had to tell later is told once, also where no lock can be had', async () => {
    const folder = temporaryFolder();
    const first = new InProcessHook();
    const { events } = open([[first, {}]], { folder });
    events.emit('backup.failed', FAILED);
    events.emit('backup.finished', FINISHED);
    events.emit('backup.failed', FAILED);
    await vi.waitFor(() => expect(first.names).toEqual(['backup.failed', 'backup.finished']));
    // It is killed, and the lock cannot be read by the next one, as if it were of another user.
    const lock = join(folder, 'fake0', 'hook.lock');
    await vi.waitFor(() => mkdirSync(lock));
    const second = new InProcessHook();
    second.before = () => new Promise((resolve) => setTimeout(resolve, 50));
    const next = open([[second, { quiet: 0 }]], { folder });
    next.events.start();
    await vi.waitFor(() => expect(second.names).toEqual(['backup.failed']));
    await next.events.close();
    expect(second.tries).toBe(1);
    await events.close();
  });

  test('because the receiver refuses it is said in the log, and does not hold up the next', async () => {
    const hook = new InProcessHook();
    hook.before = ({ name }) => {
      if (name === 'backup.failed') throw new ArchiveError('HOOK_REJECTED', 'the token is not valid');
    };
    const { events, lines } = open([[hook, { retries: 3 }]]);
    events.emit('backup.failed', FAILED);
    events.emit('receive.stopped', { lsn: '0/1' });
    await events.close();
    expect(hook.names).toEqual(['receive.stopped']);
    expect(hook.tries).toBe(2);
    expect(lines).toEqual(['error: hook fake0 is not told of backup.failed: the token is not valid']);
  });

  test('because the hook itself has cancelled it is tried again', async () => {
    const hook = new InProcessHook();
    hook.before = () => {
      if (hook.tries === 1) throw new ArchiveError('ABORTED', 'it took too long');
    };
    const { events } = open([[hook, {}]]);
    events.emit('backup.failed', FAILED);
    await vi.waitFor(() => expect(hook.names).toEqual(['backup.failed']));
    await events.close();
  });

  test('for good leaves its condition untold: the next of its events is told, and no end of what nobody has heard of', async () => {
    const folder = temporaryFolder();
    const hook = new InProcessHook();
    hook.before = () => {
      throw new ArchiveError('HOOK_REJECTED', 'the token is not valid');
    };
    const night = async (work: (events: Events) => void): Promise<void> => {
      const { events } = open([[hook, { severity: 'warning' }]], { folder });
      work(events);
      await events.close();
    };
    await night((events) => events.emit('backup.failed', FAILED));
    await night((events) => events.emit('backup.finished', FINISHED));
    await night((events) => events.emit('backup.failed', FAILED));
    expect(hook.tries).toBe(2);
    hook.before = () => undefined;
    await night((events) => events.emit('backup.failed', FAILED));
    await night((events) => events.emit('backup.failed', FAILED));
    await night((events) => events.emit('backup.finished', FINISHED));
    expect(hook.names).toEqual(['backup.failed', 'backup.finished']);
  });

  test('is kept in memory where there is no folder to write, and that is said once', async () => {
    const folder = join(temporaryFolder(), 'file');
    writeFileSync(folder, '');
    const hook = new InProcessHook();
    const { events, lines } = open([[hook, {}]], { folder: join(folder, 'hooks') });
    events.emit('backup.failed', FAILED);
    events.emit('backup.finished', FINISHED);
    events.emit('receive.stopped', { lsn: '0/1' });
    await events.close();
    expect(hook.names).toEqual(['backup.failed', 'backup.finished', 'receive.stopped']);
    expect(lines).toEqual([expect.stringContaining('warn: events for hook fake0 are kept in memory only')]);
  });

  test('does not hold up the end of the process for long', async () => {
    const hook = new InProcessHook();
    let aborted = false;
    hook.before = (_, { signal }) => {
      signal.addEventListener('abort', () => (aborted = true));
      return new Promise(() => undefined);
    };
    const { events } = open([[hook, { timeout: 600_000 }]], { pace: { ...PACE, end: 30 } });
    events.emit('receive.stopped', { lsn: '0/1' });
    await events.close();
    expect(aborted).toBe(true);
    expect(hook.told).toEqual([]);
  });

  test('is no file that is not an event: it is counted, and the others are told', async () => {
    const folder = temporaryFolder();
    mkdirSync(join(folder, 'fake0'), { recursive: true });
    writeFileSync(join(folder, 'fake0', `${'0'.repeat(17)}-w-0b7e9a54-6f0c-4d0e-9d53-6a3f5c1d2e4f.json`), '');
    const hook = new InProcessHook();
    const { events } = open([[hook, {}]], { folder });
    events.emit('backup.failed', FAILED);
    await events.close();
    expect(hook.names).toEqual(['backup.failed', 'hook.dropped']);
    expect(hook.told[1]?.data).toMatchObject({ count: 1 });
  });
});

test('a hook that does not close is left, and that is said', async () => {
  const hook = new InProcessHook();
  hook.close = () => new Promise(() => undefined);
  const { events, lines } = open([[hook, {}]], { pace: { ...PACE, end: 20 } });
  await events.close();
  expect(lines).toEqual(['warn: hook fake0 does not close, and is left as it is']);
});

describe('a gate', () => {
  test('the process stays for the next try of a hook that has failed, with nothing else to do', () => {
    const program = `
      import { Events } from ${JSON.stringify(new URL('../../src/hooks/events.ts', import.meta.url).href)};
      let tries = 0;
      const hook = { handle: async () => { if (++tries < 3) throw new Error('away'); }, close: async () => {} };
      const config = ${JSON.stringify(hookConfig({ name: 'asked', policy: 'fail', retries: 2 }))};
      const logger = { debug() {}, info() {}, warn() {}, error() {} };
      const events = new Events({ cluster: 'c', hooks: [{ hook, config }], logger, pace: { retry: 1 } });
      events.gate('backup.started', { id: 'b1' }).then(() => console.log('asked', tries));`;
    const run = spawnSync(process.execPath, ['--conditions=@pgark/source', '--input-type=module', '-e', program], {
      encoding: 'utf8',
    });
    expect(run).toMatchObject({ status: 0, stdout: 'asked 3\n' });
  });

  test('waits for the hooks with the policy "fail" alone, and is closed by one that fails', async () => {
    const [asked, other, unasked] = [new InProcessHook(), new InProcessHook(), new InProcessHook()];
    const { events } = open([
      [asked, { policy: 'fail', retries: 2 }],
      [other, {}],
      [unasked, { policy: 'fail', events: ['backup.failed'] }],
    ]);
    await events.gate('backup.started', { id: 'b1' });
    expect(asked.names).toEqual(['backup.started']);
    for (const hook of [asked, other, unasked]) hook.before = down;
    await expect(events.gate('backup.started', { id: 'b2' })).rejects.toMatchObject({ code: 'HOOK_FAILED' });
    expect(asked.tries).toBe(4);
    expect(unasked.tries).toBe(0);
    await events.close();
  });

  test('that was refused is refused at once, with the words of the hook', async () => {
    const hook = new InProcessHook();
    hook.before = () => {
      throw new ArchiveError('HOOK_REJECTED', 'no backups on Fridays');
    };
    const { events } = open([[hook, { policy: 'fail', retries: 5 }]]);
    await expect(events.gate('backup.started', { id: 'b1' })).rejects.toMatchObject({
      message: 'no backups on Fridays',
    });
    expect(hook.tries).toBe(1);
    await events.close();
  });

  test('whose hook has cancelled by itself is a failure of the hook, not cancelled work', async () => {
    const hook = new InProcessHook();
    hook.before = () => {
      throw new ArchiveError('ABORTED', 'it took too long');
    };
    const { events } = open([[hook, { policy: 'fail', retries: 1 }]]);
    await expect(events.gate('backup.started', { id: 'b1' })).rejects.toMatchObject({ code: 'HOOK_FAILED' });
    expect(hook.tries).toBe(2);
    await events.close();
  });

  test('ends with the signal', async () => {
    const hook = new InProcessHook();
    hook.before = () => new Promise(() => undefined);
    const abort = new AbortController();
    const { events } = open([[hook, { policy: 'fail', timeout: 600_000 }]], { signal: abort.signal });
    const asked = events.gate('backup.started', { id: 'b1' });
    abort.abort();
    await expect(asked).rejects.toMatchObject({ code: 'ABORTED' });
    const own = new AbortController();
    const again = events.gate('backup.started', { id: 'b2' }, { signal: own.signal });
    own.abort();
    await expect(again).rejects.toMatchObject({ code: 'ABORTED' });
    await events.close();
  });

  test('keeps a process that has nothing else to do alive until its last try', () => {
    const module = new URL('../../src/hooks/events.ts', import.meta.url).href;
    const config = JSON.stringify(hookConfig({ policy: 'fail', retries: 1 }));
    const script = `
      import { Events } from ${JSON.stringify(module)};
      const nothing = () => undefined;
      let tries = 0;
      const hook = { handle: async () => { if (tries++ === 0) throw new Error('down'); }, close: async () => undefined };
      const logger = { debug: nothing, info: nothing, warn: nothing, error: nothing };
      const events = new Events({ cluster: 'c', hooks: [{ config: ${config}, hook }], logger });
      await events.gate('expire.planned', { repository: 'primary', backups: [], bytes: 0 });
      process.stdout.write('asked ' + tries);
    `;
    const ended = spawnSync(process.execPath, ['--input-type=module', '--eval', script], { encoding: 'utf8' });
    expect(ended).toMatchObject({ status: 0, stdout: 'asked 2' });
  });
});

test.each<[string, (events: Events) => void]>([
  ['one of a condition', (events) => events.emit('backup.failed', FAILED)],
  ['another one', (events) => events.emit('restore.finished', { backup: 'b1', directory: '/data' })],
  ['one that is not kept', (events) => events.emit('wal.shipped', { file: 'f', bytes: 1 })],
])(
  'H-26 the folders of the spool that are made for %s hide nothing from a recovery of another user',
  async (_, emit) => {
    const spool = join(temporaryFolder(), 'spool', 'main');
    const { events } = open([[new InProcessHook(), { name: 'own' }]], { folder: join(spool, 'hooks') });
    emit(events);
    await events.close();
    const mode = (path: string): number => statSync(path).mode & 0o777;
    expect([dirname(spool), spool, join(spool, 'hooks')].map(mode)).toEqual([0o755, 0o755, 0o755]);
    expect(mode(join(spool, 'hooks', 'own'))).toBe(0o700);
  },
);

describe('one outage', () => {
  test('is one message, and its end another, over any number of processes', async () => {
    const folder = temporaryFolder();
    const hook = new InProcessHook();
    const night = async (work: (events: Events) => void): Promise<void> => {
      const { events } = open([[hook, { severity: 'warning' }]], { folder });
      work(events);
      await events.close();
    };
    for (let round = 0; round < 3; round += 1) await night((events) => events.emit('backup.failed', FAILED));
    expect(hook.names).toEqual(['backup.failed']);
    await night((events) => expect(events.hasTold('backup.failed', FAILED)).toBe(true));
    await night((events) => events.emit('backup.finished', FINISHED));
    await night((events) => expect(events.hasTold('backup.failed', FAILED)).toBe(false));
    expect(hook.names).toEqual(['backup.failed', 'backup.finished']);
    expect(hook.told[1]).toMatchObject({ condition: { key: 'backup', state: 'closed', repeated: 2 } });
    expect(hook.told[1]?.summary).toContain('(2 more since the last message)');
    await night((events) => events.emit('backup.finished', FINISHED));
    expect(hook.tries).toBe(2);
  });

  test('that comes and goes within the quiet time is told once, and what is left of it at the end of the process', async () => {
    const hook = new InProcessHook();
    const { events } = open([[hook, { severity: 'warning' }]], { folder: temporaryFolder() });
    events.start();
    const flap = { host: 'db1', timeline: 1, lsn: '0/1' };
    const cut = { code: 'SERVER_UNREACHABLE', message: 'connection refused' };
    for (let round = 0; round < 20; round += 1) {
      events.emit('receive.disconnected', cut);
      events.emit('receive.connected', flap);
    }
    events.emit('receive.disconnected', cut);
    await vi.waitFor(() => expect(hook.names).toEqual(['receive.disconnected', 'receive.connected']));
    await events.close();
    expect(hook.names).toEqual(['receive.disconnected', 'receive.connected', 'receive.disconnected']);
  });
});
