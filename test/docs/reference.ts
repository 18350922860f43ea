/** The reference pages that are made from the code. */
import { format } from 'prettier';
import type { ErrorCode, ErrorRow } from '../../core/src/contracts/errors.ts';
import { ERRORS } from '../../core/src/contracts/errors.ts';
import {
  formatPath,
  keyTree,
  leaves,
  nodeAt,
  variableOf,
  type KeyNode,
  type KeyPath,
} from '../../core/src/config/keys.ts';
import { jsonSchema } from '../../core/src/config/schema.ts';
import { apiDocument, apiPage } from './api-page.ts';
import { cliPage } from './cli-page.ts';
import { eventsPage } from './events-page.ts';
import { metricsPage } from './metrics-page.ts';
import { code, MADE, table } from './page.ts';

/** The pages by their name in docs/reference. */
export async function referencePages(): Promise<ReadonlyMap<string, string>> {
  const schema = await format(JSON.stringify(jsonSchema()), { parser: 'json', printWidth: 120 });
  return new Map([
    ['api.md', await format(apiPage(), { parser: 'markdown', printWidth: 160 })],
    ['openapi.json', await format(apiDocument(), { parser: 'json', printWidth: 120 })],
    ['cli.md', cliPage()],
    ['config.md', configPage()],
    ['errors.md', errorsPage()],
    ['events.md', await format(eventsPage(), { parser: 'markdown', printWidth: 160 })],
    ['exit-codes.md', exitCodesPage()],
    ['metrics.md', await format(metricsPage(), { parser: 'markdown', printWidth: 160 })],
    ['pgark.schema.json', schema],
  ]);
}

function configPage(): string {
  const sections = [...keyTree().children].map(([key, node]) => sectionText(key, node));
  return `${MADE}

# Config

pgark reads one file, YAML or JSON: the one that \`--config\` names, else the one that \`PGARK_CONFIG\` names, else the first of
\`pgark.yaml\`, \`pgark.yml\` and \`pgark.json\` in the current folder, then in \`/etc/pgark\`. Without a file the environment alone will do.

\`\`\`yaml
# yaml-language-server: $schema=pgark.schema.json
cluster: main
postgres:
  url: postgres://pgark@db1,db2/?sslmode=verify-full&target_session_attrs=primary
  password: { file: /etc/pgark/password }
repositories:
  - name: primary
    storage: { use: fs, path: /var/backups/pgark }
    codecs: [{ use: zstd, level: 1 }]
receive: { slot: pgark, spool: /var/lib/pgark/spool, ack: local }
\`\`\`

- An unknown key is an error that names the file, the line and the nearest known key. All problems are told at once.
- \`pgark config check\` also loads the plugins and validates their options. \`pgark config explain\` shows every value and where it came
  from. \`pgark config schema > pgark.schema.json\` writes the [JSON Schema](pgark.schema.json) that the first line above gives to an editor.
- A command needs only the keys that it uses: \`pgark list\` needs no server.
- A key without a value (\`receive:\` with every line below it commented out) counts as not written.
- Durations are a number and a unit, \`ms\`, \`s\`, \`m\`, \`h\`, \`d\` or \`w\`, also several: \`10s\`, \`1h30m\`. Sizes are bytes, or a number and
  \`kB\`, \`MB\`, \`GB\`, \`TB\` (powers of 1000) or \`KiB\`, \`MiB\`, \`GiB\`, \`TiB\` (powers of 1024).

## Environment variables

Every key has one variable: \`PGARK_\` and the path of the key, upper case, parts and words joined by \`_\`; an item of a list by its index
from 0. \`backup.partSize\` is \`PGARK_BACKUP_PART_SIZE\`, \`repositories[0].storage.bucket\` is \`PGARK_REPOSITORIES_0_STORAGE_BUCKET\`,
\`postgres.url.file\` is \`PGARK_POSTGRES_URL_FILE\`. Options of plugins follow the same rule: the words behind the section make one key
(\`..._STORAGE_FORCE_PATH_STYLE\` is \`forcePathStyle\`), a number is an index. Where a plugin wants another type than a text, the value is read as YAML.

A variable goes before the file. An empty one counts as not set. Its value is taken as it is. A \`PGARK_*\` variable that is no key is an error,
except \`PGARK_CONFIG\`, \`PGARK_TEST_*\`, \`PGARK_UPDATE_*\`, and those that the file itself refers to.

## Variables in values

\`\${NAME}\` in a text of the file is replaced by that environment variable; one that is not set is an error. This happens after the file was parsed, so a
value can never become a key or a list, and comments do not matter. \`$\${NAME}\` gives \`\${NAME}\`; every other \`$\` stays as it is.

## Secrets

A key of the type *secret*, and any option that a plugin declares as one, is a text, or one of

| | |
| --- | --- |
| \`{ env: NAME }\` | an environment variable |
| \`{ file: PATH }\` | a file, relative to the config file |
| \`{ command: [PROGRAM, ARGUMENT...] }\` | what a program prints; it is run without a shell and has 30 seconds |

One newline at the end of a file or of what a program prints is taken off. Secrets are read when they are needed and never printed.

## Several clusters

A file may hold a map of sections instead, each with all keys of its own. \`--cluster NAME\` or \`PGARK_CLUSTER\` picks one; the name is the default of
its \`cluster\`.

\`\`\`yaml
clusters:
  sales: { repositories: [{ storage: { use: fs, path: /backups } }] }
  stock: { repositories: [{ storage: { use: fs, path: /backups } }], receive: { slot: pgark_stock } }
\`\`\`

## Plugins

\`use\` is a short name (\`zstd\` in a list of codecs is the package \`@pgark/codec-zstd\`, else \`pgark-codec-zstd\`), the full name of a package, or a path
that begins with \`./\`, \`../\` or \`/\`, relative to the config file. Packages are looked for from the folder of the config file upwards, then from pgark's
own. The other keys of such a section are the plugin's options: see the page of the plugin. \`pgark plugins list\` shows what is installed.

## Keys

${sections.join('\n\n')}
`;
}

