import { dirname, resolve } from 'node:path';
import type { Command } from 'commander';
import { examples } from '../help.ts';
import { runPlain } from '../run.ts';

export function register(program: Command): void {
  const group = program.command('plugins').description('what is installed to extend pgark').helpCommand(false);
  const list = group
    .command('list')
    .description('list the plugins in reach of the config and of pgark; loads none of them')
    .action(async (_, command: Command) =>
      runPlain(command, async ({ globals, output, logger, env, directory }) => {
        const { Registry } = await import('../../plugins/registry.ts');
        const config = globals.config ?? (env['PGARK_CONFIG'] || undefined);
        const base = config === undefined ? directory : dirname(resolve(directory, config));
        const plugins = await new Registry({ directory: base, env, logger }).list();
        if (output.isJson) return output.json(plugins);
        if (plugins.length === 0) output.note('no plugins are installed; see "npm install @pgark/plugins"');
        output.table(plugins, [
          { title: 'KIND', value: (plugin) => plugin.kind },
          { title: 'NAME', value: (plugin) => plugin.name },
          { title: 'SUFFIX', value: (plugin) => plugin.suffix },
          { title: 'PACKAGE', value: (plugin) => plugin.package },
          { title: 'VERSION', value: (plugin) => plugin.version },
          { title: 'API', value: (plugin) => plugin.apiVersion },
        ]);
      }),
    );
  examples(list, [
    ['pgark plugins list', 'a table of plugins'],
    ['pgark plugins list --json', 'the same for programs, with their folders'],
  ]);
}
