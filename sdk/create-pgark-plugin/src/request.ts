import { parseArgs } from 'node:util';
import { checkName } from './plugin-name.ts';
import { Refusal } from './refusal.ts';

export const KINDS = ['storage', 'codec', 'hook'] as const;
export type Kind = (typeof KINDS)[number];

/** What is to be written, and where. */
export interface Request {
  readonly kind: Kind;
  /** What a config says after `use:`; of a codec it is its suffix, too. */
  readonly name: string;
  /** Name of the package. */
  readonly package: string;
  readonly directory: string;
}

export const HELP = `Usage: npm create pgark-plugin storage|codec|hook NAME [-- --directory DIRECTORY]

Writes a plugin for pgark that builds and passes the conformance suite of its kind, to be changed from there.

  NAME         what a config says after "use:": small letters, digits and dashes
  --directory  where to write; default: pgark-KIND-NAME in this folder. It must not exist, or be empty.

Examples:
  npm create pgark-plugin storage shelf
  npm create pgark-plugin codec deflate -- --directory plugins/deflate
`;

/** Reads a command line; undefined when it asks for help. Throws {@link Refusal}. */
export function parseRequest(args: readonly string[], env: NodeJS.ProcessEnv): Request | undefined {
  const { values, positionals } = parsed(args);
  if (values.help === true) return undefined;
  // npm takes options that stand before "--" for its own, and gives them on as variables.
  if (env['npm_config_directory'] !== undefined && values.directory === undefined) {
    throw new Refusal(
      'npm has taken --directory for an option of its own',
      'Write "--" before it: -- --directory DIR.',
    );
  }
  const [kind, name, ...more] = positionals;
  if (kind === undefined) throw new Refusal('the kind of plugin is missing', `Give one of: ${KINDS.join(', ')}.`);
  if (!isKind(kind)) throw new Refusal(`"${kind}" is no kind of plugin`, `Give one of: ${KINDS.join(', ')}.`);
  if (name === undefined)
    throw new Refusal(`the name of the ${kind} is missing`, `Run "npm create pgark-plugin ${kind} NAME".`);
  if (more.length > 0) {
    throw new Refusal(
      `"${more.join(' ')}" is too much`,
      'Give a kind and a name, and the folder as "-- --directory DIR".',
    );
  }
  checkName(kind, name);
  const packageName = `pgark-${kind}-${name}`;
  return { kind, name, package: packageName, directory: values.directory ?? packageName };
}

function parsed(args: readonly string[]): {
  readonly values: { readonly help?: boolean | undefined; readonly directory?: string | undefined };
  readonly positionals: readonly string[];
} {
  try {
    return parseArgs({
      args: [...args],
      options: { help: { type: 'boolean', short: 'h' }, directory: { type: 'string' } },
      allowPositionals: true,
    });
  } catch (error) {
    // The first sentence says which argument; the rest is advice on parseArgs.
    const message = error instanceof Error ? error.message : String(error);
    throw new Refusal((message.split('. ')[0] ?? message).replace(/^U/, 'u').replace(/^O/, 'o'), 'Run it with --help.');
  }
}

function isKind(text: string): text is Kind {
  return KINDS.some((kind) => kind === text);
}
