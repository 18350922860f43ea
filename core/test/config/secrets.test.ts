import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import type { SecretSource } from '../../src/config/config.ts';
import { readSecret, type SecretOptions } from '../../src/config/secrets.ts';
import { isArchiveError } from '../../src/contracts/errors.ts';
import { Secret } from '../../src/contracts/secret.ts';
import { folder } from './support.ts';

async function reveal(source: SecretSource, options: Partial<SecretOptions> = {}): Promise<string> {
  return (await readSecret(source, { env: {}, directory: '/', what: 'postgres.url', ...options })).reveal();
}

const node = (script: string, ...args: string[]): SecretSource => ({
  command: [process.execPath, '-e', script, ...args],
});

describe('readSecret', () => {
  test('takes a text, a variable, a file beside the config and a command', async () => {
    const directory = folder();
    writeFileSync(join(directory, 'key'), 'from file\n\n');
    expect(await reveal(new Secret('plain'))).toBe('plain');
    expect(await reveal({ env: 'S' }, { env: { S: 'from env\n' } })).toBe('from env\n');
    expect(await reveal({ file: 'key' }, { directory })).toBe('from file\n'); // one newline, once
    expect(await reveal(node('console.log(process.argv[1] + process.cwd())', '$(id) `id` '), { directory })).toBe(
      `$(id) \`id\` ${directory}`,
    );
  });

  test('what cannot be read is SECRET_UNAVAILABLE with key and source, and nothing of the secret', async () => {
    const directory = folder();
    writeFileSync(join(directory, 'empty'), '\n');
    const cases: readonly [SecretSource, string][] = [
      [{ env: 'NOPE' }, 'postgres.url: the environment variable NOPE is not set'],
      [{ file: 'gone' }, `postgres.url: cannot read ${directory}/gone: ENOENT`],
      [{ file: 'empty' }, `postgres.url: ${directory}/empty is empty`],
      [{ command: ['/not/there'] }, 'postgres.url: the command /not/there could not be run: ENOENT'],
      [
        node('console.log("s3cret"); console.error("s3cret"); process.exit(4)', 's3cret'),
        `the command ${process.execPath} exited with 4`,
      ],
      [node(''), `the command ${process.execPath} is empty`],
    ];
    for (const [source, message] of cases) {
      const error = await reveal(source, { directory }).catch((reason: unknown) => reason);
      expect(isArchiveError(error, 'SECRET_UNAVAILABLE'), message).toBe(true);
      expect((error as Error).message).toContain(message);
      expect(inspect(error, { depth: 9 })).not.toContain('s3cret');
    }
  });

  test('a command that hangs is ended', async () => {
    const hang = node('setInterval(() => {}, 1000)');
    await expect(reveal(hang, { timeout: 200 })).rejects.toMatchObject({ code: 'SECRET_UNAVAILABLE' });
    await expect(reveal(hang, { signal: AbortSignal.timeout(200) })).rejects.toMatchObject({ code: 'ABORTED' });
  });
});

describe('Secret', () => {
  const secret = new Secret('hunter2');

  test('H-64 prints redacted in every way there is, and reveals on demand', () => {
    const printed = [
      String(secret),
      ['', secret].join(''),
      JSON.stringify({ secret }),
      inspect(secret),
      inspect({ deep: [secret] }, { depth: 9, showHidden: true }),
      inspect(new Error('x', { cause: secret })),
    ];
    for (const text of printed) {
      expect(text).toContain('[redacted]');
      expect(text).not.toContain('hunter2');
    }
    expect(Object.keys(secret)).toEqual([]);
    expect(secret.reveal()).toBe('hunter2');
  });

  test('is recognised across copies of the module', async () => {
    const script = `
      const url = ${JSON.stringify(new URL('../../src/contracts/secret.ts', import.meta.url).href)};
      const [a, b] = await Promise.all([import(url), import(url + '?copy')]);
      console.log(a.Secret !== b.Secret, new b.Secret('x') instanceof a.Secret, ({ reveal() {} }) instanceof a.Secret);
    `;
    const output = execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
    expect(output.trim()).toBe('true true false');
  });
});
