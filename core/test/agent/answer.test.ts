import { expect, test } from 'vitest';
import { answer, type AnswerOptions } from '../../src/agent/answer.ts';
import type { FetchRequest, PushRequest } from '../../src/agent/protocol.ts';
import { errorText } from '../../src/cli/output.ts';
import { jsonText } from '../../src/documents/json-text.ts';
import { ArchiveError, ERRORS, type ErrorCode } from '../../src/contracts/errors.ts';
import { pluginContext } from '../repository/repository.ts';

const common = {
  protocol: 2,
  config: '',
  cluster: '',
  cwd: '/',
  path: 'p',
  name: '000000010000000000000005',
  json: false,
  identity: '',
} as const;
const push: PushRequest = { ...common, command: 'wal-push', timeout: 1000 };
const fetch: FetchRequest = { ...common, command: 'wal-fetch', mode: 'recovery', repositories: [] };

/** What a request comes to whose work fails so, and what was said on stderr. */
async function failed(request: PushRequest | FetchRequest, error: unknown): Promise<object> {
  let said = '';
  const options: AnswerOptions = {
    presenter: { json: jsonText, error: errorText, logger: () => Promise.resolve(pluginContext.logger) },
    logger: pluginContext.logger,
    signal: new AbortController().signal,
    agent: new AbortController().signal,
    stderr: (text) => (said += text),
  };
  const fail = (): Promise<never> => Promise.reject(error);
  return { ...(await answer(request, { push: { push: fail }, fetch: { fetch: fail } }, options)), said };
}

test('H-20 H-21 no failure has a code that PostgreSQL takes for something else', async () => {
  const declined: string[] = [];
  for (const code of Object.keys(ERRORS) as ErrorCode[]) {
    if (code === 'INTERNAL' || code === 'ABORTED') continue;
    const error = new ArchiveError(code, 'it failed', { hint: 'Do this.' });
    const said = 'pgark: error: it failed\npgark: hint: Do this.\n';
    const result = await failed(fetch, error);
    if ('renew' in result) {
      declined.push(code);
      continue;
    }
    expect(result).toEqual({ type: 'end', exitCode: 255, stdout: '', said });
    expect(await failed({ ...fetch, mode: 'standby' }, error)).toMatchObject({ exitCode: 2 });
    expect(await failed(push, error)).toMatchObject({ type: 'end', exitCode: ERRORS[code].exitCode, said });
  }
  expect(declined).toContain('CODEC_KEY');
  expect(declined).not.toContain('STORAGE_UNAVAILABLE');
});

test('a fault of the agent is none of the command, which does its work itself', async () => {
  for (const error of [new TypeError('a fault'), new ArchiveError('INTERNAL', 'a fault')])
    await expect(failed(push, error)).rejects.toBe(error);
});

test('with --json an error is one line of JSON, and what each repository has comes on stdout', async () => {
  const error = new ArchiveError('REPOSITORY_BEHIND', 'one lacks it', { details: { name: 'x' } });
  const result = await failed({ ...push, json: true }, error);
  expect(result).toMatchObject({ type: 'end', exitCode: 2, stdout: '{\n  "name": "x"\n}\n' });
  expect(JSON.parse((result as { said: string }).said)).toMatchObject({ error: { code: 'REPOSITORY_BEHIND' } });
});
