/** H-64: no secret of a config, wherever it comes from, is in an answer, a header or a line of the log. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { API, ROUTES } from '../../../src/daemon/http/routes/index.ts';
import { folder } from '../../config/support.ts';
import { ask, OPERATOR, scene, VIEWER } from './scene.ts';

test('H-64 secrets of each source are in no answer and in no line of the log', async () => {
  const secrets = folder();
  const value = (name: string): string => `the-secret-of-${name}-0123456789`;
  const file = (name: string): string => {
    writeFileSync(join(secrets, name), value(name));
    return join(secrets, name);
  };
  const opened = await scene({
    env: { TOKEN_IN_ENV: value('env'), EXPANDED: value('expanded') },
    section: {
      tokens: [
        { name: 'ada', role: 'operator', token: OPERATOR },
        { name: 'grafana', role: 'viewer', token: VIEWER },
        { name: 'env', role: 'viewer', token: { env: 'TOKEN_IN_ENV' } },
        { name: 'file', role: 'viewer', token: { file: file('file') } },
        { name: 'command', role: 'viewer', token: { command: ['sh', '-c', `echo ${value('command')}`] } },
        { name: 'expanded', role: 'viewer', token: '${EXPANDED}' },
      ],
      peers: [{ name: 'peer', url: 'https://peer.example/', token: value('peer') }],
    },
    cluster: {
      postgres: { url: `postgres://pgark:${value('url')}@127.0.0.1:1/postgres`, password: value('password') },
      serve: { token: value('serve') },
      restore: { identities: [value('identity')] },
      receive: {
        spool: join(secrets, 'spool'),
        guardian: {
          patroni: [`http://user:${value('patroni')}@127.0.0.1:1`, `http://${value('patroni-token')}@127.0.0.1:1`],
        },
      },
      hooks: [
        { use: 'webhook', url: `https://hooks.example/${value('hook')}` },
        { use: 'exec', command: ['/usr/bin/curl', '-H', `Authorization: Bearer ${value('argument')}`] },
      ],
    },
  });
  // Each of them is one: a token that was read lets in.
  for (const name of ['env', 'file', 'command', 'expanded'])
    expect((await ask(opened.server, API, { token: value(name) })).json).toMatchObject({ caller: { name } });
  let shown = '';
  for (const { method, path } of ROUTES) {
    const where = (API + path).replace('{cluster}', 'main').replace('{id}', 'latest').replace(/\/$/, '');
    const answer = await ask(opened.server, where, { method, ...(method === 'POST' && { body: { kind: 'check' } }) });
    shown += answer.text + JSON.stringify(answer.headers);
  }
  for (const path of ['/livez', '/readyz', '/login', '/nothing']) shown += (await ask(opened.server, path)).text;
  shown += (await ask(opened.server, API, { token: `wrong-${value('guess')}` })).text;
  const told = shown + opened.logs.join('\n');
  // The keys are shown, with what stands for the secrets.
  for (const key of [
    'daemon.tokens[3].token',
    'postgres.url',
    'serve.token',
    'hooks[0].url',
    'TOKEN_IN_ENV',
    '[redacted]',
    'http://[redacted]@127.0.0.1:1',
  ])
    expect(shown).toContain(key);
  expect(told.match(/the-secret-of-[a-z-]+/g) ?? []).toEqual([]);
  for (const secret of [VIEWER, OPERATOR]) expect(told).not.toContain(secret);
});
