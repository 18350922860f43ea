import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { systemClock } from '../../src/schedule/clock.ts';

beforeEach(() => void vi.useFakeTimers({ now: Date.parse('2027-03-01T12:00:00Z') }));
afterEach(() => void vi.useRealTimers());

test('a wait lasts until its time, and ends soon after the clock was put back', async () => {
  let isOver = false;
  const never = new AbortController().signal;
  const wait = (time: string): void => {
    isOver = false;
    void systemClock.sleepUntil(Date.parse(time), never).then(() => (isOver = true));
  };
  wait('2027-03-01T12:05:00Z');
  await vi.advanceTimersByTimeAsync(299_000);
  expect(isOver).toBe(false);
  await vi.advanceTimersByTimeAsync(1000);
  expect(isOver).toBe(true);

  wait('2027-03-02T03:00:00Z');
  vi.setSystemTime(Date.parse('2026-03-01T12:00:00Z'));
  await vi.advanceTimersByTimeAsync(20_000);
  expect(isOver).toBe(true);
});