function sectionText(key: string, node: KeyNode): string {
  const below = leaves(node, [key]).filter(({ path, node: leaf }) => !isSecretPart(path, leaf));
  const rows = below.flatMap(({ path, node: leaf }) => {
    const row = [
      code(shownPath(path)),
      leaf.type,
      leaf.required && typeof path.at(-1) === 'string' ? requiredText(path) : defaultText(leaf),
      leaf.description || listDescription(path),
      code(variableOf(path)),
    ];
    if (path.at(-1) !== 'use') return [row];
    const section = path.slice(0, -1);
    const others = [
      code(`${shownPath(section)}.*`),
      'any',
      '',
      'The options of the plugin.',
      code(`${variableOf(section)}_*`),
    ];
    return [[...row.slice(0, 3), `${listDescription(section)} ${row[3]}`, ...row.slice(4)], others];
  });
  const own = node.kind === 'section' || node.kind === 'list' ? `\n\n${node.description}` : '';
  return `### ${code(key)}${own}\n\n${table(['Key', 'Type', 'Default', 'Meaning', 'Variable'], rows)}`;
}

/** A key of a section that may be left out is required only in there. */
function requiredText(path: KeyPath): string {
  const above = path.slice(1).map((_, at) => path.slice(0, at + 1));
  const optional = above.find((section) => {
    const node = nodeAt(section);
    return node?.kind === 'section' && !node.required && !('default' in node);
  });
  return optional === undefined ? 'required' : `required in ${code(shownPath(optional))}`;
}

/** `repositories[].name` */
function shownPath(path: KeyPath): string {
  return formatPath(path).replaceAll('[0]', '[]');
}

/** `postgres.url.env` is told under "Secrets". */
function isSecretPart(path: KeyPath, node: KeyNode): boolean {
  return node.kind === 'text' && ['env', 'file'].includes(String(path.at(-1))) ? true : path.includes('command');
}

/** The description of the list that an item is of. */
function listDescription(path: KeyPath): string {
  let node: KeyNode | undefined = keyTree();
  let description = '';
  for (const part of path) {
    node = typeof part === 'number' ? node?.item : node?.children.get(part);
    description = node?.description === undefined || node.description === '' ? description : node.description;
  }
  return description;
}

function defaultText(node: KeyNode): string {
  const value = node.default;
  return value === undefined ? '' : code(typeof value === 'string' ? value : JSON.stringify(value));
}

function rowsByCode(): readonly (readonly [ErrorCode, ErrorRow])[] {
  return Object.entries(ERRORS) as [ErrorCode, ErrorRow][];
}

function errorsPage(): string {
  const rows = rowsByCode().map(([name, { meaning, hint, retriable, exitCode }]) => [
    code(name),
    meaning,
    retriable ? 'yes' : 'no',
    String(exitCode),
    hint,
  ]);
  return `${MADE}

# Errors

Every error has one of these codes. They are never renamed and never reused. For people an error is two lines on stderr,
\`pgark: error: ...\` and \`pgark: hint: ...\`; with \`--json\` it is one object, \`{"error": {"code", "meaning", "message", "hint", "retriable", "details"}}\`.
*Retry* says whether the same call may succeed later. The hint is the one that is given when the place of the error knows none better.

${table(['Code', 'Meaning', 'Retry', 'Exit code', 'Hint'], rows)}
`;
}

function exitCodesPage(): string {
  const meanings = new Map([
    [1, 'the work failed, or what was asked for is not there'],
    [2, 'the surroundings failed: network, storage, server, disk'],
    [3, 'the command or the config is wrong'],
    [4, 'data is damaged or in conflict'],
  ]);
  const rows = [...meanings].map(([exit, meaning]) => {
    const codes = rowsByCode().filter(([, row]) => row.exitCode === exit);
    return [String(exit), meaning, codes.map(([name]) => code(name)).join(', ')];
  });
  return `${MADE}

# Exit codes

${table(['Code', 'Meaning', 'Errors'], [['0', 'success', ''], ...rows, ['130, 143', 'ended at once by a second SIGINT or SIGTERM', '']])}

The first SIGINT or SIGTERM asks a command to stop; one that was cut short by it ends with the code of \`ABORTED\`.

## Commands that PostgreSQL runs

\`pgark wal-push\` (\`archive_command\`) exits with 0 only when the file is in the archive, or with \`push.onFullDisk: drop\` when its loss is on record, and never with more than 125, which would stop the archiver.

\`pgark wal-fetch\` (\`restore_command\`) exits with

| Code | Meaning | What PostgreSQL does |
| --- | --- | --- |
| 0 | the whole, verified file is in place | replays it |
| 1 | the archive, or the server that \`--from\` names, answered that there is no such file | takes it for the end of the archive |
| 255 | anything else, with \`recovery.signal\` in the data directory: it could not be found out | stops the recovery, instead of promoting a truncated cluster |
| 2 | anything else, in every other case (\`standby.signal\`) | asks again later; 255 would stop the standby |
| 143 | ended by SIGTERM | stops as it was asked to |
`;
}
