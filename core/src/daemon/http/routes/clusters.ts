/** The daemon, its clusters, and what was seen of them last. */
import { canRestoreTo } from '../../../documents/status-document.ts';
import * as z from 'zod';
import type { ArchiveError } from '../../../contracts/errors.ts';
import { formatLsn } from '../../../postgres/lsn.ts';
import type { Daemon, DaemonCluster, PartReport } from '../../daemon.ts';
import { lookDocument } from '../look-document.ts';
import { route, withCluster, type Route } from '../route.ts';
import { clusterParams, none, number } from '../schemas/common.ts';
import { brokenCluster, clusterSummary, daemonDocument, event, sample } from '../schemas/daemon.ts';

export const clusterRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/',
    role: 'viewer',
    summary: 'The daemon',
    params: none,
    query: none,
    answer: daemonDocument,
    errors: [],
    handle: ({ daemon: { version, host, started, state, clusters }, caller: { name, role } }) => ({
      version,
      host,
      started: new Date(started).toISOString(),
      state,
      caller: { name, role },
      clusters: [...clusters.keys()],
    }),
  }),
  route({
    method: 'GET',
    path: '/openapi.json',
    role: 'viewer',
    summary: 'This document',
    params: none,
    query: none,
    answer: z.looseObject({ openapi: z.string() }),
    errors: [],
    handle: ({ openapi }) => openapi(),
  }),
  route({
    method: 'GET',
    path: '/clusters',
    role: 'viewer',
    summary: 'All clusters, each in a few words',
    params: none,
    query: none,
    answer: z.object({
      clusters: z.array(clusterSummary),
      broken: z.array(brokenCluster).describe('Those whose section of the config cannot be used.'),
    }),
    errors: [],
    handle: ({ daemon }) => ({
      clusters: [...daemon.clusters.values()].map((cluster) => summaryOf(cluster, daemon)),
      broken: [...daemon.broken].map(([name, error]) => ({ name, error: errorDocument(error) })),
    }),
  }),
  route({
    method: 'GET',
    path: '/clusters/{cluster}',
    role: 'viewer',
    summary: 'One cluster in a few words',
    params: clusterParams,
    query: none,
    answer: clusterSummary,
    errors: ['REQUEST_NOT_FOUND'],
    handle: (call) => withCluster(call, (cluster) => summaryOf(cluster, call.daemon)),
  }),
  route({
    method: 'GET',
    path: '/clusters/{cluster}/samples',
    role: 'viewer',
    summary: 'How the stream went over the last hours, oldest first',
    params: clusterParams,
    query: z.strictObject({ limit: number(1, 100_000).optional().describe('The newest of them. Default: all.') }),
    answer: z.object({ samples: z.array(sample) }),
    errors: ['REQUEST_NOT_FOUND'],
    handle: (call) =>
      withCluster(call, (cluster) => ({
        samples: newest(cluster.samples(), call.query.limit).map(({ time, server, received, flushed, shipped }) => ({
          time: new Date(time).toISOString(),
          server: lsnText(server),
          received: lsnText(received),
          flushed: lsnText(flushed),
          shipped: lsnText(shipped),
        })),
      })),
  }),
  route({
    method: 'GET',
    path: '/clusters/{cluster}/events',
    role: 'viewer',
    summary: 'What happened lately, oldest first',
    params: clusterParams,
    query: z.strictObject({ limit: number(1, 100_000).optional().describe('The newest of them. Default: all.') }),
    answer: z.object({ events: z.array(event) }),
    errors: ['REQUEST_NOT_FOUND'],
    handle: (call) =>
      withCluster(call, (cluster) => ({
        events: newest(cluster.events(), call.query.limit).map(({ time, name, data }) => ({
          time: new Date(time).toISOString(),
          name,
          data,
        })),
      })),
  }),
];

function summaryOf(cluster: DaemonCluster, daemon: Daemon): Readonly<Record<string, unknown>> {
  const look = cluster.latest();
  const { state, since, problem } = cluster.scheduler.state;
  return {
    name: cluster.name,
    level: look?.status?.judgement.level ?? 'unknown',
    ...(look?.status !== undefined && {
      canRestoreTo: canRestoreTo(look.status.status),
      reasons: look.status.judgement.reasons,
    }),
    parts: cluster.parts().map(partDocument),
    scheduler: { state, since: new Date(since).toISOString(), problem },
    ...(look !== undefined && { look: lookDocument(look, daemon) }),
  };
}

function partDocument({ name, state, since, restarts, error, nextTry }: PartReport): Readonly<Record<string, unknown>> {
  return {
    name,
    state,
    since: new Date(since).toISOString(),
    restarts,
    ...(error !== undefined && { error: errorDocument(error) }),
    ...(nextTry !== undefined && { nextTry: new Date(nextTry).toISOString() }),
  };
}

function errorDocument({ code, message, hint }: ArchiveError): Readonly<Record<string, unknown>> {
  return { code, message, hint };
}

function newest<Item>(items: readonly Item[], limit: number = items.length): readonly Item[] {
  return items.slice(Math.max(0, items.length - limit));
}

function lsnText(lsn: bigint | undefined): string | undefined {
  return lsn === undefined ? undefined : formatLsn(lsn);
}
