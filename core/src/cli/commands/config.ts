import type { Command } from 'commander';
import { examples } from '../help.ts';
import { originText } from '../origin-text.ts';
import { runCommand, runPlain, type PlainContext } from '../run.ts';

export function register(program: Command): void {
  const group = program.command('config').description('check and explain the config').helpCommand(false);
  const check = group
    .command('check')
    .description('check the config, load its plugins and validate their options; lists every problem')
    .action(async (_, command: Command) => runPlain(command, checkConfig));
  examples(check, [
    ['pgark config check', 'the config that the other commands would use'],
    ['pgark config check --config new.yaml', 'another file, before it takes the place of the present one'],
  ]);

  const explain = group
    .command('explain')
    .description('show every key with its value and where that comes from; secrets are not shown')
    .action(async (_, command: Command) =>
      runCommand(command, async ({ loaded, output, logger }) => {
        const [{ Registry }, { configDocument }] = await Promise.all([
          import('../../plugins/registry.ts'),
          import('../../documents/config-document.ts'),
        ]);
        const { directory, env } = loaded;
        const rows = await configDocument(loaded, new Registry({ directory, env, logger }));
        if (output.isJson) return output.json(rows);
        output.table(rows, [
          { title: 'KEY', value: (row) => row.key },
          { title: 'VALUE', value: (row) => (row.value === undefined ? undefined : show(row.value)) },
          { title: 'ORIGIN', value: (row) => originText(row.origin) },
        ]);
      }),
    );
  examples(explain, [
    ['pgark config explain', 'a table of keys, values and origins'],
    ['PGARK_LOG_LEVEL=debug pgark config explain', 'see that a variable is taken'],
  ]);

  const schema = group
    .command('schema')
    .description('print the JSON Schema of the config, for editors')
    .action(async (_, command: Command) =>
      runPlain(command, async ({ output }) => {
        const { jsonSchema } = await import('../../config/schema.ts');
        output.json(jsonSchema());
      }),
    );
  examples(schema, [
    [
      'pgark config schema > pgark.schema.json',
      'name it in the first line of pgark.yaml: # yaml-language-server: $schema=...',
    ],
  ]);
}

async function checkConfig({ globals, output, logger, env, directory, signal }: PlainContext): Promise<number> {
  const [{ loadConfigs }, { Registry }, { checkPlugins }] = await Promise.all([
    import('../../config/load.ts'),
    import('../../plugins/registry.ts'),
    import('../../plugins/check.ts'),
  ]);
  const clusters = await loadConfigs({ path: globals.config, cluster: globals.cluster, env, directory });
  for (const loaded of clusters) {
    await checkPlugins(loaded.config, new Registry({ directory: loaded.directory, env, logger, signal }));
  }
  const result = clusters.map(({ path, config }) => ({
    cluster: config.cluster,
    ...(path === undefined ? {} : { file: path }),
    repositories: config.repositories.map(({ name, storage, codecs }) => ({
      name,
      storage: storage.use,
      codecs: codecs.map(({ use }) => use),
    })),
  }));
  if (output.isJson) output.json({ valid: true, clusters: result });
  for (const { cluster, file, repositories } of output.isJson ? [] : result) {
    output.line(`${file ?? 'the environment'}: cluster ${cluster} is valid`);
    for (const { name, storage, codecs } of repositories) {
      output.line(
        `  repository ${name}: storage ${storage}${codecs.length === 0 ? '' : `, codecs ${codecs.join(', ')}`}`,
      );
    }
  }
  return 0;
}

function show(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}
