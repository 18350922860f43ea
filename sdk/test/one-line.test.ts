import { faultOfDeliveryUrl, oneLine, Secret } from '@pgark/sdk';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

describe('oneLine', () => {
  test('line breaks, controls, halves of characters and turned text become spaces', () => {
    expect(oneLine(' one\r\ntwo\u2028three\0\u001B[31m\uD800four\u202Efive\n', 100)).toBe(
      'one two three [31m four five',
    );
    expect(oneLine('🐘 é', 100)).toBe('🐘 é');
  });

  test('it is cut between characters, and an escape is whole or not there', () => {
    expect(oneLine('abcd', 4)).toBe('abcd');
    expect(oneLine('abcde', 4)).toBe('abc…');
    expect(oneLine('🐘🐘🐘', 4)).toBe('🐘…');
    expect(oneLine('a&b', 6, (character) => (character === '&' ? '&amp;' : character))).toBe('a…');
  });

  test('any text stays within the limit and is whole', () => {
    const escape = (character: string): string => (character === '<' ? '&lt;' : character);
    const unit = fc.constantFrom('a', '<', '🐘', '\uD800', '\uDC00', '\n', ' ', '\0', 'e\u0301');
    fc.assert(
      fc.property(fc.string({ unit, maxLength: 40 }), fc.integer({ min: 1, max: 60 }), (text, limit) => {
        const line = oneLine(text, limit, escape);
        expect(line.length).toBeLessThanOrEqual(limit);
        expect(line).not.toMatch(/\p{Cs}/u);
        expect(line.replaceAll('&lt;', '')).not.toMatch(/[<&\n\0]/);
      }),
    );
  });
});

test('faultOfDeliveryUrl', () => {
  const fault = (url: string, plain = false): string | undefined => faultOfDeliveryUrl(new Secret(url), { plain });
  for (const url of ['https://a.example/x', 'http://127.0.0.1:80/x', 'http://localhost/x', 'http://[::1]:8/x']) {
    expect(fault(url), url).toBeUndefined();
  }
  for (const url of ['', 'nonsense', 'ftp://a.example', 'file:///etc/passwd', 'javascript:x']) {
    expect(fault(url, true), url).toBe('must be a URL that begins with https://');
  }
  expect(fault('http://a.example/token')).toBe('must begin with https://: whoever sees the URL can use it');
  expect(fault('http://127.0.0.1.evil.example/token')).toBeDefined();
  expect(fault('http://a.example/token', true)).toBeUndefined();
});
