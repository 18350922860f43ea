/** What runs of jobs do: the operations of the archive, and what they come to in one line. */
import { formatSize } from '../guardian/format-size.ts';
import { isArchiveError } from '../contracts/errors.ts';
import type { EventSink } from '../contracts/hook.ts';
import { pause } from '../schedule/clock.ts';
import type { Work, WorkContext, WorkDone } from '../schedule/running-job.ts';
import type { Workplace } from './workplace.ts';

export interface RunWorkOptions {
  /** Told of each event beside the hooks. */
  readonly onEvent?: EventSink;
  /** Milliseconds between two tries of what waits for another removal. Default a minute. */
  readonly retryPause?: number;
}

/** Milliseconds between two tries, and tries: a lease of who was killed has ended by then. */
const RETRY_PAUSE = 60_000;
const MOST_TRIES = 17;

/** The work of runs in an archive. */
export function runWork(at: Workplace, { onEvent, retryPause = RETRY_PAUSE }: RunWorkOptions): Work {
  return async (context) => {
    const own = { ...at, logger: context.logger, signal: AbortSignal.any([at.signal, context.signal]) };
    const telling = onEvent === undefined ? {} : { onEvent };
    switch (context.run.kind) {
      case 'backup':
        return backup(own, context, telling);
      case 'verify':
        return verify(own, context, telling);
      case 'drill':
        return drill(own, context, telling);
      case 'expire':
        return alone(own, retryPause, () => expire(own, context, telling));
      case 'gc':
        return alone(own, retryPause, () => gc(own, context));
      case 'check':
        return check(own, context, telling);
    }
  };
}

interface Telling {
  readonly onEvent?: EventSink;
}

const size = (bytes: number): string => formatSize(BigInt(bytes));
const count = (number: number, noun: string): string => `${number} ${noun}${number === 1 ? '' : 's'}`;

async function backup(at: Workplace, { label, onProgress }: WorkContext, telling: Telling): Promise<WorkDone> {
  const { backup: take } = await import('./backup.ts');
  const { record, repositories, failure } = await take(at, {
    ...telling,
    ...(label === undefined ? {} : { label }),
    onProgress: (progress) => {
      if (progress.stage === 'locking') return onProgress({ done: progress.looked, text: 'extending locks' });
      const { stage, bytes, totalBytes } = progress;
      onProgress({ done: bytes, ...(totalBytes === undefined ? {} : { total: totalBytes }), text: stage });
    },
  });
  const stored = repositories.flatMap((one) => ('record' in one ? [one.name] : []));
  const behind = repositories.flatMap((one) => ('error' in one ? [one.name] : []));
  const suspect = record.suspect !== undefined;
  return {
    summary:
      `backup ${record.id}, ${size(record.dataSize)}` +
      (suspect ? ', SUSPECT: the server found damaged pages' : '') +
      (behind.length > 0 ? `, not in ${behind.join(', ')}` : ''),
    result: { backup: record.id, bytes: record.dataSize, repositories: stored, behind, suspect },
    failure,
  };
}

async function verify(
  at: Workplace,
  { level = 'sample', onProgress }: WorkContext,
  telling: Telling,
): Promise<WorkDone> {
  const { verify: look } = await import('./verify.ts');
  const { findingsOf, skippedOf } = await import('./verify-failure.ts');
  const { repositories, failure } = await look(at, {
    ...telling,
    level,
    onProgress: ({ repository, subject, bytes, totalBytes }) =>
      onProgress({ done: bytes, total: totalBytes, text: `${subject} of repository ${repository}` }),
  });
  const each = repositories.map((one) =>
    'result' in one
      ? { name: one.repository, findings: findingsOf(one.result).length, skipped: skippedOf(one.result).length }
      : { name: one.repository, error: one.error.code },
  );
  const names = repositories.map(({ repository }) => repository).join(', ');
  return {
    summary: failure === undefined ? `verified ${names} (${level})` : failure.message,
    result: { level, repositories: each },
    failure,
  };
}

