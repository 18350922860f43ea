import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { ArchiveError, type ErrorCode } from '../../src/contracts/errors.ts';
import type { PartReport } from '../../src/daemon/daemon.ts';
import { PACE } from '../../src/daemon/pace.ts';
import { Part, type PartRun } from '../../src/daemon/part.ts';
import { later } from '../../../test/support/later.ts';
import { until } from '../../../test/support/until.ts';

const QUICK = { ...PACE, restart: { first: 5, most: 20 }, slowRestart: { first: 3_600_000, most: 3_600_000 } };

function partOf(run: (run: PartRun) => Promise<void>): {
  readonly part: Part;
  readonly reports: PartReport[];
  readonly errors: string[];
} {
  const reports: PartReport[] = [];
  const errors: string[] = [];
  const nothing = (): void => undefined;
  const logger = {
    debug: nothing,
    info: nothing,
    warn: nothing,
    error: (_: object, text: string) => void errors.push(text),
  };
  const part = new Part({ name: 'receiver', run, onReport: (report) => reports.push(report), logger, pace: QUICK });
  later(part, (one) => one.stop(60_000));
  part.begin();
  return { part, reports, errors };
}

async function untilAborted({ signal, running }: PartRun): Promise<void> {
  running();
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
}

test('what fails begins again, and the same failure is said once; its error stays on record', async () => {
  let tries = 0;
  const { part, errors } = partOf(async (run) => {
    if ((tries += 1) < 5) throw new ArchiveError('SPOOL_UNAVAILABLE', 'no disk');
    await untilAborted(run);
  });
  await until('it runs', () => part.report.state === 'running');
  expect(part.report).toMatchObject({ restarts: 4, error: { code: 'SPOOL_UNAVAILABLE' } });
  expect(errors).toHaveLength(1);
  expect(errors[0]).toMatch(/^the receiver has failed, and begins again in \d+ s: no disk$/);
  await part.stop(60_000);
  expect(part.report.state).toBe('stopped');
});

test.each<[string, () => Promise<void>, ErrorCode]>([
  ['an end that nobody has asked for', () => Promise.resolve(), 'INTERNAL'],
  ['an error of another kind', () => Promise.reject(new TypeError('a fault')), 'INTERNAL'],
  ['a cancel that nobody has asked for', () => Promise.reject(new ArchiveError('ABORTED', 'why?')), 'ABORTED'],
])('%s is a failure', async (_, run, code) => {
  const { part } = partOf(run);
  await until('it has begun again', () => part.report.restarts > 1);
  expect(part.report.error?.code).toBe(code);
});

test('what only somebody can mend is tried slowly, and at once when it is asked for', async () => {
  let mended = false;
  let tries = 0;
  const { part, reports } = partOf(async (run) => {
    tries += 1;
    if (!mended) throw new ArchiveError('SYSTEM_MISMATCH', 'another cluster');
    await untilAborted(run);
  });
  await until('it has failed', () => part.report.state === 'failed');
  expect((part.report.nextTry ?? 0) - Date.now()).toBeGreaterThan(1_000_000);
  await sleep(50); // many times the pause of an ordinary failure
  expect(tries).toBe(1);
  mended = true;
  part.renew();
  await until('it runs', () => part.report.state === 'running');
  expect(reports.map(({ state }) => state)).toEqual(['starting', 'failed', 'starting', 'running']);
});

test('a part that runs is begun anew when it is asked for, and a stop ends it for good', async () => {
  let begun = 0;
  const { part, errors } = partOf(async (run) => {
    begun += 1;
    await untilAborted(run);
  });
  await until('it runs', () => part.report.state === 'running');
  part.renew();
  await until('it runs anew', () => begun === 2 && part.report.state === 'running');
  await part.stop(60_000);
  part.renew();
  await sleep(20);
  expect(begun).toBe(2);
  expect(errors).toEqual([]);
});

test('a failure while it ends is said, and begins nothing', async () => {
  const { part, errors } = partOf(async (run) => {
    await untilAborted(run);
    throw new ArchiveError('SPOOL_FULL', 'the last bytes');
  });
  await until('it runs', () => part.report.state === 'running');
  await part.stop(60_000);
  expect(part.report).toMatchObject({ state: 'stopped', restarts: 0 });
  expect(errors).toEqual(['the receiver did not end in order: the last bytes']);
});

test('what does not end is left behind, and told; it begins no more', async () => {
  let end = (): void => undefined;
  const hanging = new Promise<void>((resolve) => (end = resolve));
  let begun = 0;
  const { part, errors } = partOf(async ({ running }) => {
    begun += 1;
    running();
    await hanging;
  });
  await until('it runs', () => part.report.state === 'running');
  await part.stop(20);
  expect(part.report.state).toBe('running');
  expect(errors).toEqual(['the receiver has not ended in 0.02 s, and is left behind']);
  end();
  await until('it has ended', () => part.report.state === 'stopped');
  expect(begun).toBe(1);
});
