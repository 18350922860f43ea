import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isArchiveError } from '../../src/contracts/errors.ts';
import { parseConninfo } from '../../src/postgres/conninfo.ts';

const read = (text: string): Record<string, string> => Object.fromEntries(parseConninfo(text));

function refusal(text: string): { message: string; hint: string } {
  try {
    parseConninfo(text);
  } catch (error) {
    if (isArchiveError(error, 'CONFIG_INVALID')) return error;
    throw error;
  }
  throw new Error(`accepted: ${text}`);
}

describe('a connection URI', () => {
  // The cases of PostgreSQL's own src/interfaces/libpq/t/001_uri.pl that concern these parameters.
  test.each([
    [
      'postgresql://uri-user:secret@host:12345/db',
      { user: 'uri-user', password: 'secret', host: 'host', port: '12345', dbname: 'db' },
    ],
    ['postgresql://uri-user@host/db', { user: 'uri-user', host: 'host', dbname: 'db' }],
    ['postgres://host:12345/', { host: 'host', port: '12345' }],
    ['postgresql://', {}],
    ['postgresql:///db', { dbname: 'db' }],
    ['postgresql:///db?user=uri-user', { dbname: 'db', user: 'uri-user' }],
    ['postgresql://?host=/path/to/socket&port=1', { host: '/path/to/socket', port: '1' }],
    ['postgresql://%2Fvar%2Flib%2Fpostgresql/dbname', { host: '/var/lib/postgresql', dbname: 'dbname' }],
    ['postgresql://host1:123,host2,%2Ftmp:5/db', { host: 'host1,host2,/tmp', port: '123,,5', dbname: 'db' }],
    ['postgresql://[::1]/db', { host: '::1', dbname: 'db' }],
    ['postgresql://user@[2001:db8::1234]:5433,host/', { user: 'user', host: '2001:db8::1234,host', port: '5433,' }],
    [
      'postgresql://a%40b:p%3Aa%2Fs%25@host?application_name=x%20y',
      { user: 'a@b', password: 'p:a/s%', host: 'host', application_name: 'x y' },
    ],
    ['postgresql://host?ssl=true', { host: 'host', sslmode: 'require' }],
    [
      'postgresql://host/db?sslmode=verify-full&target_session_attrs=primary',
      { host: 'host', dbname: 'db', sslmode: 'verify-full', target_session_attrs: 'primary' },
    ],
    ['postgresql://user:pa:ss@host', { user: 'user', password: 'pa:ss', host: 'host' }],
  ])('%s', (uri, expected) => {
    expect(read(uri)).toEqual(expected);
  });

  test.each([
    ['postgresql://host/?uzer=', 'uzer', 'user'],
    ['postgresql://host/?sslmod=require', 'sslmod', 'sslmode'],
    ['host=a target_session_atts=any', 'target_session_atts', 'target_session_attrs'],
  ])('%s names the nearest known parameter', (text, name, nearest) => {
    expect(refusal(text)).toMatchObject({
      message: expect.stringContaining(`"${name}"`),
      hint: expect.stringContaining(`"${nearest}"`),
    });
  });

  test.each([
    'postgres://host/?sslmode',
    'postgres://host/?user=a=b',
    'postgres://user:se%zzcret@host/',
    'postgres://user:se%00cret@host/',
    'postgres://user:secret@host/%ff',
    'postgres://[::1',
    'postgres://::1/db',
    'postgres://host/db?user=a?port=1',
    'user:secret@host',
    "host=a password='secret",
    'host=a secret',
  ])('%s is refused without quoting it', (text) => {
    const { message, hint } = refusal(text);
    expect(`${message} ${hint}`).not.toContain('cret');
  });
});

describe('a key=value string', () => {
  test.each([
    ['', {}],
    ['host=localhost port = 5432\tdbname= mydb', { host: 'localhost', port: '5432', dbname: 'mydb' }],
    [`password='it\\'s \\\\ here' user=''`, { password: `it's \\ here`, user: '' }],
    ['password=a\\ b\\\\c user=x', { password: 'a b\\c', user: 'x' }],
    [`dbname=o'clock`, { dbname: `o'clock` }],
    ['user=first user=second', { user: 'second' }],
  ])('%s', (text, expected) => {
    expect(read(text)).toEqual(expected);
  });

  test('any password survives quoting', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (password) => {
        const quoted = password.replaceAll('\\', '\\\\').replaceAll("'", "\\'");
        expect(read(`user=a password='${quoted}' host=b`)).toEqual({ user: 'a', password, host: 'b' });
      }),
    );
  });

  test('any password survives percent-encoding', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), (password) => {
        fc.pre(!password.includes('\0'));
        expect(read(`postgres://a:${encodeURIComponent(password)}@b/`)).toEqual({ user: 'a', password, host: 'b' });
      }),
    );
  });
});
