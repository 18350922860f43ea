/** What `schedule` and `daemon` may hold. */
import { expect, test } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';

const load = async (more: object): Promise<Awaited<ReturnType<typeof loadConfig>>['config']> => {
  const value = { repositories: [{ storage: { use: 'fs', path: '/a' } }], ...more };
  return (await loadConfig({ value, env: {}, directory: '/' })).config;
};

test('a job is called like what it does, and has the clock of UTC', async () => {
  const { schedule } = await load({ schedule: [{ do: 'backup', at: '0 2 * * *' }] });
  expect(schedule).toEqual([{ name: 'backup', do: 'backup', at: '0 2 * * *', timeZone: 'UTC', jitter: 0 }]);
});

test.each([
  [{ do: 'backup', at: 'at noon' }, /schedule\[0\]\.at: is not a cron expression: /],
  [{ do: 'backup', at: '0 0 30 2 *' }, /schedule\[0\]\.at: is not a cron expression: it is never due/],
  [{ do: 'backup', at: '@daily', timeZone: 'Mars/Base' }, /timeZone: must be a time zone/],
  [{ do: 'expire', at: '@daily', label: 'x' }, /label: belongs to a backup/],
  [{ do: 'backup', at: '@daily', level: 'full' }, /level: belongs to a verification/],
  [{ do: 'backup', at: '@daily', name: 'Nightly' }, /name: must be up to 41 lower case/],
  [{ do: 'restore', at: '@daily' }, /do: must be one of backup, verify/],
])('%j is refused', async (job, problem) => {
  await expect(load({ schedule: [job] })).rejects.toThrow(problem);
});

test('jobs of one name are refused, though none is given', async () => {
  const twice = [
    { do: 'backup', at: '@daily' },
    { do: 'backup', at: '@weekly' },
  ];
  await expect(load({ schedule: twice })).rejects.toThrow(/schedule\[1\]: is named "backup" like schedule\[0\]/);
});

test('the daemon answers nobody with `off`; its peers and tokens are checked', async () => {
  const { daemon } = await load({ daemon: { listen: 'off' } });
  expect(daemon).not.toHaveProperty('listen');
  await expect(load({ daemon: { listen: 'everywhere' } })).rejects.toThrow(/daemon\.listen: must be an address/);
  await expect(load({ daemon: { peers: [{ name: 'b', url: 'ftp://b' }] } })).rejects.toThrow(
    /must be an http or https/,
  );
  // The page shows it to whoever may look.
  const withPassword = load({ daemon: { peers: [{ name: 'b', url: 'https://ada:hunter2@b/' }] } });
  await expect(withPassword).rejects.toThrow(/peers\[0\]\.url: must not hold a user or a password/);
  await expect(withPassword).rejects.not.toThrow(/hunter2/);
  await expect(load({ daemon: { tokens: [{ name: 'a', role: 'root', token: 'x' }] } })).rejects.toThrow(
    /role: must be/,
  );
});

test('H-64 the token of a peer goes to no other host in plain text', async () => {
  const peer = (url: string, more: object = { token: 'peer-token-0123456789' }): ReturnType<typeof load> =>
    load({ daemon: { peers: [{ name: 'b', url, ...more }] } });
  for (const url of [
    'http://archive.example:8733/',
    'http://10.0.0.1:8733/',
    'HTTP://[2001:db8::1]/',
    'http://localhost.example/',
    'http://127.0.0.1.example/',
  ])
    await expect(peer(url), url).rejects.toThrow(
      /daemon\.peers\[0\]\.url: is plain http to another host.* write https/,
    );
  for (const url of [
    'https://archive.example/',
    'http://127.0.0.1:8733/',
    'http://[::1]:8733/',
    'http://LocalHost:8733/',
  ])
    await expect(peer(url), url).resolves.toBeDefined();
  // There is nothing to be read.
  await expect(peer('http://archive.example/', {})).resolves.toBeDefined();
  await expect(peer('http://archive.example/', { token: { file: '/etc/pgark/token' } })).rejects.toThrow(/plain http/);
});

test('peers are told apart by their names', async () => {
  const peers = ['eu', 'us', 'eu'].map((name) => ({ name, url: `https://${name}.example/` }));
  await expect(load({ daemon: { peers } })).rejects.toThrow(
    /daemon\.peers\[2\]: is named "eu" like daemon\.peers\[0\]: give each a name of its own/,
  );
  await expect(load({ daemon: { peers: peers.slice(0, 2) } })).resolves.toBeDefined();
});
