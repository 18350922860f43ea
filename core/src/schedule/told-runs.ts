/** What is told of runs: the events of those that have ended, and all to whoever looks on. */
import type { EventSink } from '../contracts/hook.ts';
import type { RunSink } from './run.ts';

export interface ToldRunsOptions {
  readonly emit: EventSink;
  readonly onRun?: RunSink;
}

export function toldRuns({ emit, onRun }: ToldRunsOptions): RunSink {
  return (run, error) => {
    onRun?.(run, error);
    const { id, job, kind, state, summary = '' } = run;
    if (state === 'succeeded') emit('run.finished', { run: id, job, kind, message: summary });
    else if (state === 'failed' || state === 'interrupted' || state === 'skipped')
      emit('run.failed', { run: id, job, kind, state, code: error?.code ?? '', message: error?.message ?? summary });
  };
}
