/** Whether a repository can be written through its codecs, and what it holds be read with the keys at hand. */
import type { Codec } from '../contracts/codec.ts';
import { encodeThrough } from '../contracts/codec-chain.ts';
import { isArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import {
  goneFrom,
  hasKeys,
  inspectObject,
  withReason,
  type InspectedObject,
  type ObjectKeys,
} from '../keys/inspect-object.ts';
import { hintOf, keyStateOf, reasonOf, shortKey, type AtHand } from '../keys/verdict.ts';
import type { BackupRecord } from '../repository/backup-record.ts';
import { splitObjectName, type BackupEntry } from '../repository/backups.ts';
import { bodyOf } from '../repository/objects.ts';
import type { Repository } from '../repository/repository.ts';
import type { WalArchive, WalObject } from '../repository/wal.ts';
import type { Finding } from './finding.ts';

export interface CodecCheckOptions extends CallOptions, AtHand {
  /** The system of the server; without it, or where the archive does not hold it, all that it holds. */
  readonly systemId: string | undefined;
  /** Whether the repository is only to be read: then nothing is tried that writing needs. */
  readonly readOnly: boolean;
}

type Outcome = Omit<Finding, 'subject' | 'check'>;

/** One of the newest objects. */
interface Newest {
  /** `backup 2026…`, `WAL 0000…`. */
  readonly name: string;
  readonly suffixes: readonly string[];
  /** Keys that its record names. */
  readonly recorded: readonly string[];
  readonly seen: ObjectKeys;
}

/** A backup whose record cannot be read. */
type BrokenBackup = Extract<BackupEntry, { readonly state: 'unreadable' }>;

/**
 * Tries the codecs of what would be written, and reads the headers of the newest backup and the newest WAL segment. A backup whose record
 * cannot be read is a failure of its own where it is newer than those that can. Throws what the storage throws; a repository that holds
 * nothing yet is in order.
 */
export async function* checkCodecs(
  repository: Repository,
  options: CodecCheckOptions,
): AsyncGenerator<Finding, void, undefined> {
  const call: CallOptions = options.signal === undefined ? {} : { signal: options.signal };
  const subject = `repository ${repository.name}`;
  if (!options.readOnly) yield { subject, check: 'codecs', ...(await tryCodecs(repository.codecs, call)) };
  const { newest, broken } = await newestObjects(repository, options.systemId, call);
  if (broken.length > 0) yield { subject, check: 'backup record', ...brokenRecords(broken) };
  if (newest.length === 0) return;
  yield {
    subject,
    check: 'keys',
    ...(await readability(repository, newest, { identities: options.identities, ...call })),
  };
  if (!options.readOnly) {
    const change = changeOfKeys(repository.codecs, newest);
    if (change !== undefined) yield { subject, check: 'new objects', ...change };
  }
}

/** Encodes a little, so that a key or a program that is missing shows now and not at the next backup. */
async function tryCodecs(codecs: readonly Codec[], call: CallOptions): Promise<Outcome> {
  if (codecs.length === 0) return { state: 'ok', message: 'none: objects are stored as they are' };
  const names = codecs.map(({ suffix }) => `.${suffix}`).join('');
  const stream = encodeThrough(codecs, bodyOf(Buffer.from('pgark')), { concurrency: 1, ...call });
  try {
    let size = 0;
    for await (const chunk of stream) size += chunk.byteLength;
    const keys = codecs.filter(hasKeys).flatMap(({ keyIds = [] }) => keyIds.map(shortKey));
    const whom = keys.length === 0 ? '' : ` for ${keys.join(', ')}`;
    return { state: 'ok', message: `5 bytes became ${size} as ${names}${whom}` };
  } catch (error) {
    if (!isArchiveError(error) || error.code === 'ABORTED') throw error;
    const nobody = error.code === 'CODEC_KEY' && codecs.some((codec) => hasKeys(codec) && codec.keyIds?.length === 0);
    if (!nobody) return { state: 'failed', message: `${error.code}: ${error.message}`, hint: error.hint };
    return {
      state: 'failed',
      message: `nothing can be written as ${names}: there is no key to write for`,
      hint: 'Give the codec a recipient or a key; on a host that only restores, say readOnly: true for the repository.',
    };
  }
}

async function newestObjects(
  repository: Repository,
  systemId: string | undefined,
  call: CallOptions,
): Promise<{ readonly newest: readonly Newest[]; readonly broken: readonly BrokenBackup[] }> {
  const newest: Newest[] = [];
  const broken: BrokenBackup[] = [];
  try {
    await repository.open(call);
  } catch (error) {
    if (isArchiveError(error, 'REPOSITORY_NOT_FOUND')) return { newest, broken };
    throw error;
  }
  const held = await repository.systemIds(call);
  const systems = systemId !== undefined && held.includes(systemId) ? [systemId] : held;
  const look = async (object: InspectedObject): Promise<ObjectKeys> =>
    withReason(repository, object, await inspectObject(repository, object, call), call);
  for (const system of systems) {
    const catalog = repository.backups(system);
    const entries = await catalog.list(call);
    const record = newestBackup(entries);
    broken.push(...entries.filter(isBroken).filter(({ id }) => record === undefined || id > record.id));
    if (record !== undefined) {
      const { name, storedSize: size } = record.manifest;
      const { suffixes } = splitObjectName(name);
      const seen = await look({ key: catalog.objectKey(record.id, name), size, suffixes }).catch(goneFrom);
      const recorded = record.codecs.flatMap(({ keyIds }) => keyIds);
      newest.push({ name: `backup ${record.id}`, suffixes, recorded, seen });
    }
    const wal = await newestWal(repository.wal(system), call);
    if (wal !== undefined) {
      const { key, size, codecs: suffixes } = wal;
      const seen = await look({ key, size, suffixes });
      newest.push({ name: `WAL ${wal.file.name}`, suffixes, recorded: [], seen });
    }
  }
  return { newest, broken };
}

const isBroken = (entry: BackupEntry): entry is BrokenBackup => entry.state === 'unreadable';

function brokenRecords(broken: readonly BrokenBackup[]): Outcome {
  return {
    state: 'failed',
    message: broken.map(({ id, error: { code, message } }) => `backup ${id}: ${code}: ${message}`).join('; '),
    hint: 'It is not restored from as it is: take a new backup, or read the record from another repository, and check the storage.',
  };
}

function newestBackup(entries: readonly BackupEntry[]): BackupRecord | undefined {
  const records = entries.flatMap((entry) => (entry.state === 'complete' ? [entry.record] : []));
  return records.sort((one, other) => Date.parse(one.stopTime) - Date.parse(other.stopTime)).at(-1);
}

/** The last segment of the highest timeline that has any. */
async function newestWal(wal: WalArchive, call: CallOptions): Promise<WalObject | undefined> {
  for (const timeline of (await wal.timelines(call)).toReversed()) {
    const last = await wal.last(timeline, call);
    if (last !== undefined) return last;
  }
  return undefined;
}

async function readability(
  repository: Repository,
  newest: readonly Newest[],
  atHand: AtHand & CallOptions,
): Promise<Outcome> {
  const state = await keyStateOf(
    repository,
    newest.map(({ seen }) => seen),
    atHand,
  );
  const names = newest.map(({ name }) => name).join(' and ');
  const closed = newest.filter(({ seen }) => seen.readable !== true);
  const why = closed.map(({ name, seen }) => `${name}: ${reasonOf(seen)}`).join('; ');
  switch (state) {
    case 'readable': {
      const keyed = newest.some(({ seen }) => seen.layers.length > 0);
      return { state: 'ok', message: keyed ? `the keys at hand open ${names}` : `${names} need no key` };
    }
    case 'write-only':
      return {
        state: 'skipped',
        message: `restore.identities is empty: this config writes and cannot read ${closed.map(({ name }) => name).join(' and ')}`,
        hint: 'As it should be on a host that only writes. Run "pgark keys" where the identities are, before you rely on them.',
      };
    case 'unknown':
      return { state: 'warning', message: why, hint: 'Restore from it somewhere, to know that it can be read.' };
    case 'unreadable': {
      const worst = closed.find(({ seen }) => seen.problem !== undefined) ?? closed[0];
      const hint = worst === undefined ? '' : `${hintOf(worst.seen)} "pgark keys" shows what else is concerned.`;
      return { state: 'failed', message: why, hint };
    }
  }
}

/** How what is written from now on differs from the newest objects; undefined when it does not, or the headers do not tell. */
function changeOfKeys(codecs: readonly Codec[], newest: readonly Newest[]): Outcome | undefined {
  const now = codecs.filter(hasKeys);
  const keysNow = now.flatMap(({ keyIds = [] }) => keyIds);
  const wasKeyed = newest.filter(({ seen, recorded }) => seen.layers.length > 0 || recorded.length > 0);
  const [first] = wasKeyed;
  if (now.length === 0) {
    if (first === undefined) return undefined;
    return {
      state: 'warning',
      message: `new objects are written without encryption; ${wasKeyed.map(({ name }) => name).join(' and ')} had it`,
      hint: 'If this is not meant, add the codec with its keys to the repository: nobody needs a key for what is written now.',
    };
  }
  if (keysNow.length === 0) return undefined; // the codecs were tried: it is said already
  const changed = newest.flatMap((object) => difference(object, keysNow) ?? []);
  if (changed.length === 0) return undefined;
  return {
    state: 'ok',
    message: `are for ${keysNow.map(shortKey).join(', ')}, ${changed.join(' and ')}: keys are being changed`,
  };
}

/** How the keys of an object differ from those of today; undefined when they do not, as far as can be told. */
function difference({ name, seen, recorded }: Newest, keysNow: readonly string[]): string | undefined {
  // A header need not name its keys; a record does.
  const named = new Set(recorded.length > 0 ? recorded : seen.layers.flatMap(({ keyIds }) => keyIds));
  const unnamed = recorded.length > 0 ? 0 : seen.layers.reduce((sum, { unknown }) => sum + unknown, 0);
  if (named.size + unnamed === 0)
    return seen.problem === undefined ? `${name} was written without encryption` : undefined;
  if (keysNow.length === named.size + unnamed && [...named].every((id) => keysNow.includes(id))) return undefined;
  const whom = [...[...named].map(shortKey), ...(unnamed === 0 ? [] : [`${unnamed} that its header does not name`])];
  return `${name} was for ${whom.join(', ')}`;
}
