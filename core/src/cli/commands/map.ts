import type { Command } from 'commander';
import { examples } from '../help.ts';
import { listingText } from '../listing-text.ts';
import { repositoryOption } from '../repository-option.ts';
import { runCommand } from '../run.ts';

interface MapFlags {
  readonly repository: readonly string[];
  readonly fresh: boolean;
  readonly systemId?: string;
}

export function register(program: Command): void {
  const map = program
    .command('map')
    .description('show which positions and moments the archive can be restored to, where it cannot, and why')
    .addOption(repositoryOption())
    .option('--fresh', 'list everything, without what is remembered of earlier listings', false)
    .option('--system-id <id>', 'this cluster, when the archive holds several of its name')
    .action(async ({ repository, fresh, systemId }: MapFlags, command: Command) =>
      runCommand(command, async ({ config, output, archive }) => {
        const [{ mapDocument }, { printMap }] = await Promise.all([
          import('../../documents/map-document.ts'),
          import('../map-view.ts'),
        ]);
        const opened = await archive();
        const drawn = await opened.map({
          repositories: repository,
          fresh,
          ...(systemId === undefined ? {} : { systemId }),
          onProgress: (progress) => output.progress(() => listingText(progress)),
        });
        output.progressDone();
        if (output.isJson) output.json(mapDocument(config.cluster, drawn));
        else printMap(output, config.cluster, drawn);
        if (drawn.failure !== undefined) throw drawn.failure;
      }),
    );
  examples(map, [
    ['pgark map', 'windows of each timeline, and what keeps backups from being restored'],
    ['pgark map --fresh', 'as the storages are now: older WAL is listed anew too'],
    ['pgark map --repository far', 'what one repository is worth by itself'],
    ['pgark map --json', 'for programs; the fields are in docs/reference/status.md'],
  ]);
}
