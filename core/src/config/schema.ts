/**
 * Every key of the config, declared once: this schema validates the file, names the environment variables
 * (`keys.ts`), and is what `pgark config schema`, `pgark config explain` and the reference are made from.
 */
import * as z from 'zod';
import type { EventName, Severity } from '../contracts/hook.ts';
import type { Config, GuardianConfig, JobConfig, ReceiveConfig, RepositoryConfig } from './config.ts';
import { agent, backup, drill, push, receive, restore, retention, serve, status } from './schema-commands.ts';
import { daemon, schedule } from './schema-daemon.ts';
import { hook } from './schema-hook.ts';
import {
  choice,
  count,
  duration,
  flag,
  NAME,
  nameMessage,
  secret,
  size,
  text,
  typeNames,
  uniqueNames,
  use,
} from './schema-types.ts';

const PREFIX = /^(?!\.{1,2}(?:\/|$))[A-Za-z0-9._=@ -]+(?:\/(?!\.{1,2}(?:\/|$))[A-Za-z0-9._=@ -]+)*$/;

const plugin = z.looseObject({ use }, { error: 'must be a section with "use"' });

/** In a list of codecs, alone: it holds none, and that is meant. Not the name of a plugin. */
const NO_CODEC = 'none';

function noneAlone(list: readonly z.output<typeof plugin>[], context: z.RefinementCtx): void {
  for (const [at, { use, ...options }] of list.entries()) {
    if (use !== NO_CODEC) continue;
    const complain = (key: string, message: string): void =>
      context.addIssue({ code: 'custom', path: [at, key], message });
    if (list.length > 1) complain('use', '"none" means no codec at all: take it out, or all the others');
    for (const key of Object.keys(options)) complain(key, 'not a known key: "none" has no options');
  }
}

const repository = z.strictObject({
  name: text().regex(NAME, nameMessage).default('primary').describe('Its name in messages.'),
  storage: plugin.describe('Where objects are kept: the plugin and, beside `use`, its options.'),
  codecs: z
    .array(plugin)
    .superRefine(noneAlone)
    .transform((list) => list.filter(({ use }) => use !== NO_CODEC))
    .prefault([])
    .describe(
      'Codecs in order of application, such as compression, then encryption; each with its options. `none`, alone, says that there is to be none.',
    ),
  prefix: text()
    .regex(PREFIX, 'must be names joined by single slashes, without "." and ".."')
    .max(300, 'must be at most 300 letters')
    .optional()
    .describe('All keys of the archive begin with it and a slash: for a storage that others use too.'),
  readOnly: flag().default(false).describe('Never written to, only read: for hosts that restore from it.'),
  lock: duration({ least: '1s', most: '3650d' })
    .optional()
    .describe(
      'How long the storage is to refuse to change or delete an object, from when it is stored; without it, nothing is locked. The storage must be set up for it.',
    ),
  stallTimeout: duration({ least: '1s', most: '1h' })
    .prefault('2m')
    .describe('Time without progress after which a call of the storage is cancelled and tried again.'),
  maxCalls: count(1, 1000).optional().describe('Calls of the storage at once; without it, no limit.'),
  maxUploadRate: size({ least: '32KiB' })
    .optional()
    .describe('Bytes per second into the storage; without it, no limit.'),
  maxDownloadRate: size({ least: '32KiB' })
    .optional()
    .describe('Bytes per second out of the storage; without it, no limit.'),
});

