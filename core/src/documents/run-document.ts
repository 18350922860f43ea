/** Jobs and runs for programs. */
import type { ActiveRun, PlannedRun, Run, RunLine } from '../schedule/run.ts';

export function runDocument(run: Run | ActiveRun): Readonly<Record<string, unknown>> {
  const { planned, started, ended, ...rest } = run;
  return {
    ...rest,
    planned: new Date(planned).toISOString(),
    started: new Date(started).toISOString(),
    ...(ended !== undefined && { ended: new Date(ended).toISOString() }),
  };
}

export function lineDocument({ time, level, message }: RunLine): Readonly<Record<string, unknown>> {
  return { time: new Date(time).toISOString(), level, message };
}

export function jobDocument({ job, next }: PlannedRun): Readonly<Record<string, unknown>> {
  return { job, ...(next !== undefined && { next: new Date(next).toISOString() }) };
}
