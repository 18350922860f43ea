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

test('a wait of so many milliseconds is that long, whatever is done to the clock, and ends with its signal', async () => {
  let isOver = false;
  const cancel = new AbortController();
  void systemClock.sleep(3_600_000, cancel.signal).then(() => (isOver = true));
  vi.setSystemTime(Date.parse('2028-03-01T12:00:00Z'));
  await vi.advanceTimersByTimeAsync(3_599_000);
  expect(isOver).toBe(false);
  vi.setSystemTime(Date.parse('2026-03-01T12:00:00Z'));
  await vi.advanceTimersByTimeAsync(1000);
  expect(isOver).toBe(true);

  isOver = false;
  // Longer than a timer of Node can be.
  void systemClock.sleep(30 * 86_400_000, cancel.signal).then(() => (isOver = true));
  await vi.advanceTimersByTimeAsync(29 * 86_400_000);
  expect(isOver).toBe(false);
  cancel.abort();
  await vi.advanceTimersByTimeAsync(0);
  expect(isOver).toBe(true);
});
