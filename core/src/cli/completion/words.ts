/** What can be typed after `pgark`, read off the program as commander knows it. */
import type { Command, Option } from 'commander';

export interface CompletedOption {
  /** `--label`, `-h`. */
  readonly flags: readonly string[];
  readonly description: string;
  /** What follows it. */
  readonly value: CompletedValue;
}

export type CompletedValue =
  { readonly kind: 'none' | 'file' | 'text' } | { readonly kind: 'choice'; readonly choices: readonly string[] };

export interface CompletedCommand {
  /** Below `pgark`: empty for itself, `config check`. */
  readonly path: string;
  readonly name: string;
  readonly description: string;
  /** Its own, without those of every command. */
  readonly options: readonly CompletedOption[];
  readonly commands: readonly CompletedCommand[];
  /** Of its arguments, in order; the last is repeated when it may be. */
  readonly operands: readonly CompletedValue[];
}

/** The tree of commands. The options of the first one are those of every command. */
export function completedCommand(command: Command, above = ''): CompletedCommand {
  const name = command.name();
  const path = command.parent === null ? '' : `${above} ${name}`.trim();
  const help = command.createHelp();
  return {
    path,
    name,
    description: command.description(),
    // Help and version are of the program alone: they are understood everywhere.
    options: (command.parent === null ? help.visibleOptions(command) : [...command.options]).map(completedOption),
    commands: command.commands.map((child) => completedCommand(child, path)),
    operands: command.registeredArguments.map((operand) =>
      operand.argChoices === undefined ? valueOf(operand.name()) : { kind: 'choice', choices: operand.argChoices },
    ),
  };
}

/** All commands of a tree, itself first. */
export function allCommands(command: CompletedCommand): readonly CompletedCommand[] {
  return [command, ...command.commands.flatMap(allCommands)];
}

function completedOption(option: Option): CompletedOption {
  const flags = [option.short, option.long].filter((flag) => flag !== undefined);
  const { description, argChoices } = option;
  if (!option.required && !option.optional) return { flags, description, value: { kind: 'none' } };
  if (argChoices !== undefined) return { flags, description, value: { kind: 'choice', choices: argChoices } };
  return { flags, description, value: valueOf(/[<[]([^\]>]*)/.exec(option.flags)?.[1] ?? '') };
}

/** By the name that help gives it. */
function valueOf(name: string): CompletedValue {
  return { kind: /file|path|folder|directory|dir\b|certificate|\bca\b|\bkey\b/i.test(name) ? 'file' : 'text' };
}
