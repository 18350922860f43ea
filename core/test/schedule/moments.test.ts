import { Random } from '@pgark/sdk/testing';
import { describe, expect, test } from 'vitest';
import { Moments } from '../../src/schedule/moments.ts';

const at = (text: string): number => Date.parse(text);
const iso = (time: number | undefined): string | undefined =>
  time === undefined ? undefined : new Date(time).toISOString();

function moments(expression: string, timeZone = 'UTC', more: { jitter?: number; window?: number } = {}): Moments {
  return new Moments({ name: 'nightly', at: expression, timeZone, jitter: 0, ...more }, 'main');
}

function from(start: string, of: Moments, count: number): readonly (string | undefined)[] {
  const found: (string | undefined)[] = [];
  for (let time: number | undefined = at(start); found.length < count && time !== undefined;) {
    time = of.next(time);
    found.push(iso(time));
  }
  return found;
}

const EXPRESSIONS = [
  '30 2 * * *',
  '0 1,2,3 * * *',
  '*/20 * * * *',
  '17 * * * *',
  '0 */3 * * *',
  '45 23 * * 6',
  '0 2 1 * *',
  '@daily',
  '*/7 10 2 * * *',
];
const ZONES = ['UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'America/Santiago', 'Asia/Kathmandu'];

describe('moments of a job', () => {
  test('a time that daylight saving leaves out comes an hour later, one that it gives twice comes once', () => {
    const nightly = moments('30 2 * * *', 'Europe/Berlin');
    expect(from('2026-03-28T12:00:00Z', nightly, 2)).toEqual(['2026-03-29T01:00:00.000Z', '2026-03-30T00:30:00.000Z']);
    expect(from('2026-10-24T12:00:00Z', nightly, 2)).toEqual(['2026-10-25T00:30:00.000Z', '2026-10-26T01:30:00.000Z']);
  });

  test('what is due every half an hour stays so when the clock is put back or forward', () => {
    const often = moments('*/30 * * * *', 'Europe/Berlin');
    for (const start of ['2026-10-24T22:00:00Z', '2026-03-28T22:00:00Z']) {
      const found = from(start, often, 12).map((time) => at(time ?? ''));
      expect(found.slice(1).map((time, index) => time - (found[index] ?? 0))).toEqual(Array(11).fill(1_800_000));
    }
  });

  test('the jitter of a moment is always the same, less than was asked for, and never reaches the next moment', () => {
    const daily = moments('0 3 * * *', 'UTC', { jitter: 3_600_000 });
    const moment = at('2026-05-01T03:00:00Z');
    const begin = daily.begin(moment);
    expect(moments('0 3 * * *', 'UTC', { jitter: 3_600_000 }).begin(moment)).toBe(begin);
    expect(begin).toBeGreaterThanOrEqual(moment);
    expect(begin).toBeLessThan(moment + 3_600_000);
    const begins = new Set(Array.from({ length: 50 }, (_, day) => daily.begin(moment + day * 86_400_000) % 86_400_000));
    expect(begins.size).toBeGreaterThan(45);
    const often = moments('* * * * *', 'UTC', { jitter: 86_400_000 });
    for (let minute = moment; minute < moment + 3_600_000; minute += 60_000)
      expect(often.begin(minute)).toBeLessThan(minute + 60_000);
  });

  test('another cluster has another jitter', () => {
    const job = { name: 'nightly', at: '0 3 * * *', timeZone: 'UTC', jitter: 3_600_000 };
    const moment = at('2026-05-01T03:00:00Z');
    const begins = Array.from({ length: 20 }, (_, number) => new Moments(job, `cluster${number}`).begin(moment));
    expect(new Set(begins).size).toBe(20);
  });

  test('a run may begin within its window, without one until it is due again', () => {
    const moment = at('2026-05-01T03:00:00Z');
    expect(moments('0 3 * * *', 'UTC', { window: 7_200_000 }).deadline(moment)).toBe(moment + 7_200_000);
    expect(moments('0 3 * * *').deadline(moment)).toBe(moment + 86_400_000 - 1);
  });

  test('an expression that is never due again says so', () => {
    const once = moments('0 0 3 1 1 * 2026');
    expect(once.next(at('2026-02-01T00:00:00Z'))).toBeUndefined();
    expect(iso(once.last(at('2026-02-01T00:00:00Z')))).toBe('2026-01-01T03:00:00.000Z');
    expect(once.nextBegin(at('2026-02-01T00:00:00Z'))).toBeUndefined();
  });

  test('forward and back give the same moments, wherever one begins, over changes of the clock', () => {
    const seed = Number(process.env['PGARK_SEED'] ?? Math.floor(Math.random() * 1e9));
    const random = new Random(seed);
    for (let round = 0; round < (process.env['PGARK_TEST_FULL'] === '1' ? 500 : 12); round++) {
      const expression = random.pick(EXPRESSIONS);
      const zone = random.pick(ZONES);
      const of = moments(expression, zone, { jitter: random.integer(2) * 1_800_000 });
      const start = Date.UTC(2026, random.pick([2, 3, 9, 10]), 1 + random.integer(27));
      const what = `seed ${seed}, "${expression}" in ${zone} from ${iso(start)}`;
      const list: number[] = [];
      for (let time = of.next(start); time !== undefined && time < start + 6 * 86_400_000; time = of.next(time)) {
        expect(time, what).toBeGreaterThan(list.at(-1) ?? start);
        list.push(time);
      }
      for (let look = 0; look < 10; look++) {
        const time = start + random.integer(5 * 86_400_000);
        const [after, before] = [list.find((one) => one > time), list.findLast((one) => one <= time)];
        if (after !== undefined) expect(iso(of.next(time)), `${what}, after ${iso(time)}`).toBe(iso(after));
        if (before !== undefined) expect(iso(of.last(time)), `${what}, before ${iso(time)}`).toBe(iso(before));
        const due = list.findLast((one) => of.begin(one) <= time);
        if (due !== undefined) expect(iso(of.lastDue(time)), `${what}, due ${iso(time)}`).toBe(iso(due));
      }
    }
  });
});
