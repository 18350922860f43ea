/** The daemon and its clusters. */
import * as z from 'zod';
import { failure, look, lsn, time } from './common.ts';
import { schedulerState } from './runs.ts';

export const daemonDocument: z.ZodType = z
  .object({
    version: z.string(),
    host: z.string(),
    started: time('When it was started.'),
    state: z.enum(['starting', 'running', 'draining']),
    caller: z.object({ name: z.string(), role: z.enum(['viewer', 'operator']) }).describe('Who asks.'),
    clusters: z.array(z.string()),
  })
  .meta({ id: 'Daemon' });

const part = z.object({
  name: z.string(),
  state: z.enum(['starting', 'running', 'failed', 'stopped']),
  since: time('Since when.'),
  restarts: z.int().nonnegative(),
  error: failure.optional().describe('Why it ended last.'),
  nextTry: time('When it begins again.').optional(),
});

export const clusterSummary: z.ZodType = z
  .object({
    name: z.string(),
    level: z.enum(['ok', 'warning', 'critical', 'unknown']),
    canRestoreTo: z.string().optional().describe('Absent when the last look could not tell.'),
    reasons: z.array(z.string()).optional().describe('Why the level is not better, the worst first.'),
    parts: z.array(part),
    scheduler: schedulerState,
    look: look.optional().describe('Absent before the first one.'),
  })
  .meta({ id: 'ClusterSummary' });

export const brokenCluster: z.ZodType = z.object({
  name: z.string(),
  error: failure.describe('Why nothing is done for it.'),
});

export const sample: z.ZodType = z.object({
  time: time('When it was taken.'),
  server: lsn('The end of the server’s WAL.').optional(),
  received: lsn('Received.').optional(),
  flushed: lsn('Durable in the spool.').optional(),
  shipped: lsn('What every repository has.').optional(),
});

export const event: z.ZodType = z.object({
  time: time('When it was told.'),
  name: z.string().describe('See docs/reference/events.md.'),
  data: z.record(z.string(), z.unknown()),
});

export const configRow: z.ZodType = z.object({
  key: z.string(),
  value: z.unknown().optional().describe('Secrets are `[redacted]`.'),
  origin: z.discriminatedUnion('kind', [
    z.object({ kind: z.literal('default') }),
    z.object({ kind: z.literal('file'), file: z.string(), line: z.int().optional() }),
    z.object({ kind: z.literal('env'), name: z.string() }),
  ]),
});
