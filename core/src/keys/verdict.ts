/** What a survey comes to: whether all that was looked at can be read here, and if not, why. */
import type { Codec } from '../contracts/codec.ts';
import { ArchiveError, isArchiveError, type ErrorCode } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { bodyOf } from '../repository/objects.ts';
import type { Repository } from '../repository/repository.ts';
import type { KeyLayer, ObjectKeys } from './inspect-object.ts';
import type { KeyRow } from './survey.ts';

/**
 * - `readable`: all that was looked at.
 * - `write-only`: no identity is configured, and what is written here cannot be read here: a host that only writes is meant to be so. Never
 *   where anything else is wrong.
 * - `unreadable`: some cannot be read.
 * - `unknown`: of some it could not be found out.
 */
export type KeyState = 'readable' | 'write-only' | 'unreadable' | 'unknown';

export interface AtHand {
  /** Whether `restore.identities` names any. */
  readonly identities: boolean;
}

/** What the headers of several objects come to. Errors: `ABORTED`. */
export async function keyStateOf(
  repository: Repository,
  seen: readonly ObjectKeys[],
  { identities, ...call }: AtHand & CallOptions,
): Promise<KeyState> {
  const closed = seen.filter(({ readable }) => readable === false);
  if (closed.length === 0) return seen.some(({ readable }) => readable === undefined) ? 'unknown' : 'readable';
  if (identities || seen.some(({ problem }) => problem !== undefined)) return 'unreadable';
  const layers = closed.map((object) => object.layers[0]);
  for (const codec of repository.codecs) {
    const own = layers.filter((layer) => layer?.suffix === codec.suffix);
    // Who opens what is written here today lacks another key, and not all of them.
    if (own.length > 0 && (await opensItsOwn(codec, call))) return 'unreadable';
  }
  return layers.every((layer) => isOwn(repository, layer)) ? 'write-only' : 'unreadable';
}

/** Whether a codec opens what it writes; it is taken for one that does when it cannot write. */
async function opensItsOwn(codec: Codec, call: CallOptions): Promise<boolean> {
  try {
    const written = codec.encode(bodyOf(new Uint8Array()), { concurrency: 1, ...call });
    return (await codec.inspect?.(written, call))?.readable !== false;
  } catch (error) {
    if (isArchiveError(error, 'ABORTED')) throw error;
    return true;
  }
}

/** Whether the repository's own codecs write for these keys, as far as the header names any. */
function isOwn({ codecs }: Repository, layer: KeyLayer | undefined): boolean {
  const own = codecs.find(({ suffix }) => suffix === layer?.suffix);
  return own !== undefined && layer?.keyIds.every((id) => own.keyIds?.includes(id)) === true;
}

/** The keys of some headers: `key k1`, `keys k1, k2`, `1 key that the header does not name`. */
export function keysText(layers: readonly KeyLayer[]): string {
  const ids = [...new Set(layers.flatMap(({ keyIds }) => keyIds))].map(shortKey);
  const unknown = layers.reduce((sum, layer) => sum + layer.unknown, 0);
  const named = ids.length === 0 ? [] : [`key${ids.length === 1 ? '' : 's'} ${ids.join(', ')}`];
  const also = ids.length === 0 ? '' : 'further ';
  const plural = unknown === 1 ? '' : 's';
  const unnamed = unknown === 0 ? [] : [`${unknown} ${also}key${plural} that the header does not name`];
  return [...named, ...unnamed].join(' or ') || 'no key';
}

/** Recipients of age can have hundreds of letters: as many as tell one from another. */
export function shortKey(id: string): string {
  return id.length <= 32 ? id : `${id.slice(0, 16)}…${id.slice(-8)}`;
}

/** Why an object cannot be read, or is not known to be. */
export function reasonOf({ layers, problem, closed }: ObjectKeys): string {
  if (problem !== undefined) return `${problem.code}: ${problem.message}`;
  if (closed !== undefined) return closed.message;
  // The innermost that was seen is the one that did not open.
  return `written for ${keysText(layers.slice(0, 1))}, which no key at hand opens`;
}

/** What to do about it. */
export function hintOf({ problem, closed }: ObjectKeys): string {
  return (problem ?? closed)?.hint ?? 'Add the identity to restore.identities, or the key to those of the codec.';
}

/** Worst first: damage is not mended by a key. */
const WORST: readonly ErrorCode[] = [
  'STORAGE_CORRUPT',
  'CODEC_CORRUPT',
  'REPOSITORY_FORMAT',
  'STORAGE_NOT_FOUND',
  'CODEC_UNKNOWN',
];

/** The error for rows that cannot be read; undefined when each can. */
export function keyFailure(repository: Repository, rows: readonly KeyRow[], state: KeyState): ArchiveError | undefined {
  const closed = rows.filter(({ readable }) => readable !== true);
  const [first] = closed;
  if (first === undefined) return undefined;
  const details = { repository: repository.name, state };
  const name = `repository ${repository.name}`;
  if (state === 'write-only') {
    return new ArchiveError('CODEC_KEY', `this config writes ${name} and cannot read it: restore.identities is empty`, {
      hint: 'As it should be on a host that only writes. Run "pgark keys" where the identities are, before you rely on them.',
      details,
    });
  }
  const coded = WORST.map((code) => closed.find(({ problem }) => problem?.code === code)).find(Boolean);
  // A missing key may be as it should be, a problem never is.
  const chosen = coded ?? closed.find(({ problem }) => problem !== undefined) ?? first;
  const { problem } = chosen;
  const message = `${name}: ${whatOf(closed, state)} ${closed.map(rowText).join('; ')}`;
  return new ArchiveError(problem?.code ?? 'CODEC_KEY', message, {
    ...(problem === undefined ? {} : { cause: problem }),
    hint: hintOf(chosen),
    details,
  });
}

/** Keys are blamed only where one is missing. */
function whatOf(closed: readonly KeyRow[], state: KeyState): string {
  if (state === 'unknown') return 'it is not known whether the keys at hand open';
  return closed.some(({ problem }) => problem === undefined) ? 'the keys at hand do not open' : 'not readable:';
}

function rowText(row: KeyRow): string {
  const place = row.timeline === undefined ? '' : ` of timeline ${row.timeline}`;
  const range = row.first === row.last ? row.first : `${row.first} to ${row.last}`;
  return `${row.kind} ${range}${place} (${reasonOf(row)})`;
}
