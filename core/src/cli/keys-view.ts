/** What `pgark keys` shows of a repository. */
import type { RepositoryKeys } from '../archive/keys.ts';
import type { ArchiveError } from '../contracts/errors.ts';
import type { KeyLayer } from '../keys/inspect-object.ts';
import type { KeyRow } from '../keys/survey.ts';
import { reasonOf, shortKey } from '../keys/verdict.ts';
import type { Column, Output } from './output.ts';

/** For programs. */
export function keysJson(shown: readonly RepositoryKeys[]): unknown {
  return { repositories: shown.map(entryOf) };
}

function entryOf(shown: RepositoryKeys): Record<string, unknown> {
  const { repository, state, readOnly } = shown;
  const writes = { readOnly, codecs: shown.writes };
  if (shown.state === 'failed') return { repository, state, writes, error: codeOf(shown.error) };
  if (shown.state === 'empty') return { repository, state, writes };
  const { survey, used } = shown;
  return {
    repository,
    state,
    writes,
    codecs: used.map(({ suffix, id, problem }) => ({ suffix, id, ...(problem && { problem: codeOf(problem) }) })),
    objects: survey.objects,
    lookedAt: survey.lookedAt,
    keys: survey.rows.map(({ readable, problem, closed, ...row }) => {
      const reason = problem ?? closed;
      return { ...row, readable: wordFor(readable), ...(reason && { problem: codeOf(reason) }) };
    }),
  };
}

const wordFor = (readable: boolean | undefined): string =>
  readable === undefined ? 'unknown' : readable ? 'yes' : 'no';
const codeOf = ({ code, message }: ArchiveError): Record<string, string> => ({ code, message });

/** For people. */
export function printKeys(output: Output, shown: RepositoryKeys, all: boolean): void {
  output.line(`repository ${shown.repository}: ${writesText(shown)}`);
  if (shown.state === 'failed') return output.line(`could not be asked: ${shown.error.code}: ${shown.error.message}`);
  if (shown.state === 'empty') return output.line('holds nothing of this cluster yet');
  const { rows, objects, lookedAt } = shown.survey;
  if (rows.length > 0) output.table(rows, columns(rows));
  for (const row of rows) if (row.readable !== true) output.line(`${row.kind} ${row.first}: ${reasonOf(row)}`);
  output.line(`looked at ${lookedAt} of ${objects} objects${lookedAt === objects ? '' : `: ${scope(all)}`}`);
}

function scope(all: boolean): string {
  if (all) return 'the others were removed meanwhile';
  return 'one of each backup, and of the WAL the first, the last and some between; --all looks at each';
}

function writesText({ writes, readOnly }: RepositoryKeys): string {
  if (readOnly) return 'is only read';
  const missing = writes.filter(({ available }) => !available).map(({ id }) => id);
  if (missing.length > 0) return `nothing is written, as codecs cannot be had here: ${missing.join(', ')}`;
  if (writes.length === 0) return 'new objects are written as they are, without compression or encryption';
  const chain = writes.map(({ suffix }) => `.${suffix}`).join('');
  const keyed = writes.flatMap(({ keyIds }) => (keyIds === undefined ? [] : [forWhom(keyIds)]));
  return `new objects are written as ${chain}, ${keyed.length === 0 ? 'without keys' : keyed.join(', ')}`;
}

function forWhom(keyIds: readonly string[]): string {
  return keyIds.length === 0 ? 'but there is no key to write for' : `for ${keyIds.map(shortKey).join(', ')}`;
}

function columns(rows: readonly KeyRow[]): readonly Column<KeyRow>[] {
  const several = new Set(rows.map(({ systemId }) => systemId)).size > 1;
  const system: readonly Column<KeyRow>[] = several ? [{ title: 'SYSTEM', value: ({ systemId }) => systemId }] : [];
  return [
    ...system,
    { title: 'KIND', value: ({ kind }) => kind },
    { title: 'TLI', value: ({ timeline }) => timeline },
    { title: 'FIRST', value: ({ first }) => first },
    { title: 'LAST', value: ({ last }) => last },
    {
      title: 'CODECS',
      value: ({ suffixes }) => suffixes && (suffixes.map((suffix) => `.${suffix}`).join('') || 'none'),
    },
    { title: 'KEYS', value: keysCell },
    { title: 'READABLE', value: ({ readable }) => wordFor(readable) },
    { title: 'LOOKED AT', value: ({ lookedAt, of }) => `${lookedAt} of ${of}`, align: 'right' },
  ];
}

/** Those that the headers name, and those of the record that they do not. */
function keysCell({ layers, recorded = [], suffixes, readable }: KeyRow): string | undefined {
  const named = new Set(layers.flatMap(({ keyIds }) => keyIds));
  const record = recorded.filter((id) => !named.has(id));
  const unknown = layers.reduce((sum, layer: KeyLayer) => sum + layer.unknown, 0);
  const parts = [...[...named].map(shortKey), ...(unknown === 0 ? [] : [`${unknown} not named`])];
  const text = [...parts, ...(record.length === 0 ? [] : [`(recorded: ${record.map(shortKey).join(', ')})`])].join(
    ', ',
  );
  return text !== '' ? text : suffixes !== undefined && readable === true ? 'none' : undefined;
}
