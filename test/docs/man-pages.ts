/** The manual pages in core/man, made from the commands as commander knows them. */
import { createProgram } from '../../core/src/cli/program.ts';
import { VERSION } from '../../core/src/version.ts';
import { examplesOf, meaningOf, pathOf, sentence, type Command, type Option } from './cli-page.ts';

/** The texts of the pages by their file names. */
export function manPages(): ReadonlyMap<string, string> {
  const program = createProgram();
  const leaves = leavesOf(program);
  return new Map([
    ['pgark.1', programPage(program, leaves)],
    ...leaves.map((command) => [`${fileOf(command)}.1`, commandPage(command, program, leaves)] as const),
  ]);
}

function leavesOf(command: Command): readonly Command[] {
  return command.commands.flatMap((child) => (child.commands.length === 0 ? [child] : leavesOf(child)));
}

/** `pgark-config-check` */
const fileOf = (command: Command): string => pathOf(command).replaceAll(' ', '-');

function programPage(program: Command, leaves: readonly Command[]): string {
  return page('pgark', [
    section('NAME', `pgark \\- archives PostgreSQL so that you can get it back`),
    section('SYNOPSIS', `.B pgark\n.RI [ options ]\n.I command\n.RI [ arguments ]`),
    section(
      'DESCRIPTION',
      text(
        `${program.description()} It is one config file and one command for each task. "pgark COMMAND --help" prints options and examples, and each command has a page of its own, named pgark-COMMAND.`,
      ),
    ),
    section(
      'COMMANDS',
      leaves.map((command) => term(`.BR ${roff(fileOf(command))} (1)`, sentence(command.description()))).join('\n'),
    ),
    section('OPTIONS OF EVERY COMMAND', optionTerms(program.options)),
    section('EXAMPLES', exampleTerms(program)),
    ENDS,
    section('SEE ALSO', `.BR pgark\\-doctor (1),\n.BR pgark\\-init (1)`),
  ]);
}

function commandPage(command: Command, program: Command, leaves: readonly Command[]): string {
  const name = fileOf(command);
  const operands = command.registeredArguments;
  const written = operands.map((operand) => {
    const shown = `.I ${roff(operand.name())}`;
    return operand.required ? shown : `.RI [ ${roff(operand.name())} ]`;
  });
  const kin = leaves.filter(
    (other) => other !== command && other.parent === command.parent && command.parent !== program,
  );
  const seeAlso = ['pgark', ...kin.map(fileOf)].map((other) => `.BR ${roff(other)} (1)`);
  return page(name, [
    section('NAME', `${roff(name)} \\- ${roff(command.description())}`),
    section('SYNOPSIS', [`.B ${roff(pathOf(command))}`, '.RI [ options ]', ...written].join('\n')),
    section('DESCRIPTION', text(sentence(command.description()))),
    ...(operands.length === 0
      ? []
      : [
          section(
            'ARGUMENTS',
            operands.map((one) => term(`.I ${roff(one.name())}`, sentence(one.description))).join('\n'),
          ),
        ]),
    ...(command.options.length === 0 ? [] : [section('OPTIONS', optionTerms(command.options))]),
    section('OPTIONS OF EVERY COMMAND', optionTerms(program.options)),
    section('EXAMPLES', exampleTerms(command)),
    ENDS,
    section('SEE ALSO', seeAlso.join(',\n')),
  ]);
}

function page(name: string, sections: readonly string[]): string {
  const made = `.\\" Made from the code by test/docs/man-pages.test.ts; PGARK_UPDATE_DOCS=1 makes it anew.`;
  // Without a date: the page is of a version.
  return `${made}\n.TH "${roff(name.toUpperCase())}" "1" "" "pgark ${roff(VERSION)}" "pgark"\n${sections.join('\n')}\n`;
}

const section = (title: string, body: string): string => `.SH ${title}\n${body}`;
const term = (what: string, meaning: string): string => `.TP\n${what}\n${text(meaning)}`;

function optionTerms(options: readonly Option[]): string {
  return options
    .map((option) => {
      const { text: meaning, fallback } = meaningOf(option);
      const choices = option.argChoices === undefined ? '' : `: ${option.argChoices.join(', ')}`;
      const without = fallback === '' || fallback === 'false' ? '' : ` Default: ${fallback}.`;
      return term(`.B ${roff(option.flags)}`, `${sentence(meaning + choices)}${without}`);
    })
    .join('\n');
}

function exampleTerms(command: Command): string {
  return examplesOf(command)
    .map(([typed, meaning]) => term(`.B ${roff(typed)}`, sentence(meaning)))
    .join('\n');
}

const ENDS = [
  section(
    'EXIT STATUS',
    text(
      '0 when the work is done; 1 when it failed or the thing is not there; 2 when network, storage, server or disk failed; 3 when command or config is wrong; 4 when data is damaged or in conflict. wal-fetch and wal-push, which PostgreSQL runs, have codes of their own.',
    ),
  ),
  section(
    'FILES AND ENVIRONMENT',
    text(
      'The config is the file of --config, else of PGARK_CONFIG, else pgark.yaml, pgark.yml or pgark.json in the current folder or in /etc/pgark. Every key of it has a variable: PGARK_ and its path. The server is that of libpq where the config names none.',
    ),
  ),
].join('\n');

/** A paragraph; a line of input for each sentence. */
function text(plain: string): string {
  return roff(plain).replaceAll(/(?<=[.:;]) (?=[A-Z"])/g, '\n');
}

/** Plain text as roff takes it: a request begins a line, `-` is a hyphen and `\` an escape. */
function roff(plain: string): string {
  return plain
    .replaceAll('\\', String.raw`\e`)
    .replaceAll('-', String.raw`\-`)
    .replaceAll('"', String.raw`\(dq`)
    .replaceAll('`', String.raw`\(ga`)
    .replaceAll("'", String.raw`\(aq`)
    .replaceAll('~', String.raw`\(ti`)
    .replaceAll('^', String.raw`\(ha`)
    .replaceAll(/^\./gm, String.raw`\&.`);
}
