import { expect, test } from 'vitest';
import { parseCall } from '../../src/agent/call.ts';
import { createProgram } from '../../src/cli/program.ts';

const SEGMENT = '000000010000000000000005';

test('the command lines of postgresql.conf are understood', () => {
  expect(parseCall(['--config', '/etc/pgark.yaml', 'wal-push', `pg_wal/${SEGMENT}`, SEGMENT])).toEqual({
    command: 'wal-push',
    path: `pg_wal/${SEGMENT}`,
    name: SEGMENT,
    config: '/etc/pgark.yaml',
    cluster: undefined,
    json: false,
    logLevel: undefined,
    systemId: undefined,
    until: undefined,
    repositories: [],
    timeout: 60_000,
    socket: undefined,
  });
  const fetch = ['wal-fetch', '--json', SEGMENT, '--until=A', 'pg_wal/RECOVERYXLOG', '--repository', 'a'];
  expect(parseCall([...fetch, '--repository=b', '--cluster', 'c', '--agent-socket', '/s'])).toMatchObject({
    command: 'wal-fetch',
    path: 'pg_wal/RECOVERYXLOG',
    name: SEGMENT,
    json: true,
    until: 'A',
    repositories: ['a', 'b'],
    cluster: 'c',
    socket: '/s',
  });
  expect(parseCall(['wal-fetch', 'f', 'p', '--timeline', '12'])).toMatchObject({ timeline: 12 });
  expect(parseCall(['wal-push', '--timeout', '1.5', 'p', 'f'])).toMatchObject({ timeout: 1500 });
});

test.each([
  [['list']],
  [['wal-push', 'p']],
  [['wal-push', 'p', 'f', 'more']],
  [['p', 'wal-push', 'f']],
  [['wal-push', '--help']],
  [['wal-push', 'p', 'f', '--config']],
  [['wal-push', 'p', 'f', '--until', 'x']],
  [['wal-fetch', 'f', 'p', '--timeout', '5']],
  [['wal-fetch', 'f', 'p', '--timeline', '0']],
  [['wal-fetch', 'f', 'p', '--timeline', 'latest']],
  [['wal-push', 'p', 'f', '--timeout', 'soon']],
  [['wal-push', 'p', 'f', '--log-level', 'loud']],
  [['wal-push', 'p', '--', 'f']],
])('what is not plainly a request is left to the full program: %j', (args) => {
  expect(parseCall(args)).toBeUndefined();
});

/** With them `wal-fetch` asks a WAL server, or a storage as it was: no agent does. */
const OF_NO_AGENT = ['--from', '--token-file', '--token-env', '--ca', '--certificate', '--key', '--retry', '--as-of'];

test('every option of both commands is known here, or leads to the full program', () => {
  const program = createProgram();
  const shared = program.options.filter(({ long }) => long !== '--version');
  for (const command of program.commands.filter((one) => one.name() === 'wal-push' || one.name() === 'wal-fetch')) {
    for (const option of [...shared, ...command.options]) {
      const value = option.long === '--log-level' ? 'debug' : '5';
      const given = [option.long ?? '', ...(option.required ? [value] : [])];
      const call = parseCall([command.name(), ...given, 'a', 'b']);
      if (OF_NO_AGENT.includes(option.long ?? '')) expect(call, option.long).toBeUndefined();
      else expect(call, option.long ?? '').toMatchObject({ command: command.name() });
    }
  }
});
