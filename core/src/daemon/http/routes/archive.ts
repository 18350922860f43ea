/** What the archive holds, as it was seen last. */
import * as z from 'zod';
import type { ListedBackup } from '../../../archive/list.ts';
import { lookFailure } from '../look-failure.ts';
import { listedDocument } from '../../../documents/backup-document.ts';
import { gapDocument } from '../../../documents/gap-document.ts';
import { mapDocument } from '../../../documents/map-document.ts';
import { statusDocument } from '../../../documents/status-document.ts';
import { walDocument } from '../../../documents/wal-document.ts';
import type { DaemonCluster, Look } from '../../daemon.ts';
import { notFound } from '../answers.ts';
import { lookDocument, looked } from '../look-document.ts';
import { isRefusal, type Refusal } from '../refusal.ts';
import { route, withCluster, type Route, type RouteCall } from '../route.ts';
import { backup, listedBackup } from '../schemas/backups.ts';
import { clusterParams, look, name, none, number } from '../schemas/common.ts';
import { gap, map, status, wal } from '../schemas/map.ts';

/** Of what a look shows; the storage that could not be read is told by its own code. */
const LOOK_ERRORS = ['REQUEST_NOT_FOUND', 'DAEMON_LOOKING', 'STORAGE_UNAVAILABLE', 'STORAGE_DENIED'] as const;

/** Backups in one answer. */
const PAGE = 100;
const MOST = 1000;

export const archiveRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/clusters/{cluster}/status',
    role: 'viewer',
    summary: 'What the cluster can be restored to, and what says so',
    params: clusterParams,
    query: none,
    answer: z.object({ look, status }),
    errors: LOOK_ERRORS,
    handle: (call) =>
      withLook(call, ({ status: found }) => found && { status: statusDocument(found.status, found.judgement) }),
  }),
  route({
    method: 'GET',
    path: '/clusters/{cluster}/map',
    role: 'viewer',
    summary: 'Which positions and moments can be restored, where not, and why',
    params: clusterParams,
    query: none,
    answer: z.object({ look, map }),
    errors: LOOK_ERRORS,
    handle: (call) =>
      withLook(call, (seen, cluster) => {
        const drawn = seen.status?.status.map;
        return drawn && drawn.repositories.length > 0 ? { map: mapDocument(cluster.name, drawn) } : undefined;
      }),
  }),
  route({
    method: 'GET',
    path: '/clusters/{cluster}/wal',
    role: 'viewer',
    summary: 'The WAL: runs of segments, holes, slices of what is not whole, gaps on record',
    params: clusterParams,
    query: none,
    answer: z.object({ look, systems: z.array(wal) }),
    errors: LOOK_ERRORS,
    handle: (call) =>
      withLook(call, (seen) => {
        const drawn = seen.status?.status.map;
        return drawn && drawn.repositories.length > 0 ? { systems: drawn.systems.map(walDocument) } : undefined;
      }),
  }),
  route({
    method: 'GET',
    path: '/clusters/{cluster}/backups',
    role: 'viewer',
    summary: 'The backups, newest first',
    description:
      'Of a record all but its parts, of which there may be thousands: they are in the answer for one backup.',
    params: clusterParams,
    query: z.strictObject({
      repository: name.optional().describe('In this one. Default: in all.'),
      limit: number(1, MOST).optional().describe(`At most so many. Default ${PAGE}.`),
      before: backupId().optional().describe('Only those with an id before this one: the last of the answer before.'),
    }),
    answer: z.object({
      look,
      backups: z.array(listedBackup),
      more: z.boolean().describe('Whether there are older ones.'),
      gaps: z.array(gap).describe('All that keep one of them from being rolled forward to the end.'),
    }),
    errors: LOOK_ERRORS,
    handle: (call) =>
      withLook(call, ({ backups: list }) => {
        if (list === undefined) return undefined;
        const { repository, before, limit = PAGE } = call.query;
        const fitting = list.backups
          .filter((one) => repository === undefined || one.repository === repository)
          .filter(({ id }) => before === undefined || id < before)
          .toSorted((one, other) => (one.id < other.id ? 1 : one.id > other.id ? -1 : 0));
        const page = fitting.slice(0, limit);
        // All copies of the last one, so that who goes on behind it misses none.
        const whole = [...page, ...fitting.slice(limit).filter(({ id }) => id === page.at(-1)?.id)];
        return {
          backups: whole.map(shortDocument),
          more: whole.length < fitting.length,
          gaps: list.gaps.map(gapDocument),
        };
      }),
  }),
  route({
    method: 'GET',
    path: '/clusters/{cluster}/backups/{id}',
    role: 'viewer',
    summary: 'One backup with its parts, and all of its copies',
    params: clusterParams.extend({ id: backupId().describe('Its id, or `latest`: the newest that can be restored.') }),
    query: none,
    answer: z.object({ look, backup }),
    errors: [...LOOK_ERRORS],
    handle: (call) =>
      withLook(call, (seen) => {
        if (seen.backups === undefined) return undefined;
        const { id } = call.params;
        const wanted = id === 'latest' ? seen.status?.status.lastBackup?.backup.backup.id : id;
        const document = wanted === undefined ? undefined : backupDocument(wanted, seen, seen.backups.backups);
        return document === undefined ? notFound(`complete backup "${id}"`) : { backup: document };
      }),
  }),
];

function backupId(): z.ZodString {
  return z.string().regex(/^[A-Za-z0-9-]{1,64}$/);
}

/**
 * Answers from the last look. Where it did not see what is asked for, the answer is why: an outage is told as one, and never as nothing.
 */
function withLook(
  call: RouteCall<{ readonly cluster: string }, unknown, unknown>,
  work: (look: Look, cluster: DaemonCluster) => Readonly<Record<string, unknown>> | Refusal | undefined,
): Promise<unknown> {
  return withCluster(call, (cluster) => {
    const seen = looked(cluster);
    if (isRefusal(seen)) return seen;
    const document = work(seen, cluster);
    if (document === undefined) throw lookFailure(cluster, seen);
    return isRefusal(document) ? document : { look: lookDocument(seen, call.daemon), ...document };
  });
}

function shortDocument(listed: ListedBackup): Readonly<Record<string, unknown>> {
  const document = listedDocument(listed);
  if (listed.state !== 'complete') return document;
  const { parts: _, manifest: __, fileList: ___, ...record } = listed.record;
  return { ...document, record };
}

function backupDocument(
  id: string,
  { status: found }: Look,
  listed: readonly ListedBackup[],
): Readonly<Record<string, unknown>> | undefined {
  const copies = listed.filter((one) => one.id === id).filter((one) => one.state === 'complete');
  const [first] = copies;
  if (first === undefined) return undefined;
  const mapped = found?.status.map.systems.flatMap((system) => system.backups).find((one) => one.backup.id === id);
  return {
    id,
    state: mapped?.verdict.state ?? 'unknown',
    ...(mapped !== undefined && 'problem' in mapped.verdict && { problem: mapped.verdict.problem }),
    record: first.record,
    copies: copies.map((copy) => {
      const { id: _, state: __, systemId: ___, record: ____, ...rest } = listedDocument(copy);
      return rest;
    }),
  };
}
