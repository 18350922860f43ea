/** What a restore or an expiry would do, and the config. All of it reads only. */
import * as z from 'zod';
import type { PlanRestoreCall } from '../../../archive/restore.ts';
import { configDocument } from '../../../documents/config-document.ts';
import { expireDocument } from '../../../documents/expire-document.ts';
import { planDocument } from '../../../documents/plan-document.ts';
import { restoreCommandLine } from '../../../documents/restore-command-line.ts';
import { Registry } from '../../../plugins/registry.ts';
import { parseTarget, parseTimeline } from '../../../restore/target.ts';
import { route, withCluster, type Route } from '../route.ts';
import { clusterParams, none, systemId } from '../schemas/common.ts';
import { configRow } from '../schemas/daemon.ts';
import { expireAnswer, planAnswer } from '../schemas/plans.ts';

const word = (longest: number): z.ZodString => z.string().min(1).max(longest);

const planQuery = z.strictObject({
  time: word(100).optional().describe('To this moment, with its zone: `2026-11-21 06:00:00+02`, `5 minutes ago`.'),
  lsn: word(20).optional().describe('To this position.'),
  xid: word(20).optional().describe('To this transaction.'),
  name: word(63).optional().describe('To this restore point.'),
  target: z.enum(['latest', 'immediate']).optional().describe('To the end of the archive, or of the backup.'),
  exclusive: z.enum(['true', 'false']).optional().describe('To just before a time, position or transaction.'),
  timeline: word(12).optional().describe('`latest`, `current` or a number.'),
  action: z.enum(['pause', 'promote', 'shutdown']).optional().describe('What the server does at the target.'),
  backup: word(64)
    .regex(/^[A-Za-z0-9-]+$/)
    .optional()
    .describe('From this one.'),
  systemId: systemId.optional().describe('If the archive holds several of the name.'),
});

export const planRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/clusters/{cluster}/restore-plan',
    role: 'viewer',
    summary: 'Whether a target can be reached, from which backup over which WAL, and what to run',
    description: 'Without a target: all that the archive has. It reads only, and says nothing of folders.',
    params: clusterParams,
    query: planQuery,
    answer: planAnswer,
    errors: [
      'USAGE',
      'REQUEST_NOT_FOUND',
      'BACKUP_NOT_FOUND',
      'RESTORE_UNREACHABLE',
      'WAL_INVALID',
      'WAL_GAP',
      'STORAGE_CORRUPT',
      'CODEC_CORRUPT',
      'CODEC_KEY',
      'REPOSITORY_FORMAT',
      'STORAGE_UNAVAILABLE',
    ],
    handle: (call) =>
      withCluster(call, ({ archive, name, loaded }) => {
        const wanted = planCall(call.query);
        return call.heavy.run(call.signal, async () => {
          const { plan, settings } = await archive.planRestore({ ...wanted, signal: call.signal });
          return {
            plan: planDocument(plan, settings),
            ...(plan.problems.length === 0 && {
              command: restoreCommandLine(plan, {
                cluster: name,
                timeline: wanted.timeline,
                path: loaded.path,
              }),
            }),
          };
        });
      }),
  }),
  route({
    method: 'GET',
    path: '/clusters/{cluster}/expire-plan',
    role: 'viewer',
    summary: 'What the retention policy keeps and would remove, each with its reason',
    params: clusterParams,
    query: none,
    answer: expireAnswer,
    errors: ['REQUEST_NOT_FOUND', 'STORAGE_UNAVAILABLE'],
    handle: (call) =>
      withCluster(call, ({ archive }) =>
        call.heavy.run(call.signal, async () => {
          const { plans, failures, failure } = await archive.planExpire({ signal: call.signal });
          if (plans.length === 0 && failure !== undefined) throw failure;
          return {
            plans: plans.map((plan) => expireDocument(plan)),
            failures: failures.map(({ repository, error: { code, message } }) => ({ repository, code, message })),
          };
        }),
      ),
  }),
  route({
    method: 'GET',
    path: '/clusters/{cluster}/config',
    role: 'viewer',
    summary: 'Every key of the config with its value and where that comes from, without secrets',
    params: clusterParams,
    query: none,
    answer: z.object({ file: z.string().optional(), settings: z.array(configRow) }),
    errors: ['REQUEST_NOT_FOUND'],
    handle: (call) =>
      withCluster(call, async ({ loaded }) => {
        const { directory, env, path } = loaded;
        const settings = await configDocument(loaded, new Registry({ directory, env, logger: QUIET }), {
          commands: 'redacted',
        });
        return { file: path, settings };
      }),
  }),
];

const QUIET = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

/** Errors: `USAGE` for a target that is none. */
function planCall(
  query: z.output<typeof planQuery>,
): PlanRestoreCall & { readonly timeline: NonNullable<PlanRestoreCall['timeline']> } {
  const { time, lsn, xid, name, target, exclusive, timeline = 'latest', action, backup, systemId: system } = query;
  const wanted = { time, lsn, xid, name, target, ...(exclusive === 'true' && { exclusive: true }) };
  // Before it waits for a place.
  parseTarget(wanted);
  return {
    target: wanted,
    timeline: parseTimeline(timeline),
    ...(action !== undefined && { action }),
    ...(backup !== undefined && { backup }),
    ...(system !== undefined && { systemId: system }),
  };
}
