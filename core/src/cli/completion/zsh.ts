import { allCommands, type CompletedCommand, type CompletedOption, type CompletedValue } from './words.ts';

/** A script for zsh: a file `_pgark` in a folder of `fpath`, or to be sourced after `compinit`. */
export function zshCompletion(program: CompletedCommand): string {
  return `#compdef pgark
# Completion of pgark for zsh, made by "pgark completion zsh".

${allCommands(program)
  .toReversed()
  .map((command) => functionOf(command, command.path === '' ? [] : program.options))
  .join('\n\n')}

if [[ \${funcstack[1]} == _pgark ]]; then
  _pgark "$@"
else
  compdef _pgark pgark
fi
`;
}

const nameOf = (path: string): string => `_pgark${path === '' ? '' : `__${path.replaceAll(/[ -]/g, '_')}`}`;

function functionOf(
  { path, commands, options, operands }: CompletedCommand,
  everywhere: readonly CompletedOption[],
): string {
  const specs = [...options, ...everywhere].flatMap(optionSpecs);
  if (commands.length > 0) {
    const described = commands.map(({ name, description }) => quote(`${name}:${description}`));
    return `${nameOf(path)}() {
  local curcontext=$curcontext state line
  local -a commands
  commands=(
    ${described.join('\n    ')}
  )
  _arguments -C \\
    ${[...specs, `'1: :->command'`, `'*:: :->rest'`].join(' \\\n    ')}
  case $state in
    command) _describe -t commands command commands ;;
    rest)
      case $line[1] in
        ${commands.map(({ name, path: below }) => `${name}) ${nameOf(below)} ;;`).join('\n        ')}
      esac
      ;;
  esac
}`;
  }
  const positions = operands.map((value, at) => quote(`${at + 1}: :${actionOf(value)}`));
  return `${nameOf(path)}() {
  _arguments \\
    ${[...specs, ...positions].join(' \\\n    ')}
}`;
}

function optionSpecs({ flags, description, value }: CompletedOption): readonly string[] {
  const text = description.replaceAll(/[\\[\]:]/g, String.raw`\$&`);
  return flags.map((flag) =>
    quote(value.kind === 'none' ? `${flag}[${text}]` : `*${flag}=[${text}]: :${actionOf(value)}`),
  );
}

function actionOf(value: CompletedValue): string {
  if (value.kind === 'choice') return `(${value.choices.join(' ')})`;
  return value.kind === 'file' ? '_files' : ' ';
}

function quote(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
