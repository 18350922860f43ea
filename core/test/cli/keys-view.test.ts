import { PassThrough } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { writingCodecs, type RepositoryKeys } from '../../src/archive/keys.ts';
import { keysJson, printKeys } from '../../src/cli/keys-view.ts';
import { Output } from '../../src/cli/output.ts';
import type { RepositoryConfig } from '../../src/config/config.ts';
import { ArchiveError } from '../../src/contracts/errors.ts';
import type { KeyRow } from '../../src/keys/survey.ts';
import { LateCodec } from '../../src/repository/late-parts.ts';
import { keyed } from '../keys/keyed.ts';

const section = (...uses: readonly string[]): Pick<RepositoryConfig, 'codecs'> => ({
  codecs: uses.map((use) => ({ use, options: {}, path: '', texts: [] })),
});

function printed(shown: RepositoryKeys, all = false): string {
  const stdout = new PassThrough();
  printKeys(new Output({ json: false, streams: { stdout, stderr: new PassThrough() } }), shown, all);
  return String(stdout.read());
}

const head = { repository: 'near', readOnly: false };
const error = new ArchiveError('SECRET_UNAVAILABLE', 'the key file is not there');

describe('what new objects are written for', () => {
  const said = (writes: RepositoryKeys['writes'], readOnly = false): string =>
    printed({ ...head, readOnly, writes, state: 'empty' }).split('\n')[0] ?? '';

  test('keys, no keys, no codec, no key to write for', () => {
    expect(said(writingCodecs({ codecs: [keyed({ for: ['k1', 'k2'] })] }, section('key')))).toBe(
      'repository near: new objects are written as .key, for k1, k2',
    );
    expect(said([{ id: 'zstd', suffix: 'zst', available: true }])).toContain('as .zst, without keys');
    expect(said(writingCodecs({ codecs: [] }, section()))).toContain('without compression or encryption');
    expect(said(writingCodecs({ codecs: [keyed()] }, section('key')))).toContain('but there is no key to write for');
    expect(said([], true)).toBe('repository near: is only read');
  });

  test('H-62 a codec that could not be made is never shown as none', () => {
    const late = new LateCodec({ id: 'age', suffix: 'age', error, make: () => Promise.reject(error) });
    expect(said(writingCodecs({ codecs: [late] }, section('age')))).toContain(
      'nothing is written, as codecs cannot be had here: age',
    );
    expect(said(writingCodecs({ codecs: [] }, section('zstd', 'gone')))).toContain('cannot be had here: zstd, gone');
  });
});

test('a table says what is readable, what not and why, and what was not looked at', () => {
  const row = { systemId: '1', kind: 'segment', timeline: 1, suffixes: ['zst', 'age'], first: 'A', last: 'B' } as const;
  const layer = { suffix: 'age', keyIds: [], unknown: 2, readable: false };
  const rows: readonly KeyRow[] = [
    {
      ...row,
      kind: 'backup',
      recorded: ['age1me'],
      layers: [{ ...layer, keyIds: ['age1me'], unknown: 0 }],
      readable: true,
      lookedAt: 1,
      of: 5,
    },
    { ...row, layers: [layer], readable: false, lookedAt: 8, of: 100 },
    { ...row, kind: 'slice', layers: [], readable: undefined, problem: error, lookedAt: 1, of: 1 },
  ];
  const survey = { rows, objects: 106, lookedAt: 10 };
  const shown: RepositoryKeys = {
    ...head,
    writes: [],
    state: 'unreadable',
    survey,
    used: [{ suffix: 'age', id: 'age' }],
  };
  const text = printed(shown);
  expect(text).toMatch(/^backup +1 +A +B +\.zst\.age +age1me +yes +1 of 5$/m);
  expect(text).toMatch(/^segment +1 +A +B +\.zst\.age +2 not named +no +8 of 100$/m);
  expect(text).toMatch(/^slice +1 +A +B +\.zst\.age +- +unknown +1 of 1$/m);
  expect(text).toContain('segment A: written for 2 keys that the header does not name, which no key at hand opens\n');
  expect(text).toContain('slice A: SECRET_UNAVAILABLE: the key file is not there\n');
  expect(text).toContain('looked at 10 of 106 objects: one of each backup');
  expect(printed({ ...shown, survey: { ...survey, objects: 10 } })).toMatch(/looked at 10 of 10 objects\n$/);
  expect(keysJson([shown])).toMatchObject({
    repositories: [
      {
        state: 'unreadable',
        lookedAt: 10,
        keys: [
          { readable: 'yes' },
          { readable: 'no' },
          { readable: 'unknown', problem: { code: 'SECRET_UNAVAILABLE' } },
        ],
      },
    ],
  });
});

test('a repository that could not be asked says so, and shows nothing as none', () => {
  const shown: RepositoryKeys = { ...head, writes: [{ id: 'gone', available: false }], state: 'failed', error };
  expect(printed(shown)).toContain('could not be asked: SECRET_UNAVAILABLE: the key file is not there');
  expect(keysJson([shown])).toMatchObject({
    repositories: [{ state: 'failed', error: { code: 'SECRET_UNAVAILABLE' } }],
  });
});
