/** The commands and their hooks: a gate that refuses a backup, and a receiver of WAL whose hook gets no answer. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ArchiveEvent } from '@pgark/sdk';
import { HttpHookReceiver } from '@pgark/sdk/testing';
import { expect, test } from 'vitest';
import { TestArchive } from '../support/archive.ts';
import { later } from '../support/later.ts';
import { giveToServer, PostgresServer } from '../support/postgres.ts';
import { until } from '../support/until.ts';

/** A hook as a file beside the config. */
const HOOK = `
export default {
  name: 'post', kind: 'hook', apiVersion: 1,
  options: { '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value }) } },
  create: ({ url }) => ({
    async handle(event, { signal }) {
      const response = await fetch(url, { method: 'POST', body: JSON.stringify(event), signal });
      if (!response.ok) throw new Error('the receiver answered ' + response.status);
    },
    close: async () => undefined,
  }),
};
`;

/** What one of the hooks has told. */
function told(receiver: HttpHookReceiver, path: string): readonly ArchiveEvent[] {
  const requests = receiver.taken.filter((request) => request.path === path);
  return requests.map(({ body }) => JSON.parse(String(body)) as ArchiveEvent);
}

const namesOf = (receiver: HttpHookReceiver, path = '/all'): readonly string[] =>
  told(receiver, path).map(({ name }) => name);

test('H-09 hooks: a gate refuses a backup, a receiver of WAL waits for no hook, and what it has to tell arrives when there is an answer', async () => {
  const server = later(await PostgresServer.start({ major: 17, segmentMegabytes: 1 }), (started) => started.destroy());
  const receiver = later(await HttpHookReceiver.start(), (started) => started.close());
  const hook = { use: './hook.mjs', timeout: '2s', retries: 0 };
  const archive = new TestArchive(server, {
    config: {
      hooks: [
        { ...hook, url: `${receiver.url}/gate`, name: 'gate', policy: 'fail', events: ['backup.started'] },
        { ...hook, url: `${receiver.url}/all`, name: 'all' },
      ],
    },
  });
  later(archive, (made) => made.destroy());
  const file = join(archive.folder, 'hook.mjs');
  writeFileSync(file, HOOK);
  giveToServer(file);

  const streaming = await archive.receive(server);
  later(streaming, (one) => one.kill());
  await until(
    'it is told that WAL streams',
    () => namesOf(receiver).includes('receive.connected'),
    () => streaming.output,
  );

  receiver.behave('fail');
  await archive.run(['backup'], 2);
  await archive.run(['list'], 1); // there is no backup

  receiver.behave('hang');
  const before = namesOf(receiver).length;
  const files: string[] = [];
  // It returns when the file is in the archive.
  for (let round = 0; round < 3; round += 1) files.push(await archive.switchWal(server));
  expect(namesOf(receiver).length).toBe(before);

  receiver.behave('accept');
  await archive.backup();
  const { output } = streaming;
  await until(
    'the failure and the success are told',
    () => namesOf(receiver).includes('backup.finished'),
    () => output,
  );
  await archive.run(['verify', '--full']);
  await archive.run(['check', '--no-server']);
  await streaming.stop();
  const names = namesOf(receiver);
  expect(names.filter((name) => name.startsWith('backup.'))).toEqual([
    'backup.started',
    'backup.failed',
    'backup.started',
    'backup.finished',
  ]);
  expect(namesOf(receiver, '/gate')).toEqual(['backup.started']);
  const shipped = told(receiver, '/all').flatMap(({ name, data }) =>
    name === 'wal.shipped' ? [(data as { file: string }).file] : [],
  );
  for (const name of files) expect(shipped).toContain(name);
  const ends = told(receiver, '/all').filter(({ name }) => /^(?:verify|key)\.|stopped$/.test(name));
  expect(ends.map(({ name, condition }) => `${name} ${condition?.state} ${condition?.key}`)).toEqual([
    'verify.finished closed verify:primary',
    'key.readable closed keys:primary:newest',
    'receive.stopped undefined undefined',
  ]);
});
