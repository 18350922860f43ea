import { expect, test } from 'vitest';
import { serverConfig, sessionOptions } from '../../src/drill/server-config.ts';

const options = { run: "/srv/it's/run", serverVersion: 170_010, limits: [], preload: [], durable: true } as const;
const lines = (config: string): readonly string[] => config.split('\n');

test('H-33 the server of a drill is reached by its socket alone, and acts on nothing outside', () => {
  const config = lines(serverConfig(options));
  for (const setting of [
    `listen_addresses = ''`,
    `unix_socket_directories = '/srv/it''s/run'`,
    `archive_mode = 'off'`,
    `archive_command = ''`,
    `primary_conninfo = ''`,
    `synchronous_standby_names = ''`,
    `shared_preload_libraries = ''`,
    `max_logical_replication_workers = '0'`,
    `event_triggers = 'off'`,
  ])
    expect(config).toContain(setting);
  expect(serverConfig({ ...options, serverVersion: 160_000 })).not.toContain('event_triggers');
  expect(lines(serverConfig({ ...options, preload: ['one', 'two'] }))).toContain(
    `shared_preload_libraries = 'one,two'`,
  );
});

test('limits are those of the old server; prepared transactions always find a place', () => {
  const limits = [
    ['max_connections', 750],
    ['max_prepared_transactions', 0],
  ] as const;
  const config = lines(serverConfig({ ...options, limits }));
  expect(config).toContain(`max_connections = '750'`);
  expect(config).toContain(`max_prepared_transactions = '100'`);
  const many = lines(serverConfig({ ...options, limits: [['max_prepared_transactions', 400]] }));
  expect(many).toContain(`max_prepared_transactions = '400'`);
});

test('options of a connection overrule what ALTER DATABASE sets', () => {
  expect(sessionOptions(5000)).toContain('-c session_preload_libraries= ');
  expect(sessionOptions(5000)).toContain('-c statement_timeout=5000');
});
