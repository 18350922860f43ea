/** Runs that are further back than a look lists: they are on record, so that they are shown, and never said not to be there. */
import { expect, test } from 'vitest';
import { until } from '../../../../test/support/until.ts';
import type { Look } from '../../../src/daemon/daemon.ts';
import { mountedPage } from '../../../src/daemon/page/mounted-page.ts';
import { API } from '../../../src/daemon/http/routes/index.ts';
import { findRun, listRuns } from '../../../src/daemon/http/run-list.ts';
import { Turnstile } from '../../../src/daemon/http/turnstile.ts';
import { jobSubject } from '../../../src/repository/layout.ts';
import { factOf, runId } from '../../../src/schedule/run-facts.ts';
import type { Run } from '../../../src/schedule/run.ts';
import { repositoryOn } from '../../retention/small-archive.ts';
import { ask, codeOf, filled, OutageStorage, scene, VIEWER, type Scene } from './scene.ts';

const SYSTEM = '7710493345181022616';
const RUNS = `${API}/clusters/main/runs`;
const HOUR = 3_600_000;

/** Hourly checks over a week, of which one in ten failed, and each night a backup. */
const ON_RECORD: readonly Run[] = Array.from({ length: 168 }, (_, hour) => hour)
  .flatMap((hour): readonly Run[] => {
    const planned = Date.parse('2026-05-01T00:00:00Z') + hour * HOUR;
    const run = (job: 'check' | 'backup', state: Run['state']): Run => ({
      id: runId(job, planned),
      job,
      kind: job,
      trigger: 'schedule',
      planned,
      started: planned + 1000,
      ended: planned + 2000,
      state,
      host: 'b1',
    });
    return [
      ...(hour % 24 === 2 ? [run('backup', 'succeeded')] : []),
      run('check', hour % 10 === 0 ? 'failed' : 'succeeded'),
    ];
  })
  // Two of one moment: by the names of their jobs.
  .toSorted((one, other) => other.planned - one.planned || (one.job < other.job ? -1 : 1));

async function opened(): Promise<Scene & { readonly storage: OutageStorage }> {
  const storage = await filled(new OutageStorage());
  const facts = repositoryOn(storage, 'near').facts(SYSTEM);
  for (const run of ON_RECORD) await facts.add(jobSubject(run.job), factOf('ended', run, 'x'));
  return { ...(await scene({ storage, page: (daemon) => mountedPage(daemon) })), storage };
}

interface Page {
  readonly runs: readonly { readonly id: string }[];
  readonly more: boolean;
  readonly failures: readonly object[];
}

async function pageOf({ server }: Scene, query: string): Promise<Page> {
  const answer = await ask(server, `${RUNS}${query}`, { token: VIEWER });
  expect(answer.status, answer.text).toBe(200);
  return answer.json as Page;
}

const idsOf = (runs: readonly { readonly id: string }[]): readonly string[] => runs.map(({ id }) => id);

test('the API says truly whether there are older runs, and gives all of them page by page', async () => {
  const at = await opened();
  const look = at.daemon.clusters.get('main')?.latest();
  // A look lists but some of them.
  expect(look?.runs?.length).toBeLessThan(ON_RECORD.length);
  const first = await pageOf(at, '');
  expect(first).toMatchObject({ more: true, failures: [] });
  expect(idsOf(first.runs)).toEqual(idsOf(ON_RECORD.slice(0, 100)));
  for (const limit of [7, 100, 174]) {
    const found: string[] = [];
    let query = `?limit=${limit}`;
    for (let more = true; more;) {
      const page = await pageOf(at, query);
      expect(page.runs.length).toBeGreaterThan(0);
      found.push(...idsOf(page.runs));
      query = `?limit=${limit}&before=${found.at(-1)}`;
      ({ more } = page);
    }
    expect(found, String(limit)).toEqual(idsOf(ON_RECORD));
  }
  const all = await pageOf(at, '?limit=1000');
  expect([all.more, idsOf(all.runs)]).toEqual([false, idsOf(ON_RECORD)]);
  const last = await pageOf(at, `?before=${ON_RECORD.at(-1)?.id}`);
  expect(last).toMatchObject({ runs: [], more: false });

  const failed = ON_RECORD.filter(({ state }) => state === 'failed');
  expect(await pageOf(at, '?state=failed')).toMatchObject({ more: false, runs: failed.map(({ id }) => ({ id })) });
  const backups = ON_RECORD.filter(({ kind }) => kind === 'backup');
  expect(await pageOf(at, '?kind=backup&limit=7')).toMatchObject({
    more: false,
    runs: backups.map(({ id }) => ({ id })),
  });
  const some = await pageOf(at, `?job=backup&limit=2&before=${backups[2]?.id}`);
  expect(some).toMatchObject({ more: true, runs: [{ id: backups[3]?.id }, { id: backups[4]?.id }] });
});

