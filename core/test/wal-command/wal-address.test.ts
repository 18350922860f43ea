import fc from 'fast-check';
import { expect, test } from 'vitest';
import { missingText, parseServerUrl, parseWalTarget, walPath } from '../../src/wal-command/wal-address.ts';
import { SYSTEM_ID } from './segments.ts';

const NAMES = [
  '000000010000000A000000FE',
  '00000002.history',
  '000000010000000A000000FE.00000028.backup',
  '000000010000000A000000FE.partial',
];

test('every kind of WAL file has an address, which names it and nothing else', () => {
  for (const name of NAMES)
    expect(parseWalTarget(`/v1/main-1${walPath(SYSTEM_ID, name)}`)).toMatchObject({
      cluster: 'main-1',
      systemId: SYSTEM_ID,
      file: { name },
    });
});

test('H-27 nothing that is not letter by letter an address is one', () => {
  const [name = ''] = NAMES;
  const good = `/v1/main/${SYSTEM_ID}/wal/${name}`;
  expect(parseWalTarget(good)).toBeDefined();
  for (const bad of [
    '',
    '/',
    '*',
    `${good}/`,
    `/${good}`,
    `${good}?x`,
    `${good}#x`,
    `${good}\n`,
    `${good}\0`,
    `${good}%00`,
    good.toLowerCase(),
    good.replace('/v1', ''),
    good.replace('v1', 'v2'),
    good.replace('main', '..'),
    good.replace('main', '.main'),
    good.replace('main', 'main/..'),
    good.replace('main', '%2e%2e'),
    good.replace('main', 'm%61in'),
    good.replace('main', 'a'.repeat(64)),
    good.replace(SYSTEM_ID, `${SYSTEM_ID}0000`),
    good.replace(SYSTEM_ID, '-1'),
    good.replace('/wal/', '//wal/'),
    good.replace('/wal/', '/backups/'),
    good.replace('/wal/', '\\wal\\'),
    good.replace(name, `..%2f${name}`),
    good.replace(name, `../${name}`),
    good.replace(name, name.slice(1)),
    good.replace(name, `${name}0`),
    good.replace(name, `${name}.gz`),
    good.replace(name, '000000000000000A000000FE'),
    good.replace(name, 'pgark.json'),
    `http://127.0.0.1${good}`,
  ])
    expect(parseWalTarget(bad), bad).toBeUndefined();
});

test('H-27 whatever is changed in an address, it names the same WAL file, another one, or none', () => {
  const piece = fc.oneof(
    fc.constantFrom(
      '/',
      '..',
      '%2f',
      '%2e%2e%2f',
      '%252e',
      '\\',
      '\0',
      '%00',
      ';',
      '?',
      '#',
      ' ',
      '\r\n',
      'wal',
      '\u{ff0e}',
    ),
    fc.string({ unit: 'binary', maxLength: 5 }),
    fc.string({ unit: fc.constantFrom(...'0123456789ABCDEF./%'.split('')), maxLength: 30 }),
  );
  fc.assert(
    fc.property(fc.constantFrom(...NAMES), piece, fc.nat(), fc.nat({ max: 6 }), (name, inserted, where, removed) => {
      const good = `/v1/main/${SYSTEM_ID}/wal/${name}`;
      const at = where % (good.length + 1);
      const changed = good.slice(0, at) + inserted + good.slice(at + removed);
      const found = parseWalTarget(changed);
      if (found === undefined) return;
      expect(`/v1/${found.cluster}/${found.systemId}/wal/${found.file.name}`).toBe(changed);
      expect(found.cluster).toMatch(/^[A-Za-z0-9][A-Za-z0-9._-]*$/);
      expect(found.file.name).toMatch(/^[0-9A-F]{8}(?:[0-9A-F]{16}(?:\.partial|\.[0-9A-F]{8}\.backup)?|\.history)$/);
    }),
    { numRuns: 3000 },
  );
});

test('the address of a server names its cluster; one with secrets, or without encryption over a network, is refused', () => {
  expect(parseServerUrl('https://archive:8732/v1/main')).toMatchObject({ cluster: 'main' });
  expect(parseServerUrl('https://proxy/pgark/v1/db_1.x/')).toMatchObject({ cluster: 'db_1.x' });
  expect(parseServerUrl('https://proxy/pgark/v1/main/').url.href).toBe('https://proxy/pgark/v1/main');
  for (const local of ['127.0.0.1', 'localhost', '[::1]'])
    expect(parseServerUrl(`http://${local}:8732/v1/main`)).toMatchObject({ cluster: 'main' });
  for (const bad of [
    'archive:8732',
    'ftp://archive/v1/main',
    'https://archive',
    'https://archive/v1/',
    'https://archive/v1/main?token=x',
    'https://archive/v1/main#x',
    'https://me:secret@archive/v1/main',
    'http://archive/v1/main',
    'http://127.0.0.1.example.com/v1/main',
  ])
    expect(() => parseServerUrl(bad), bad).toThrow(expect.objectContaining({ code: 'USAGE' }));
  expect(() => parseServerUrl('https://me:secret@archive/v1/main')).not.toThrow(/secret@/);
});

test('"there is none" names what was asked for', () => {
  expect(missingText('main', '7', '00000002.history')).toBe('pgark: no such WAL file: main/7/00000002.history');
});
