import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { identityOf, type PushRequest } from '../../src/agent/protocol.ts';
import { requestHandler, type Services } from '../../src/agent/requests.ts';
import type { Reply } from '../../src/agent/server.ts';
import { errorText } from '../../src/cli/output.ts';
import { jsonText } from '../../src/documents/json-text.ts';
import { ArchiveError } from '../../src/contracts/errors.ts';
import { pluginContext } from '../repository/repository.ts';

const NAME = '000000010000000000000005';
let folder = '';
let served = 0;
let renewed = 0;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'pgark-requests-'));
  writeFileSync(join(folder, NAME), 'wal');
  served = 0;
  renewed = 0;
});
afterEach(() => rmSync(folder, { recursive: true }));

/** What an agent for `/etc/pgark.yaml` says, started without `--cluster`, that of the config being `main`. */
async function ask(change: Partial<PushRequest>, failure?: Error): Promise<Reply> {
  const services: Services = {
    cluster: 'main',
    push: {
      push: () => {
        served++;
        const result = { name: NAME, systemId: '1', outcome: 'stored', repositories: [] } as const;
        return failure === undefined ? Promise.resolve(result) : Promise.reject(failure);
      },
    },
    fetch: { fetch: () => Promise.reject(new Error('nobody asks')) },
    close: () => Promise.resolve(),
  };
  const handle = requestHandler({
    config: () => '/etc/pgark.yaml',
    cluster: '',
    warm: { use: (work) => work(services), renew: () => void renewed++ },
    presenter: { json: jsonText, error: errorText, logger: () => Promise.resolve(pluginContext.logger) },
    logger: pluginContext.logger,
    signal: new AbortController().signal,
  });
  const request: PushRequest = {
    protocol: 2,
    command: 'wal-push',
    config: '/etc/pgark.yaml',
    cluster: '',
    cwd: folder,
    path: NAME,
    name: NAME,
    timeout: 1000,
    json: false,
    identity: identityOf(statSync(join(folder, NAME), { bigint: true })),
    ...change,
  };
  return handle(request, { signal: new AbortController().signal, stderr: () => undefined });
}

test('a request of the same config, cluster and file is served', async () => {
  expect(await ask({})).toMatchObject({ type: 'end', exitCode: 0 });
  expect(await ask({ cluster: 'main' })).toMatchObject({ type: 'end', exitCode: 0 });
  expect(served).toBe(2);
});

test('one of another config or cluster, or whose path is another file for the agent, is declined before anything is done', async () => {
  for (const change of [
    { config: '/etc/other.yaml' },
    { config: '' },
    { cluster: 'other' },
    { identity: '1:2' },
    { path: 'absent' },
    { cwd: '/' },
  ])
    expect(await ask(change), JSON.stringify(change)).toMatchObject({ type: 'decline' });
  expect(served).toBe(0);
});

test('a fault of the agent is declined, and after a failure that new secrets may heal the archive is opened anew', async () => {
  expect(await ask({}, new TypeError('a fault'))).toMatchObject({ type: 'decline', reason: 'a fault' });
  expect(renewed).toBe(0);
  expect(await ask({}, new ArchiveError('SECRET_UNAVAILABLE', 'it is gone'))).toMatchObject({ type: 'decline' });
  expect(renewed).toBe(1);
});
