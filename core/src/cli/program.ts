/** The command line as commander knows it: global options and every command. */
import { Command, Option } from 'commander';
import { VERSION } from '../version.ts';
import { COMMANDS } from './commands/index.ts';
import { examples } from './help.ts';

/** A new program with all commands. Parsing errors are thrown as `CommanderError` and printed by nobody else. */
export function createProgram(): Command {
  const program = new Command('pgark')
    .description('Streams WAL and base backups of PostgreSQL into any storage, and restores them to any moment.')
    .version(`pgark ${VERSION}`, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand(false)
    .exitOverride()
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({ outputError: () => undefined })
    .option('--config <file>', 'config file (default: $PGARK_CONFIG, pgark.yaml here or in /etc/pgark)')
    .option('--cluster <name>', 'section to use of a config with several clusters')
    .option('--json', 'print results, messages and errors as JSON')
    .addOption(
      new Option('--log-level <level>', 'least level of messages on stderr').choices([
        'debug',
        'info',
        'warn',
        'error',
      ]),
    );
  examples(program, [
    ['pgark init --storage fs:/var/backups/pgark', 'write pgark.yaml for the server of the libpq environment'],
    ['pgark config check', 'see whether the config and its plugins are right'],
    ['pgark COMMAND --help', 'options and examples of one command'],
  ]);
  for (const register of COMMANDS) register(program);
  return program;
}
