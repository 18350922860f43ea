/** What the pages say to type in psql is taken by a server, and the settings that they name are settings. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readPages } from '../docs/pages.ts';
import { PostgresServer } from '../support/postgres.ts';

let server: PostgresServer;
beforeAll(async () => {
  server = await PostgresServer.start({ major: 18 });
});
afterAll(() => server.destroy());

const blocks = readPages().flatMap(({ path, blocks }) => blocks.map((block) => ({ path, ...block })));
const statements = blocks.filter(({ language }) => language === 'sql');

test('there are blocks of SQL', () => expect(statements.length).toBeGreaterThan(0));

test.each(statements)('$path, line $line', async ({ text }) => {
  // Each by itself, as psql sends them: some cannot be in a transaction.
  for (const statement of text.split(/;\s*\n/).filter((each) => each.trim() !== '')) await server.query(statement);
});

test('postgresql.conf on pages has settings of PostgreSQL only', async () => {
  const rows = await server.query<{ name: string }>('SELECT name FROM pg_settings');
  const known = new Set(rows.map(({ name }) => name));
  const named = blocks
    .filter(({ language }) => ['ini', 'conf'].includes(language))
    .flatMap(({ text }) => [...text.matchAll(/^([a-z_]+) = /gm)].map(([, name]) => name ?? ''));
  expect(named.length).toBeGreaterThan(2);
  expect(named.filter((name) => !known.has(name))).toEqual([]);
});
