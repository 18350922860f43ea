/** Jobs and runs, and what happens. */
import * as z from 'zod';
import type { JobKind, RunState } from '../../../schedule/run.ts';
import { failure, time } from './common.ts';

export const kind: z.ZodType<JobKind, JobKind> = z.enum(['backup', 'verify', 'drill', 'expire', 'gc', 'check']);
export const runState: z.ZodType<RunState, RunState> = z.enum([
  'running',
  'succeeded',
  'failed',
  'cancelled',
  'interrupted',
  'skipped',
]);

export const run: z.ZodType = z
  .object({
    id: z.string(),
    job: z.string().describe('The name of the job; of what somebody asked for, that of its kind.'),
    kind,
    trigger: z.enum(['schedule', 'catch-up', 'request']),
    by: z.string().optional().describe('Who asked for it.'),
    planned: time('When it was due or asked for.'),
    repeats: z.string().optional().describe('The id of the interrupted run that it does again.'),
    started: time('When it began.'),
    ended: time('When it ended.').optional(),
    state: runState,
    host: z.string(),
    summary: z.string().optional().describe('What it came to, for people.'),
    error: failure.partial({ hint: true }).optional(),
    result: z.record(z.string(), z.unknown()).optional(),
    progress: z
      .object({ done: z.number(), total: z.number().optional(), text: z.string() })
      .optional()
      .describe('How far it is, in bytes, while it runs in this daemon.'),
  })
  .meta({ id: 'Run', description: 'One run of a job.' });

export const runLine: z.ZodType = z.object({
  time: time('When it was said.'),
  level: z.enum(['debug', 'info', 'warn', 'error']),
  message: z.string(),
});

export const schedulerState: z.ZodType = z
  .object({
    state: z.enum(['running', 'waiting', 'stopped']),
    since: time('Since when.'),
    problem: z.string().optional(),
  })
  .describe('One among all daemons of the cluster runs its jobs; the others wait.');

export const plannedJob: z.ZodType = z.object({
  job: z.object({
    name: z.string(),
    do: kind,
    at: z.string(),
    timeZone: z.string(),
    jitter: z.number().describe('Milliseconds.'),
    window: z.number().optional().describe('Milliseconds.'),
    timeout: z.number().optional().describe('Milliseconds.'),
    label: z.string().optional(),
    level: z.string().optional(),
  }),
  next: time('When it is due next.').optional(),
});