const section = z
  .strictObject({
    cluster: text()
      .regex(NAME, nameMessage)
      .default('main')
      .describe('Name of the cluster in the repository; under `clusters` the name of the section.'),
    postgres: z
      .strictObject({
        url: secret
          .optional()
          .describe('Connection URI or key=value string; without it, the environment of libpq (`PGHOST`, ...).'),
        password: secret.optional().describe('Password, when it does not stand in the URL or in `~/.pgpass`.'),
      })
      .prefault({})
      .describe('The server.'),
    repositories: z
      .array(repository, { error: 'must be a list of repositories' })
      .min(1, 'must hold a repository')
      .superRefine(uniqueNames('repositories'))
      .describe(
        'Where the archive is. Everything is read once and written to all; reading takes the first that has it.',
      ),
    receive: receive.prefault({}).describe('`pgark receive`.'),
    backup: backup.prefault({}).describe('`pgark backup`.'),
    restore: restore.prefault({}).describe('`pgark restore` and `pgark wal-fetch`.'),
    push: push.prefault({}).describe('`pgark wal-push`.'),
    drill: drill.prefault({}).describe('`pgark drill`.'),
    agent: agent.prefault({}).describe('`pgark agent`.'),
    serve: serve.prefault({}).describe('`pgark serve`.'),
    status: status.prefault({}).describe('`pgark status` and `pgark map`.'),
    retention: retention
      .optional()
      .describe(
        'What `pgark expire` keeps: whatever any of the rules keeps. Without it, and without a limit in it, nothing is removed.',
      ),
    schedule: schedule.default([]).describe('What `pgark run` does by itself, and when.'),
    daemon: daemon
      .prefault({})
      .describe('`pgark run`, for all clusters: with `clusters` it stands beside them, not in their sections.'),
    concurrency: count(1, 256).optional().describe('Threads for codecs; without it, as many as there are CPUs.'),
    hooks: z
      .array(hook)
      .superRefine(uniqueNames('hooks'))
      .default([])
      .describe('Who is told of events: the plugin, when, and its options.'),
    log: z
      .strictObject({
        level: choice(['debug', 'info', 'warn', 'error']).default('info').describe('The least level that is shown.'),
        format: choice(['auto', 'json', 'pretty'])
          .default('auto')
          .describe(
            '`pretty` are lines for people, `json` is one object per line; `auto` is `json` with `--json`, else `pretty`.',
          ),
      })
      .prefault({})
      .describe('Messages on stderr.'),
  })
  .describe('One cluster.');

type LooseSection = { readonly use: string } & Readonly<Record<string, unknown>>;

/** What the schema makes of a section: a {@link Config} whose plugin sections are still as written. */
export interface ParsedSection extends Omit<Config, 'repositories' | 'hooks' | 'concurrency' | 'receive' | 'schedule'> {
  readonly schedule: readonly (Omit<JobConfig, 'name'> & { readonly name?: string })[];
  readonly receive: Omit<ReceiveConfig, 'guardian'> & {
    readonly guardian: Omit<GuardianConfig, 'interval'> & { readonly interval?: number };
  };
  readonly repositories: readonly (Omit<RepositoryConfig, 'storage' | 'codecs'> & {
    readonly storage: LooseSection;
    readonly codecs: readonly LooseSection[];
  })[];
  readonly hooks: readonly (LooseSection & {
    readonly name?: string;
    readonly severity: Severity;
    readonly quiet: number;
    readonly spool: number;
    readonly events?: readonly EventName[];
    readonly policy: 'warn' | 'fail';
    readonly timeout: number;
    readonly retries: number;
  })[];
  readonly concurrency?: number;
}

/** The schema of one cluster's section. */
export function sectionSchema(): z.ZodType<ParsedSection> {
  // zod types an absent key as `undefined`; the keys are really absent, as `exactOptionalPropertyTypes` wants them.
  return section as unknown as z.ZodType<ParsedSection>;
}

/** The name that the reference gives a schema's type, if it has one of its own. */
export function typeName(schema: z.core.$ZodType): string | undefined {
  return typeNames.get(schema)?.name;
}

/** The JSON Schema of a config file, for editors. */
export function jsonSchema(): Record<string, unknown> {
  const cluster = section.meta({ id: 'cluster' });
  const file = z.union([
    cluster,
    z.strictObject({ clusters: z.record(z.string().regex(NAME), cluster), daemon: daemon.optional() }),
  ]);
  return { title: 'pgark.yaml', ...z.toJSONSchema(file, { io: 'input', target: 'draft-2020-12' }) };
}
