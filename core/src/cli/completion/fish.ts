import { allCommands, type CompletedCommand, type CompletedOption, type CompletedValue } from './words.ts';

/** A script for fish 3.4 and later. */
export function fishCompletion(program: CompletedCommand): string {
  const commands = allCommands(program);
  // The same flag may take a value in one command and none in another.
  const withValue = commands.flatMap(({ path, options }) =>
    options
      .filter(({ value }) => value.kind !== 'none')
      .flatMap(({ flags }) => flags.map((flag) => quote(`${path === '' ? '*' : path}:${flag}`))),
  );
  return `# Completion of pgark for fish, made by "pgark completion fish".
function __pgark_command
    set -l words (commandline -opc)
    set -e words[1]
    set -l command
    set -l skip no
    for word in $words
        if test $skip = yes
            set skip no
            continue
        end
        switch "$command:$word"
            case ${withValue.join(' ')}
                set skip yes
            case '*:-*'
            case '*'
                switch "$command $word"
                    case ${commands
                      .filter(({ path }) => path !== '')
                      .map(({ path }) => quote(path.includes(' ') ? path : ` ${path}`))
                      .join(' ')}
                        set command (string trim -- "$command $word")
                end
        end
    end
    echo "$command"
end

function __pgark_at
    test "$(__pgark_command)" = "$argv[1]"
end

complete -c pgark -f
${program.options.map((option) => optionLine(undefined, option)).join('\n')}
${commands.flatMap(linesOf).join('\n')}
`;
}

function linesOf({ path, commands, options, operands }: CompletedCommand): readonly string[] {
  const at = `-n ${quote(`__pgark_at '${path}'`)}`;
  const words = operands.flatMap((value) => (value.kind === 'choice' ? value.choices : []));
  return [
    ...commands.map(({ name, description }) => `complete -c pgark ${at} -a ${name} -d ${quote(description)}`),
    ...(path === '' ? [] : options.map((option) => optionLine(at, option))),
    ...(words.length === 0 ? [] : [`complete -c pgark ${at} -a ${quote(words.join(' '))}`]),
    ...(operands.some(({ kind }) => kind === 'file') ? [`complete -c pgark ${at} -F`] : []),
  ];
}

function optionLine(at: string | undefined, { flags, description, value }: CompletedOption): string {
  const names = flags.map((flag) => (flag.startsWith('--') ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`));
  return ['complete -c pgark', at, ...names, ...valueWords(value), '-d', quote(description)].filter(Boolean).join(' ');
}

function valueWords(value: CompletedValue): readonly string[] {
  if (value.kind === 'none') return [];
  if (value.kind === 'choice') return ['-x', '-a', quote(value.choices.join(' '))];
  return [value.kind === 'file' ? '-r' : '-x'];
}

function quote(text: string): string {
  return `'${text.replaceAll(/['\\]/g, String.raw`\$&`)}'`;
}
