/** docs/reference/cli.md, made from the commands as commander knows them. */
import { createProgram } from '../../core/src/cli/program.ts';
import { code, MADE, table } from './page.ts';

export type Command = ReturnType<typeof createProgram>;
export type Option = Command['options'][number];

/** The text of the page. */
export function cliPage(): string {
  const program = createProgram();
  return `${MADE}

# Command line

\`pgark COMMAND --help\` prints what stands here.

Results go to stdout, everything else to stderr. What a failure ends with is in [exit codes](exit-codes.md), what its code means in
[errors](errors.md), and what the commands work with in [config](config.md).

## Options of every command

They may stand before or after the name of the command.

${optionTable(program.options)}

${program.commands.flatMap(sections).join('\n\n')}
`;
}

/** A section for a command, or for each command of a group. */
function sections(command: Command): readonly string[] {
  if (command.commands.length > 0) return command.commands.flatMap(sections);
  const path = pathOf(command);
  const operands = command.registeredArguments.map((argument) => {
    const name = argument.required ? `<${argument.name()}>` : `[${argument.name()}]`;
    return { name, meaning: argument.description };
  });
  const usage = [path, ...(command.options.length > 0 ? ['[options]'] : []), ...operands.map(({ name }) => name)];
  const parts = [
    `## ${code(path)}`,
    sentence(command.description()),
    `\`\`\`text\n${usage.join(' ')}\n\`\`\``,
    ...(operands.length === 0
      ? []
      : [
          table(
            ['Argument', 'Meaning'],
            operands.map(({ name, meaning }) => [code(name), meaning]),
          ),
        ]),
    ...(command.options.length === 0 ? [] : [optionTable(command.options)]),
    examplesOf(command)
      .map(([typed, meaning]) => `- ${code(typed)}: ${meaning}`)
      .join('\n'),
  ];
  return [parts.filter((part) => part !== '').join('\n\n')];
}

/** \`pgark config check\` */
export function pathOf(command: Command): string {
  return command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`;
}

/** What an option means, and what holds without it. */
export function meaningOf(option: Option): { readonly text: string; readonly fallback: string } {
  // Where the config has the last word, commander knows no default: it stands in the description.
  const [, text = '', said] = /^(.*?)(?: \(default: (.*)\))?$/.exec(option.description) ?? [];
  return { text, fallback: said ?? option.defaultValueDescription ?? plainDefault(option) };
}

function optionTable(options: readonly Option[]): string {
  const rows = options.map((option) => {
    const { text, fallback } = meaningOf(option);
    const choices = option.argChoices === undefined ? '' : `: ${option.argChoices.map(code).join(', ')}`;
    return [code(option.flags), text + choices, fallback];
  });
  return table(['Option', 'Meaning', 'Default'], rows);
}

function plainDefault({ defaultValue, negate }: Option): string {
  return defaultValue === undefined || negate ? '' : String(defaultValue);
}

export function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

/** The examples of a command's help. */
export function examplesOf(command: Command): readonly (readonly [typed: string, meaning: string])[] {
  let help = '';
  command.configureOutput({ writeOut: (text) => (help += text) });
  command.outputHelp();
  const [, examples = ''] = help.split('\nExamples:\n');
  return examples
    .split('\n')
    .map((line) => /^ {2}\$ (.*?) +# (.*)$/.exec(line))
    .flatMap((match) => (match === null ? [] : [[match[1] ?? '', match[2] ?? ''] as const]));
}
