import type { Command } from 'commander';
import type { Finding } from '../../check/finding.ts';
import { examples } from '../help.ts';
import { runCommand } from '../run.ts';

interface CheckFlags {
  readonly server: boolean;
  readonly storage: boolean;
}

/** Wide enough for every state and for most checks. */
const STATE_WIDTH = 7;
const CHECK_WIDTH = 14;

export function register(program: Command): void {
  const check = program
    .command('check')
    .description('try the storage and look at the server: one line for each thing that must work')
    .option('--no-server', 'leave the server out')
    .option('--no-storage', 'leave the storage out: nothing is written')
    .action(async (flags: CheckFlags, command: Command) =>
      runCommand(command, async ({ output, archive }) => {
        const opened = await archive();
        const { findings, failure } = await opened.check({
          server: flags.server,
          storage: flags.storage,
          onFinding: (finding) => {
            if (!output.isJson) for (const line of lines(finding)) output.line(line);
          },
        });
        if (output.isJson) output.json({ ok: failure === undefined, findings });
        if (failure !== undefined) throw failure;
      }),
    );
  examples(check, [
    ['pgark check', 'after writing the config, and whenever something is strange'],
    ['pgark check --no-server', 'on a host that cannot reach the server'],
    ['pgark check --json', 'for programs: every finding with its state'],
  ]);
}

function lines({ subject, check, state, message, hint }: Finding): readonly string[] {
  const text = `${state.padEnd(STATE_WIDTH)}  ${subject}: ${check.padEnd(CHECK_WIDTH)}  ${message}`;
  return hint === undefined ? [text] : [text, `${' '.repeat(STATE_WIDTH)}  hint: ${hint}`];
}
