/** Jobs and runs: what was done, what is due, and what somebody asks for. */
import * as z from 'zod';
import { jobDocument, lineDocument, runDocument } from '../../../documents/run-document.ts';
import type { DaemonCluster } from '../../daemon.ts';
import { notFound } from '../answers.ts';
import { lookDocument } from '../look-document.ts';
import { lookFailure } from '../look-failure.ts';
import { isRefusal, refusal } from '../refusal.ts';
import { route, withCluster, type Route } from '../route.ts';
import { findRun, listRuns } from '../run-list.ts';
import { clusterParams, failure, look, none, number } from '../schemas/common.ts';
import { kind, plannedJob, run, runLine, runState, schedulerState } from '../schemas/runs.ts';

/** Runs in one answer. */
const PAGE = 100;
const MOST = 1000;

const runId = z.string().regex(/^[A-Za-z0-9._:-]{1,120}$/);
const runParams = clusterParams.extend({ id: runId.describe('Its id.') });

const startBody = z.strictObject({
  kind: z
    .enum(['backup', 'verify', 'drill', 'check'])
    .describe('What is to be done. What removes something cannot be asked for here.'),
  label: z.string().min(1).max(900).optional().describe('Of a backup.'),
  level: z.enum(['chain', 'sample', 'full']).optional().describe('Of a verification.'),
});

export const runRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/clusters/{cluster}/jobs',
    role: 'viewer',
    summary: 'The jobs of the config, and when each is due',
    params: clusterParams,
    query: none,
    answer: z.object({ scheduler: schedulerState, jobs: z.array(plannedJob) }),
    errors: ['REQUEST_NOT_FOUND'],
    handle: (call) =>
      withCluster(call, ({ scheduler }) => ({
        scheduler: { ...scheduler.state, since: new Date(scheduler.state.since).toISOString() },
        jobs: scheduler.planned().map(jobDocument),
      })),
  }),
  route({
    method: 'GET',
    path: '/clusters/{cluster}/runs',
    role: 'viewer',
    summary: 'Runs, newest first',
    description:
      'The newest, and those of this daemon, come from the last look. What is older is read for the request, a few requests at a time.',
    params: clusterParams,
    query: z.strictObject({
      job: z.string().min(1).max(50).optional().describe('Of this job.'),
      kind: kind.optional(),
      state: runState.optional(),
      limit: number(1, MOST).optional().describe(`At most so many. Default ${PAGE}.`),
      before: runId.optional().describe('Only those that come behind this one: the last of the answer before.'),
    }),
    answer: z.object({
      look: look.optional(),
      runs: z.array(run),
      more: z.boolean().describe('Whether there are older ones; before the first look nobody knows, and it is true.'),
      failures: z.array(failure).describe('What could not be read: there may be more runs.'),
    }),
    errors: ['REQUEST_NOT_FOUND', 'USAGE', 'STORAGE_UNAVAILABLE'],
    handle: (call) =>
      withCluster(call, async (cluster) => {
        checkSeen(cluster);
        const seen = cluster.latest();
        const page = await listRuns(cluster, { ...call.query, limit: call.query.limit ?? PAGE }, call);
        if (isRefusal(page)) return page;
        return {
          ...(seen !== undefined && { look: lookDocument(seen, call.daemon) }),
          runs: page.runs.map(runDocument),
          more: page.more,
          failures: page.failures.map(({ code, message, hint }) => ({ code, message, hint })),
        };
      }),
  }),
  route({
    method: 'GET',
    path: '/clusters/{cluster}/runs/{id}',
    role: 'viewer',
    summary: 'One run',
    params: runParams,
    query: none,
    answer: z.object({ run }),
    errors: ['REQUEST_NOT_FOUND', 'STORAGE_UNAVAILABLE'],
    handle: (call) =>
      withCluster(call, async (cluster) => {
        checkSeen(cluster);
        const found = await findRun(cluster, call.params.id, call);
        return isRefusal(found) ? found : { run: runDocument(found) };
      }),
  }),
  route({
    method: 'GET',
    path: '/clusters/{cluster}/runs/{id}/log',
    role: 'viewer',
    summary: 'What a run of this daemon has said',
    params: runParams,
    query: none,
    answer: z.object({ lines: z.array(runLine) }),
    errors: ['REQUEST_NOT_FOUND'],
    handle: (call) =>
      withCluster(call, ({ scheduler }) => {
        const lines = scheduler.log(call.params.id);
        return lines === undefined
          ? notFound(`log of run "${call.params.id}" in this daemon`)
          : { lines: lines.map(lineDocument) };
      }),
  }),
  route({
    method: 'POST',
    path: '/clusters/{cluster}/runs',
    role: 'operator',
    summary: 'Begin a backup, a verification, a drill or a check',
    description: 'It is on record when the answer comes, and goes on when the client leaves.',
    params: clusterParams,
    query: none,
    body: startBody,
    status: 202,
    answer: z.object({ run }),
    errors: ['REQUEST_FORBIDDEN', 'REQUEST_NOT_FOUND', 'RUN_BUSY', 'SCHEDULER_WAITING', 'STORAGE_UNAVAILABLE'],
    handle: (call) =>
      withCluster(call, async ({ name, scheduler }) => {
        const { kind: wanted, label, level } = call.body;
        if (label !== undefined && wanted !== 'backup') return refusal('REQUEST_INVALID', 'label belongs to a backup');
        if (level !== undefined && wanted !== 'verify')
          return refusal('REQUEST_INVALID', 'level belongs to a verification');
        const begun = await scheduler.start({
          kind: wanted,
          by: call.caller.name,
          ...(label !== undefined && { label }),
          ...(level !== undefined && { level }),
        });
        call.acted(call.caller, `has asked for a ${wanted}`, { cluster: name, run: begun.id });
        return { run: runDocument(begun) };
      }),
  }),
  route({
    method: 'POST',
    path: '/clusters/{cluster}/runs/{id}/cancel',
    role: 'operator',
    summary: 'Cancel a run of this daemon, and wait for its end',
    params: runParams,
    query: none,
    body: none,
    answer: z.object({ run }),
    errors: ['REQUEST_FORBIDDEN', 'REQUEST_NOT_FOUND', 'RUN_NOT_FOUND'],
    handle: (call) =>
      withCluster(call, async ({ name, scheduler }) => {
        call.acted(call.caller, 'cancels a run', { cluster: name, run: call.params.id });
        const ended = await scheduler.cancel(call.params.id, call.caller.name);
        return { run: runDocument(ended) };
      }),
  }),
];

/** Errors: why the look did not see what is on record; none before the first look, as then the runs of this daemon are known all the same. */
function checkSeen(cluster: DaemonCluster): void {
  const seen = cluster.latest();
  if (seen !== undefined && seen.runs === undefined) throw lookFailure(cluster, seen);
}
