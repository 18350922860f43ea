import { Argument, type Command } from 'commander';
import { examples } from '../help.ts';
import { runPlain } from '../run.ts';

const SHELLS = ['bash', 'zsh', 'fish'] as const;

export function register(program: Command): void {
  const completion = program
    .command('completion')
    .description('print what lets a shell complete commands and options of pgark')
    .addArgument(new Argument('<shell>', 'for which shell').choices(SHELLS))
    .action(async (shell: (typeof SHELLS)[number], _, command: Command) =>
      runPlain(command, async ({ output }) => output.line((await scriptFor(shell, program)).trimEnd())),
    );
  examples(completion, [
    ['pgark completion bash > /etc/bash_completion.d/pgark', 'for all users, from their next shell on'],
    ['source <(pgark completion bash)', 'for this shell'],
    ['pgark completion zsh > "${fpath[1]}/_pgark"', 'in a folder of fpath, before compinit is run'],
    ['pgark completion fish > ~/.config/fish/completions/pgark.fish', 'fish reads it by itself'],
  ]);
}

async function scriptFor(shell: (typeof SHELLS)[number], program: Command): Promise<string> {
  const { completedCommand } = await import('../completion/words.ts');
  const words = completedCommand(program);
  switch (shell) {
    case 'bash':
      return (await import('../completion/bash.ts')).bashCompletion(words);
    case 'zsh':
      return (await import('../completion/zsh.ts')).zshCompletion(words);
    case 'fish':
      return (await import('../completion/fish.ts')).fishCompletion(words);
  }
}