test('one that a look does not list is found; one that is not on record is not, and an outage is told as one', async () => {
  const at = await opened();
  const { server, storage } = at;
  const oldest = ON_RECORD.find(({ job, planned }) => job === 'check' && planned < (ON_RECORD[120]?.planned ?? 0));
  if (oldest === undefined) throw new Error('there is none');
  const found = await ask(server, `${RUNS}/${oldest.id}`);
  expect(found.json).toMatchObject({ run: { id: oldest.id, host: 'b1' } });
  for (const none of [runId('check', oldest.planned + 1), 'check', 'latest', 'backup-20261130T020000Z']) {
    const answer = await ask(server, `${RUNS}/${none}`);
    expect([answer.status, codeOf(answer)], none).toEqual([404, 'REQUEST_NOT_FOUND']);
  }
  const wrong = await ask(server, `${RUNS}?before=nothing`);
  expect([wrong.status, codeOf(wrong)]).toEqual([400, 'USAGE']);
  storage.down = true;
  // It is known from before that there are more.
  expect(await pageOf(at, '?limit=50')).toMatchObject({ more: true });
  for (const path of [`${RUNS}/${runId('check', oldest.planned - HOUR)}`, `${RUNS}?limit=1000`]) {
    const answer = await ask(server, path);
    expect([answer.status, codeOf(answer)], path).toEqual([503, 'STORAGE_UNAVAILABLE']);
  }
});

test('what is no id, and what cannot be read, has the same status on the page as in the API', async () => {
  const { server, storage } = await opened();
  const statusOf = async (path: string): Promise<number> =>
    (await ask(server, `/clusters/main/runs${path}`, { token: VIEWER, headers: { Accept: 'text/html' } })).status;
  expect(await statusOf('?before=nothing')).toBe(400);
  expect(await statusOf('/nothing')).toBe(404);
  storage.down = true;
  expect(await statusOf(`?before=${ON_RECORD[130]?.id}`)).toBe(503);
});

test('the page goes back to the first run on record, and says what it does not show', async () => {
  const { server, storage } = await opened();
  const html = async (path: string): Promise<string> => {
    const answer = await ask(server, path, { token: VIEWER, headers: { Accept: 'text/html' } });
    expect(answer.status, path).toBe(200);
    return answer.text;
  };
  const found: string[] = [];
  let path: string | undefined = '/clusters/main/runs';
  while (path !== undefined) {
    const text = await html(path);
    const ids = [...text.matchAll(/href="\/clusters\/main\/runs\/([^"]+)"/g)].map(([, id = '']) => id);
    found.push(...ids);
    const next = /href="\?before=([^"]+)" rel="next"/.exec(text)?.[1];
    expect(text.includes('older ones are on record')).toBe(next !== undefined);
    // What is read for the request is not read again and again.
    expect(text).toMatch(path.includes('?') ? /data-refresh="0"/ : /data-refresh="[1-9]/);
    path = next === undefined ? undefined : `/clusters/main/runs?before=${next}`;
  }
  expect(found).toEqual(idsOf(ON_RECORD));
  const oneRun = await html(`/clusters/main/runs/${ON_RECORD[130]?.id}`);
  expect(oneRun).toContain(ON_RECORD[130]?.id);
  expect(oneRun).toMatch(/data-refresh="0"/);
  expect((await ask(server, '/clusters/main/runs/none')).status).toBe(404);
  storage.down = true;
  const away = await ask(server, `/clusters/main/runs?before=${ON_RECORD[140]?.id}`);
  expect([away.status, away.text.includes('the storage is down')]).toEqual([503, true]);
});

