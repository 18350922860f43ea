import { Option, type Command } from 'commander';
import { EVENT_NAMES } from '../../contracts/event-table.ts';
import type { EventName } from '../../contracts/hook.ts';
import { formatDuration } from '../../documents/format.ts';
import { examples } from '../help.ts';
import { runCommand, type CommandContext } from '../run.ts';

export function register(program: Command): void {
  const group = program.command('hooks').description('whom the archive tells what happens').helpCommand(false);
  const test = group
    .command('test')
    .description('tell hooks of an example, whatever they choose by name and severity, and say which of them were told')
    .argument('[names...]', 'of hooks of the config (default: all)')
    .addOption(
      new Option(
        '--event <name>',
        'which event; one that opens a condition is followed by its end (default: backup.finished)',
      ).choices(EVENT_NAMES),
    )
    .action(async (names: readonly string[], flags: { readonly event?: EventName }, command: Command) =>
      runCommand(command, (context) => run(names, flags, context)),
    );
  examples(test, [
    ['pgark hooks test', 'after the config was changed: each hook gets a message that calls itself a test'],
    ['pgark hooks test pagerduty --event backup.failed', 'an alert that is resolved at once'],
  ]);
}

async function run(
  names: readonly string[],
  { event }: { readonly event?: EventName },
  { output, archive }: CommandContext,
): Promise<void> {
  const opened = await archive();
  const { hooks, failure } = await opened.tryHooks({ hooks: names, ...(event === undefined ? {} : { event }) });
  if (output.isJson)
    output.json(
      hooks.map(({ error, milliseconds, ...hook }) => ({
        ...hook,
        milliseconds: Math.round(milliseconds),
        told: error === undefined,
        ...(error === undefined ? {} : { code: error.code, message: error.message }),
      })),
    );
  else
    output.table(hooks, [
      { title: 'HOOK', value: ({ name }) => name },
      { title: 'PLUGIN', value: ({ use }) => use },
      { title: 'TIME', value: ({ milliseconds }) => formatDuration(milliseconds), align: 'right' },
      { title: 'RESULT', value: ({ error }) => (error === undefined ? 'told' : `${error.code}: ${error.message}`) },
    ]);
  if (failure !== undefined) throw failure;
}
