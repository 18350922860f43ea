/** Runs as facts: kind `begun` when one begins, `ended` when it ends, both at the moment that it was due or asked for. */
import * as z from 'zod';
import type { Fact } from '../repository/facts.ts';
import { formatStamp, parseStamp } from '../repository/layout.ts';
import type { Run } from './run.ts';

/** Written once: it is the claim of a moment. */
export const BEGUN = 'begun';
export const ENDED = 'ended';
/** Of a job: from when on its moments count, by this expression. */
export const PLANNED = 'planned';

/** Characters of a text in a fact. */
const LONGEST = 500;

/** A text that is short enough for a fact, on one line. */
export function bounded(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ').trim();
  return line.length <= LONGEST ? line : `${line.slice(0, LONGEST - 3)}...`;
}

/** The id of a run. */
export function runId(job: string, planned: number): string {
  return `${job}-${formatStamp(planned)}`;
}

/** What an id says; undefined for a text that is none. */
export function parseRunId(id: string): Pick<Run, 'job' | 'planned'> | undefined {
  const [, job, stamp = ''] = /^([a-z0-9][a-z0-9-]{0,40})-([^-]+)$/.exec(id) ?? [];
  const planned = parseStamp(stamp);
  return job === undefined || planned === undefined ? undefined : { job, planned };
}

const kinds = z.enum(['backup', 'verify', 'drill', 'expire', 'gc', 'check']);
const states = z.enum(['running', 'succeeded', 'failed', 'cancelled', 'interrupted', 'skipped']);
const time = z.iso.datetime().transform((text) => Date.parse(text));

const schema = z.object({
  kind: kinds,
  trigger: z.enum(['schedule', 'catch-up', 'request']),
  state: states,
  host: z.string(),
  started: time,
  ended: time.optional(),
  by: z.string().optional(),
  repeats: z.string().optional(),
  summary: z.string().optional(),
  error: z.object({ code: z.string(), message: z.string(), hint: z.string().optional() }).optional(),
  result: z.record(z.string(), z.unknown()).optional(),
});

/** What a run is on record with. `claim` says of which scheduler it is. */
export function factOf(kind: typeof BEGUN | typeof ENDED, run: Run, claim: string): Fact {
  const { kind: does, trigger, state, host, started, ended, by, repeats, summary, error, result } = run;
  const data = {
    kind: does,
    trigger,
    state,
    host,
    started: new Date(started).toISOString(),
    ...(ended === undefined ? {} : { ended: new Date(ended).toISOString() }),
    ...(by === undefined ? {} : { by }),
    ...(repeats === undefined ? {} : { repeats }),
    ...(summary === undefined ? {} : { summary: bounded(summary) }),
    ...(error === undefined ? {} : { error: boundedError(error) }),
    ...(result === undefined ? {} : { result }),
    claim,
  };
  return { kind, time: run.planned, data };
}

function boundedError({ code, message, hint }: NonNullable<Run['error']>): NonNullable<Run['error']> {
  return { code, message: bounded(message), ...(hint === undefined ? {} : { hint: bounded(hint) }) };
}

/** The run that a fact tells of; undefined for one of a form that this version does not know. */
export function runOf(job: string, { time: planned, data }: Fact): Run | undefined {
  const parsed = schema.safeParse(data);
  if (!parsed.success) return undefined;
  const { ended, by, repeats, summary, error, result, ...rest } = parsed.data;
  return {
    id: runId(job, planned),
    job,
    planned,
    ...rest,
    ...(ended === undefined ? {} : { ended }),
    ...(by === undefined ? {} : { by }),
    ...(repeats === undefined ? {} : { repeats }),
    ...(summary === undefined ? {} : { summary }),
    ...(error === undefined
      ? {}
      : {
          error: {
            code: error.code,
            message: error.message,
            ...(error.hint === undefined ? {} : { hint: error.hint }),
          },
        }),
    ...(result === undefined ? {} : { result }),
  };
}