test('before the first look nobody says that there are no more', async () => {
  const { daemon } = await opened();
  const cluster = daemon.clusters.get('main');
  if (cluster === undefined) throw new Error('there is no cluster');
  const [run] = ON_RECORD;
  const { name, scheduler, archive } = cluster;
  const tools = {
    recent: { of: () => new Map(run === undefined ? [] : [[run.id, run]]) },
    heavy: new Turnstile(1, 1),
    signal: new AbortController().signal,
  };
  const unseen = { name, scheduler, archive, latest: () => undefined };
  expect(await listRuns(unseen, { limit: 10 }, tools)).toEqual({ runs: [run], more: true, failures: [] });
  // What is asked for by its id is looked for.
  const far = ON_RECORD[130];
  expect(await findRun(unseen, far?.id ?? '', tools)).toMatchObject({ id: far?.id, state: far?.state });
  expect(await listRuns(unseen, { limit: 1, before: far?.id ?? '' }, tools)).toMatchObject({
    runs: [{ id: ON_RECORD[131]?.id }],
    more: true,
  });
  await expect(listRuns(unseen, { limit: 10, before: 'check-none' }, tools)).rejects.toMatchObject({ code: 'USAGE' });
  expect(await findRun(unseen, 'check-none', tools)).toMatchObject({ code: 'REQUEST_NOT_FOUND' });
});

test('a record that cannot be read is told by each look that shows the list without it, and what is missing there is not said not to be there', async () => {
  const storage = await filled(new OutageStorage());
  const facts = repositoryOn(storage, 'near').facts(SYSTEM);
  const [whole, damaged] = ON_RECORD;
  if (whole === undefined || damaged === undefined) throw new Error('there are none');
  await facts.add(jobSubject(whole.job), factOf('ended', whole, 'x'));
  const key = facts.keyOf(jobSubject(damaged.job), { kind: 'ended', time: damaged.planned });
  await storage.put(
    key,
    (async function* () {
      yield Buffer.from('{ cut off');
    })(),
    { ifAbsent: true },
  );
  const at = await scene({ storage, section: { refresh: '1s' } });
  const isOfOldList = ({ began, listed }: Look): boolean => listed !== undefined && listed < began;
  const looks: Look[] = [];
  at.daemon.observe({ looked: (_, look) => void (isOfOldList(look) && looks.push(look)) });
  await until('looks that list nothing', () => looks.length > 1);
  for (const { failures } of looks) expect(failures.map(({ message }) => message).join()).toContain(key);
  // It is said once, and not taken back in between.
  expect(at.logs.filter((line) => line.includes('can be looked at'))).toHaveLength(1);
  const page = await pageOf(at, '');
  expect(page).toMatchObject({ runs: [{ id: whole.id }], failures: [{ code: 'REPOSITORY_FORMAT' }] });
  const answer = await ask(at.server, `${RUNS}/${damaged.id}`);
  expect([answer.status, codeOf(answer)]).toEqual([422, 'REPOSITORY_FORMAT']);
});

test('a run that another daemon has taken for interrupted does not seem to run once no look lists it any more', async () => {
  const { daemon, storage } = await opened();
  const cluster = daemon.clusters.get('main');
  const run = ON_RECORD.at(-1);
  if (cluster === undefined || run === undefined) throw new Error('there is none');
  expect(cluster.latest()?.runsFrom).toBeGreaterThan(run.planned);
  const { ended: _, ...begun } = { ...run, state: 'running' as const };
  const tools = {
    // As it was told when it began here; of its end nothing is told.
    recent: { of: () => new Map([[begun.id, begun]]) },
    heavy: new Turnstile(1, 1),
    signal: new AbortController().signal,
  };
  expect(await findRun(cluster, run.id, tools)).toEqual(run);
  const last = await listRuns(cluster, { limit: 10, before: ON_RECORD.at(-2)?.id }, tools);
  expect(last).toMatchObject({ runs: [run], more: false });
  storage.down = true;
  await expect(findRun(cluster, run.id, tools)).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
});