async function drill(at: Workplace, { onProgress }: WorkContext, telling: Telling): Promise<WorkDone> {
  const { drill: prove } = await import('./drill.ts');
  const {
    backup: id,
    record,
    failure,
  } = await prove(at, {
    ...telling,
    onProgress: (progress) =>
      onProgress(
        progress.stage === 'restore'
          ? { done: progress.restore.bytes, total: progress.restore.totalBytes, text: 'restore' }
          : { done: 0, text: progress.text },
      ),
  });
  const { outcome, reached, repository } = record;
  return {
    summary:
      failure?.message ?? `backup ${id} of repository ${repository} is proven up to ${reached?.lsn ?? 'its end'}`,
    result: { backup: id, repository, outcome, ...(reached === undefined ? {} : { lsn: reached.lsn }) },
    failure,
  };
}

async function expire(at: Workplace, { onProgress }: WorkContext, telling: Telling): Promise<WorkDone> {
  const { expire: remove } = await import('./expire.ts');
  const { results, failure } = await remove(at, {
    ...telling,
    onProgress: (progress) =>
      onProgress(
        progress.stage === 'locking'
          ? { done: progress.looked, text: 'extending locks' }
          : { done: progress.objects, text: `removing from repository ${progress.repository}` },
      ),
  });
  const sum = (of: (result: (typeof results)[number]) => number): number =>
    results.reduce((all, one) => all + of(one), 0);
  const [backups, objects, bytes] = [
    sum(({ removed }) => removed.length),
    sum((one) => one.objects),
    sum((one) => one.bytes),
  ];
  const removed = results.map(({ plan, removed: ids, locked }) => ({ name: plan.repository, backups: ids, locked }));
  return {
    summary: `${count(backups, 'backup')} and ${count(objects, 'object')} removed, ${size(bytes)}`,
    result: { repositories: removed, objects, bytes },
    failure,
  };
}

async function gc(at: Workplace, { onProgress }: WorkContext): Promise<WorkDone> {
  const { gc: remove } = await import('./garbage.ts');
  const { repositories, failure } = await remove(at, {
    onProgress: ({ objects, repository }) =>
      onProgress({ done: objects, text: `removing from repository ${repository}` }),
  });
  const objects = repositories.reduce((sum, one) => sum + one.objects, 0);
  const bytes = repositories.reduce((sum, one) => sum + one.bytes, 0);
  return {
    summary: `${count(objects, 'object')} that nothing accounts for removed, ${size(bytes)}`,
    result: { repositories: repositories.map(({ repository }) => repository), objects, bytes },
    failure,
  };
}

async function check(at: Workplace, { onProgress, logger }: WorkContext, telling: Telling): Promise<WorkDone> {
  const { check: look } = await import('./check.ts');
  let done = 0;
  const { findings, failure } = await look(at, {
    ...telling,
    onFinding: ({ subject, check: name, state, message }) => {
      done += 1;
      onProgress({ done, text: `${subject}: ${name}` });
      if (state === 'failed' || state === 'warning') logger.warn({ check: name, state }, `${subject}: ${message}`);
    },
  });
  const number = (wanted: string): number => findings.filter(({ state }) => state === wanted).length;
  const [failed, warnings] = [number('failed'), number('warning')];
  return {
    summary: failure?.message ?? `${count(findings.length, 'check')}, ${count(warnings, 'warning')}`,
    result: { checks: findings.length, failed, warnings },
    failure,
  };
}

/** Tries again while somebody else removes objects, as one who was killed seems to do until its lease has ended. */
async function alone(at: Workplace, wait: number, work: () => Promise<WorkDone>): Promise<WorkDone> {
  for (let tries = 1; ; tries++) {
    const done = await work();
    if (!isArchiveError(done.failure, 'RETENTION_BUSY') || tries === MOST_TRIES || at.signal.aborted) return done;
    at.logger.info({}, `it waits for another one: ${done.failure.message}`);
    await pause(wait, at.signal);
  }
}
