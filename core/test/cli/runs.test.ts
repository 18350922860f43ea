import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { fsRepository } from '../../../test/support/fs-repository.ts';
import { runCli } from '../../../test/support/cli.ts';
import type { Repository } from '../../src/repository/repository.ts';
import { jobSubject } from '../../src/repository/layout.ts';
import { factOf } from '../../src/schedule/run-facts.ts';
import { folder } from '../config/support.ts';

/** An archive without runs. */
async function opened(): Promise<{ readonly config: string; readonly repository: Repository }> {
  const root = folder();
  const config = join(root, 'pgark.json');
  writeFileSync(
    config,
    JSON.stringify({ cluster: 'main', repositories: [{ storage: { use: 'fs', path: 'archive' } }] }),
  );
  const repository = await fsRepository(join(root, 'archive'));
  await repository.open({ create: true });
  return { config, repository };
}

test('pgark runs shows what is on record, newest first, and what cannot be read beside it', async () => {
  const { config, repository } = await opened();
  const facts = repository.facts('1');
  const planned = Date.parse('2026-05-01T01:00:00Z');
  const run = {
    id: '',
    job: 'nightly',
    kind: 'backup',
    trigger: 'schedule',
    planned,
    started: planned,
    host: 'b1',
  } as const;
  const subject = jobSubject('nightly');
  await facts.add(subject, factOf('begun', { ...run, state: 'running' }, 'x'));
  const error = { code: 'STORAGE_FULL', message: 'no space left' };
  await facts.add(subject, factOf('ended', { ...run, state: 'failed', ended: planned + 90_000, error }, 'x'));
  await facts.add(subject, factOf('begun', { ...run, planned: planned + 1, state: 'running', repeats: 'r' }, 'x'));
  await facts.add(subject, { kind: 'begun', time: planned + 5000, data: { kind: 'unheard of' } });
  const shown = await runCli(['--config', config, 'runs']);
  expect(shown.stdout.split('\n').map((line) => line.split(/ {2,}/))).toEqual([
    ['ID', 'DOES', 'WHY', 'STATE', 'STARTED', 'TOOK', 'HOST', 'WHAT CAME OF IT'],
    ['nightly-20260501T010000001Z', 'backup', 'schedule', 'running', '2026-05-01 01:00:00Z', '-', 'b1', '-'],
    [
      'nightly-20260501T010000000Z',
      'backup',
      'schedule',
      'failed',
      '2026-05-01 01:00:00Z',
      '1m 30s',
      'b1',
      'no space left',
    ],
    [''],
  ]);
  expect(shown).toMatchObject({
    code: 4,
    stderr: expect.stringContaining('run nightly-20260501T010005000Z is on record in a form'),
  });
  expect(shown.stderr).not.toContain('older runs');
  const newest = await runCli(['--config', config, 'runs', '--limit', '1']);
  expect(newest.stdout.split('\n')).toHaveLength(3);
  expect(newest.stderr).toContain('older runs are on record: a larger --limit may show more');
  const refused = await runCli(['--config', config, 'runs', '--state', 'lost']);
  expect(refused).toMatchObject({ code: 3, stdout: '', stderr: expect.stringContaining('not a state of a run') });
});

test('where not all could be read it is not said that there is none', async () => {
  const { config, repository } = await opened();
  expect((await runCli(['--config', config, 'runs'])).stderr).toContain('no run is on record');
  await repository.facts('1').add(jobSubject('nightly'), { kind: 'begun', time: 5000, data: { kind: 'unheard of' } });
  const shown = await runCli(['--config', config, 'runs']);
  expect(shown).toMatchObject({ code: 4, stderr: expect.not.stringContaining('no run is on record') });
});
