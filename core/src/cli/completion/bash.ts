import { allCommands, type CompletedCommand, type CompletedOption, type CompletedValue } from './words.ts';

/** A script for bash 4 and later that needs nothing else. */
export function bashCompletion(program: CompletedCommand): string {
  const commands = allCommands(program);
  const withValue = commands.flatMap(({ path, options }) => options.filter(takes).map((one) => patternOf(path, one)));
  const everywhere = program.options;
  return `# Completion of pgark for bash, made by "pgark completion bash".
_pgark() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD - 1]} command='' word at operands=0
  # --option=value comes as three words.
  if [[ $current == = ]]; then
    current=''
  elif [[ $previous == = ]]; then
    previous=\${COMP_WORDS[COMP_CWORD - 2]}
  fi
  for ((at = 1; at < COMP_CWORD; at++)); do
    word=\${COMP_WORDS[at]}
    case $command:$word in
      *:=) ;;
      ${withValue.join(' | ')})
        at=$((at + 1))
        if [[ \${COMP_WORDS[at]} == = ]]; then at=$((at + 1)); fi
        ;;
      *:-*) ;;
      *)
        case "$command $word" in
          ${commands
            .filter(({ path }) => path !== '')
            .map(({ path }) => `'${path.includes(' ') ? path : ` ${path}`}'`)
            .join(' | ')}) command="\${command:+$command }$word" ;;
          *) operands=$((operands + 1)) ;;
        esac
        ;;
    esac
  done
  COMPREPLY=()
  case "$command:$previous" in
${commands.flatMap(({ path, options }) => options.filter(takes).map((option) => valueCase(path, option))).join('\n')}
  esac
  if [[ $current == -* ]]; then
    case $command in
${commands
  .map(({ path, options }) => `      '${path}') word='${flagsOf(path === '' ? [] : options).join(' ')}' ;;`)
  .join('\n')}
    esac
    COMPREPLY=($(compgen -W "$word ${flagsOf(everywhere).join(' ')}" -- "$current"))
    return
  fi
  case "$command" in
${commands.flatMap(operandCase).join('\n')}
  esac
}
complete -F _pgark pgark
`;
}

const takes = ({ value }: CompletedOption): boolean => value.kind !== 'none';
const flagsOf = (options: readonly CompletedOption[]): readonly string[] => options.flatMap(({ flags }) => flags);

/** An option of a command as a pattern; those of every command hold everywhere. */
function patternOf(path: string, { flags }: CompletedOption): string {
  return flags.map((flag) => (path === '' ? `*:${flag}` : `'${path}:${flag}'`)).join(' | ');
}

function valueCase(path: string, option: CompletedOption): string {
  return `    ${patternOf(path, option)})\n${wordsFor(option.value, '      ')}\n      return\n      ;;`;
}

function operandCase({ path, commands, operands }: CompletedCommand): readonly string[] {
  if (commands.length > 0)
    return [
      `    '${path}') COMPREPLY=($(compgen -W '${commands.map(({ name }) => name).join(' ')}' -- "$current")) ;;`,
    ];
  if (operands.length === 0) return [];
  const cases = operands.map((value, at) => {
    const isLast = at === operands.length - 1;
    return `        ${isLast ? '*' : at})\n${wordsFor(value, '          ')}\n          ;;`;
  });
  return [`    '${path}')\n      case $operands in\n${cases.join('\n')}\n      esac\n      ;;`];
}

function wordsFor(value: CompletedValue, indent: string): string {
  if (value.kind === 'choice') return `${indent}COMPREPLY=($(compgen -W '${value.choices.join(' ')}' -- "$current"))`;
  if (value.kind !== 'file') return `${indent}: # nobody knows`;
  return `${indent}compopt -o filenames 2>/dev/null\n${indent}mapfile -t COMPREPLY < <(compgen -f -- "$current")`;
}
