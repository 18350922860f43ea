/** What is shown of drills. */
import type { DrillCheck, DrillPhases, DrillRecord } from '../drill/drill-result.ts';
import type { DrillProgress, DrillResult } from '../drill/drill.ts';
import { RestoreProgressText } from './restore-progress.ts';
import { formatBytes, formatDuration } from '../documents/format.ts';

/** Turns the progress of a drill into one line of text. */
export class DrillProgressText {
  readonly #restore: RestoreProgressText;
  #progress: DrillProgress | undefined;

  /** With `bar` a bar is drawn. */
  constructor(options: { readonly bar: boolean }) {
    this.#restore = new RestoreProgressText(options);
  }

  update(progress: DrillProgress): void {
    this.#progress = progress;
    if (progress.stage === 'restore') this.#restore.update(progress.restore);
  }

  toString(): string {
    const progress = this.#progress;
    if (progress === undefined) return 'drill: reading the archive';
    return progress.stage === 'restore'
      ? `drill: ${this.#restore.toString()}`
      : `drill: ${STAGES[progress.stage]}${progress.text}`;
  }
}

const STAGES = { plan: '', wal: 'reading the WAL: ', recovery: 'recovery: ', checks: 'checks: ' } as const;

/** The log of the server that is shown when a drill is not proven. */
const SHOWN = 15;

/** A drill for people. */
export function drillLines({ backup, record, checks, log, kept }: DrillResult): readonly string[] {
  const { outcome, target, reached, phases, problem } = record;
  const lines: (readonly [string, string])[] = [
    ['backup', `${backup} in repository ${record.repository}`],
    ['target', `${target.text}${target.seed === undefined ? '' : `, drawn with --seed ${target.seed}`}`],
    ...(reached === undefined ? [] : [['reached', reachedText(reached)] as const]),
    ...(record.serverVersion === undefined
      ? []
      : [['server', `PostgreSQL ${versionText(record.serverVersion)} on ${record.host}`] as const]),
    ...(record.bytes === 0 ? [] : [['data', formatBytes(record.bytes)] as const]),
    ['time', phasesText(phases)],
    ...checks.map((check, at) => [at === 0 ? 'checks' : '', checkText(check)] as const),
    ['outcome', outcome.toUpperCase()],
    ...(problem === undefined ? [] : [['problem', problem.message] as const]),
    ...(kept === undefined ? [] : [['kept', `${kept}, until the next drill`] as const]),
    ...(outcome === 'proven'
      ? []
      : log.slice(-SHOWN).map(({ severity, text }) => ['log', `${severity}: ${text}`] as const)),
  ];
  return lines.map(([title, text]) => `${title.padEnd(9)}${text}`);
}

function reachedText({ lsn, timeline, time }: NonNullable<DrillRecord['reached']>): string {
  return `${lsn} on timeline ${timeline}${time === undefined ? '' : `, last transaction ${time}`}`;
}

function checkText({ name, outcome, detail, said }: DrillCheck): string {
  return `${name}: ${outcome}${detail === '' ? '' : `, ${detail}`}${said === undefined ? '' : ` (${said.trim()})`}`;
}

function phasesText(phases: DrillPhases): string {
  return Object.entries(phases)
    .map(([phase, seconds]) => `${phase} ${formatDuration(seconds * 1000)}`)
    .join(', ');
}

/** `150018` as `15.18`. */
function versionText(version: number): string {
  return `${Math.floor(version / 10_000)}.${version % 10_000}`;
}

/** A drill for programs: what is recorded, and what is not. */
export function drillDocument(
  { systemId, backup, record, checks, kept }: DrillResult,
  { recorded, warnings }: { readonly recorded: boolean; readonly warnings: readonly string[] },
): Readonly<Record<string, unknown>> {
  return { backup, systemId, ...record, checks, recorded, warnings, kept };
}
