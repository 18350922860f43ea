import { describe, expect, test } from 'vitest';
import { parseDuration, parseSize } from '../../src/config/units.ts';

describe('units', () => {
  test.each([
    ['250ms', 250],
    ['10s', 10_000],
    ['5m', 300_000],
    ['1h30m', 5_400_000],
    ['1.5h', 5_400_000],
    ['14d', 1_209_600_000],
    ['2w', 1_209_600_000],
    ['0s', 0],
  ])('duration %s', (text, milliseconds) => expect(parseDuration(text)).toBe(milliseconds));

  test.each([
    ['4096', 4096],
    ['512B', 512],
    ['1kB', 1000],
    ['1KB', 1000],
    ['1KiB', 1024],
    ['256MiB', 268_435_456],
    ['1 GB', 1e9],
    ['1.5GiB', 1_610_612_736],
    ['2TB', 2e12],
  ])('size %s', (text, bytes) => expect(parseSize(text)).toBe(bytes));

  test.each(['', '10', 's', '10 s', '-5s', '5min', '1e3s', '10s ', '5M'])('"%s" is no duration', (text) =>
    expect(() => parseDuration(text)).toThrow(`not a duration: "${text}"`),
  );
  test.each(['', 'MiB', '-1', '1XB', '1 kb', '1MiB ', '0x10', 'NaN'])('"%s" is no size', (text) =>
    expect(() => parseSize(text)).toThrow(`not a size: "${text}"`),
  );
});
