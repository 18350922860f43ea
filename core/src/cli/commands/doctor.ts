import type { Command } from 'commander';
import type { ExaminedPart } from '../../archive/doctor.ts';
import { VERSION } from '../../version.ts';
import { formatTime } from '../../documents/format.ts';
import { examples } from '../help.ts';
import { originText } from '../origin-text.ts';
import type { Output } from '../output.ts';
import { runPlain, type PlainContext } from '../run.ts';

export function register(program: Command): void {
  const doctor = program
    .command('doctor')
    .description(
      'look at host, config, secrets, permissions, disk, server, storage, clocks and plugins: one report without secrets, for an issue',
    )
    .action(async (_, command: Command) => runPlain(command, run));
  examples(doctor, [
    ['pgark doctor', 'when something is wrong and it is not known what; it also works with a broken config'],
    ['pgark doctor > report.txt', 'for an issue: secrets are taken out; read it before you paste it all the same'],
    ['pgark doctor --json', 'for programs: each part with its findings'],
  ]);
}

async function run({ globals, output, logger, env, directory, signal }: PlainContext): Promise<void> {
  const { examine, failureOf } = await import('../../archive/doctor.ts');
  const parts: ExaminedPart[] = [];
  const time = Date.now();
  if (!output.isJson) output.line(`pgark ${VERSION} doctor, ${formatTime(time)}`);
  for await (const part of examine({
    path: globals.config,
    cluster: globals.cluster,
    env,
    directory,
    logger,
    signal,
  })) {
    parts.push(part);
    if (!output.isJson) print(output, part);
  }
  const failure = failureOf(parts);
  if (output.isJson) {
    output.json({ ok: failure === undefined, version: VERSION, time: new Date(time).toISOString(), parts });
  } else output.line(`\n${summary(parts)}`);
  if (failure !== undefined) throw failure;
}

/** Wide enough for every state. */
const STATE_WIDTH = 7;

function print(output: Output, { part, cluster, findings, settings = [] }: ExaminedPart): void {
  if (findings.length === 0 && settings.length === 0) return;
  output.line(`\n== ${part}${cluster === undefined ? '' : ` of cluster ${cluster}`}`);
  const nameOf = ({ subject, check }: ExaminedPart['findings'][number]): string =>
    subject === part ? check : `${subject}: ${check}`;
  const width = Math.min(40, Math.max(0, ...findings.map((finding) => nameOf(finding).length)));
  for (const finding of findings) {
    output.line(`${finding.state.padEnd(STATE_WIDTH)}  ${nameOf(finding).padEnd(width)}  ${finding.message}`);
    if (finding.hint !== undefined) output.line(`${' '.repeat(STATE_WIDTH)}  hint: ${finding.hint}`);
  }
  if (settings.length === 0) return;
  output.table(settings, [
    { title: 'KEY', value: ({ key }) => key },
    { title: 'VALUE', value: ({ value }) => (typeof value === 'string' ? value : JSON.stringify(value)) },
    { title: 'ORIGIN', value: ({ origin }) => originText(origin) },
  ]);
}

function summary(parts: readonly ExaminedPart[]): string {
  const states = parts.flatMap(({ findings }) => findings.map(({ state }) => state));
  const count = (state: string): number => states.filter((one) => one === state).length;
  return `${count('failed')} failed, ${count('warning')} warnings, ${count('skipped')} skipped, ${count('ok')} ok`;
}
