import { expect, test } from 'vitest';
import { hideUserInfo } from '../../src/config/hide-user-info.ts';

test.each([
  ['https://ghp_0123456789@github.example/x', 'https://[redacted]@github.example/x'],
  ['https://user:hunter2@host/', 'https://[redacted]@host/'],
  ['https://:hunter2@host/', 'https://[redacted]@host/'],
  ['HTTPS://hunter2@host/', 'HTTPS://[redacted]@host/'],
  ['amqp://hunter2@host/', 'amqp://[redacted]@host/'],
  ['postgres://pgark:hunter2@db1,db2/x?sslmode=require', 'postgres://pgark:[redacted]@db1,db2/x?sslmode=require'],
  ['postgres://pgark:hun@ter2@db/x', 'postgres://pgark:[redacted]@db/x'],
  ['postgres://pgark:hun/ter@2#?@db/x', 'postgres://pgark:[redacted]@db/x'],
  ['sftp://backup:hunter2@host', 'sftp://backup:[redacted]@host'],
  ['curl -T - https://hunter2@one/ http://a:hunter2@two/', 'curl -T - https://[redacted]@one/ http://[redacted]@two/'],
])('H-64 what may be a secret in a URL is hidden: %s', (text, shown) => {
  expect(hideUserInfo(text)).toBe(shown);
});

test.each([
  'postgres://pgark@db1,db2/postgres?application_name=a@b',
  'sftp://backup@host:22/folder',
  'https://host:8733/path@2x?mail=a@b',
  'http://[::1]:8733/',
  'mail ada@example.org, see https://host/',
  's3://bucket/a@b',
])('what is no secret stays: %s', (text) => {
  expect(hideUserInfo(text)).toBe(text);
});

test('a text of any length is looked through once', () => {
  const long = 'a://a:'.repeat(100_000);
  expect(hideUserInfo(long)).toBe(long);
  expect(hideUserInfo(`@${long}`)).toBe(`@${long}`);
  expect(hideUserInfo(`${long}@host`)).toBe('a://[redacted]@host');
}, 2000);
