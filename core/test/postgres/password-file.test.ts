import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findPassword, matchPassword, passwordFileProblem } from '../../src/postgres/password-file.ts';

const query = { host: 'db1', port: 5432, database: 'replication', user: 'pgark' };

describe('lines of a password file', () => {
  test.each([
    ['db1:5432:replication:pgark:secret', 'secret'],
    ['*:*:*:*:any', 'any'],
    ['db1:5432:app:pgark:other\ndb1:5432:replication:pgark:mine', 'mine'],
    ['db1:*:*:*:first\ndb1:5432:replication:pgark:second', 'first'],
    ['# db1:5432:replication:pgark:comment\n\n*:*:*:pgark:yes\r\n', 'yes'],
    ['*:*:*:*:a\\:b\\\\c', 'a:b\\c'],
    ['*:*:*:*:a:ignored', 'a'],
    ['db1:5432:replication:pgark', undefined],
    ['\\*:5432:replication:pgark:no', undefined],
    ['db1:5433:replication:pgark:no', undefined],
    ['', undefined],
  ])('%j gives %s', (text, password) => {
    expect(matchPassword(text, query)).toBe(password);
  });

  test('an escaped colon belongs to the host', () => {
    expect(matchPassword('\\:\\:1:5432:*:*:v6', { ...query, host: '::1' })).toBe('v6');
  });
});

describe('the password file', () => {
  let folder = '';
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'pgark-passfile-'));
  });
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  test('is read as a secret when only its owner may read it', async () => {
    const path = join(folder, 'good');
    writeFileSync(path, '*:*:*:*:secret\n', { mode: 0o600 });
    const password = await findPassword(path, query);
    expect(password?.reveal()).toBe('secret');
    expect(String(password)).toBe('[redacted]');
    expect(await passwordFileProblem(path)).toBeUndefined();
  });

  test.each([0o640, 0o604, 0o666])('is ignored with a reason at mode %o', async (mode) => {
    const path = join(folder, `mode-${mode}`);
    writeFileSync(path, '*:*:*:*:secret\n');
    chmodSync(path, mode);
    expect(await findPassword(path, query)).toBeUndefined();
    expect(await passwordFileProblem(path)).toContain('0600');
  });

  test('may be missing, and is ignored when it is a folder', async () => {
    expect(await findPassword(join(folder, 'none'), query)).toBeUndefined();
    expect(await passwordFileProblem(join(folder, 'none'))).toBeUndefined();
    expect(await passwordFileProblem(folder)).toContain('not a plain file');
  });
});
