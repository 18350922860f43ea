/**
 * The names of objects in repository format 1, in both directions. Nothing else in pgark knows how a key looks.
 * The format itself is described in `docs/reference/format.md`.
 */
import { ArchiveError } from '../contracts/errors.ts';
import { parseWalFileName, type WalFile } from '../postgres/wal-file.ts';

/** The version of the format that this code writes and reads. */
export const FORMAT = 1;

/** Hexadecimal digits of a digest in a name: the first 128 bits of the SHA-256 of the plain content. */
export const DIGEST_LENGTH = 32;

const CLUSTER = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
const SYSTEM_ID = /^[0-9]{1,20}$/;
const BACKUP_ID = /^[0-9]{8}T[0-9]{6}Z-[0-9a-f]{4}$/;
const SUFFIXES = /^(?:\.[a-z0-9]{1,16})*$/;

/** Checks a cluster name from the config: it becomes the first part of every key. */
export function checkCluster(cluster: string): string {
  if (CLUSTER.test(cluster)) return cluster;
  throw new ArchiveError('CONFIG_INVALID', `not a cluster name: "${cluster}"`, {
    hint: 'Use up to 63 letters, digits, dots, dashes and underscores, beginning with a letter or digit.',
  });
}

/** Whether a part of a key can be a system identifier, a 64-bit number in decimal digits. */
export function isSystemId(text: string): boolean {
  return SYSTEM_ID.test(text);
}

/** Whether a text can be the id of a backup. */
export function isBackupId(text: string): boolean {
  return BACKUP_ID.test(text);
}

/** A new backup id: the UTC time, so that ids sort by age, and four random digits, so that two at once differ. */
export function newBackupId(time: Date, random: () => number = Math.random): string {
  const stamp = time.toISOString().replaceAll(/[-:]|\.\d+/g, '');
  return `${stamp}-${Math.floor(random() * 0x10000)
    .toString(16)
    .padStart(4, '0')}`;
}

export const markerKey = (cluster: string): string => `${cluster}/pgark.json`;
export const walPrefix = (cluster: string, systemId: string): string => `${cluster}/${systemId}/wal/`;
export const backupsPrefix = (cluster: string, systemId: string): string => `${cluster}/${systemId}/backups/`;
/** Of one subject, or of all. */
export const factsPrefix = (cluster: string, systemId: string, subject?: string): string =>
  `${cluster}/${systemId}/facts/${subject === undefined ? '' : `${subject}/`}`;
/** What the facts about runs of jobs are below: their subjects are `job-` and the name of the job. */
export const runsPrefix = (cluster: string, systemId: string): string => `${factsPrefix(cluster, systemId)}job-`;
/** Behind all facts about runs, in the order of keys. */
export const behindRuns = (cluster: string, systemId: string): string => `${runsPrefix(cluster, systemId)}\u{10ffff}`;
/** The subject of the facts about the runs of a job. */
export const jobSubject = (job: string): string => `job-${job}`;
export const leasesPrefix = (cluster: string, systemId: string): string => `${cluster}/${systemId}/leases/`;
export const timesPrefix = (cluster: string, systemId: string): string => `${cluster}/${systemId}/times/`;
/** What `pgark check` tried a storage with, and could not delete. */
export const probesPrefix = (cluster: string): string => `${cluster}/check/`;

/** A moment as names of objects have it, to the millisecond: `20261121T064530123Z`. */
export function formatStamp(time: number): string {
  return new Date(time).toISOString().replaceAll(/[-:.]/g, '');
}

/** Reads {@link formatStamp}, epoch milliseconds; undefined for anything else. */
export function parseStamp(text: string): number | undefined {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(\d{3})Z$/.exec(text);
  if (match === null) return undefined;
  const [, year, month, day, hour, minute, second, milli] = match;
  const time = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}.${milli}Z`);
  return Number.isNaN(time) ? undefined : time;
}

/** When a backup began, by its id, epoch milliseconds. */
export function backupIdTime(id: string): number | undefined {
  return parseStamp(`${id.slice(0, 15)}000Z`);
}

const hex8 = (value: number): string => value.toString(16).toUpperCase().padStart(8, '0');

/** The folder of a WAL file below {@link walPrefix}, with a final slash. */
export function walFolder(file: WalFile): string {
  return file.kind === 'history' ? `${hex8(file.timeline)}/` : `${hex8(file.timeline)}/${hex8(file.log)}/`;
}

/** Below {@link walPrefix}: what the history file of a timeline begins with. */
export function historyPrefix(timeline: number): string {
  return `${hex8(timeline)}/${hex8(timeline)}.history-`;
}

/** Below {@link walPrefix}: the folder of a segment's timeline, and the key behind which everything of it and of later segments lies. */
export function walFrom(segment: string): { readonly folder: string; readonly startAfter: string } {
  const file = parseWalFileName(segment);
  if (file === undefined) throw new ArchiveError('INTERNAL', `not the name of a segment: "${segment}"`);
  return { folder: `${hex8(file.timeline)}/`, startAfter: `${walFolder(file)}${file.name}` };
}

/** What a key below {@link walPrefix} says. */
export interface WalKey {
  readonly file: WalFile;
  readonly digest: string;
  /** Suffixes of the codecs in order of application. */
  readonly codecs: readonly string[];
}

/** The key of a WAL file below {@link walPrefix}. */
export function walKey(file: WalFile, digest: string, codecs: readonly string[]): string {
  return `${walFolder(file)}${file.name}-${digest}${joinSuffixes(codecs)}`;
}

/** Reads a key below {@link walPrefix}; undefined for anything that is not a WAL file in its place. */
export function parseWalKey(key: string): WalKey | undefined {
  const slash = key.lastIndexOf('/');
  const match = /^(.+)-([0-9a-f]{32})((?:\.[a-z0-9]{1,16})*)$/.exec(key.slice(slash + 1));
  const file = match?.[1] === undefined ? undefined : parseWalFileName(match[1]);
  if (match === null || file === undefined || walFolder(file) !== key.slice(0, slash + 1)) return undefined;
  return { file, digest: match[2] ?? '', codecs: splitSuffixes(match[3] ?? '') };
}

/** A slice of a segment that was still being written: bytes `from` up to, not including, `to`. */
export interface TailKey {
  readonly from: number;
  readonly to: number;
  readonly digest: string;
  readonly codecs: readonly string[];
}

/** The folder of the slices of a segment, below {@link walPrefix}, with a final slash. */
export function tailFolder(file: WalFile): string {
  return `${walFolder(file)}${file.name}.tail/`;
}

export function tailKey(file: WalFile, slice: TailKey): string {
  return `${tailFolder(file)}${hex8(slice.from)}-${hex8(slice.to)}-${slice.digest}${joinSuffixes(slice.codecs)}`;
}

export function parseTailName(name: string): TailKey | undefined {
  const match = /^([0-9A-F]{8})-([0-9A-F]{8})-([0-9a-f]{32})((?:\.[a-z0-9]{1,16})*)$/.exec(name);
  if (match === null) return undefined;
  const [from, to] = [Number.parseInt(match[1] ?? '', 16), Number.parseInt(match[2] ?? '', 16)];
  return from < to ? { from, to, digest: match[3] ?? '', codecs: splitSuffixes(match[4] ?? '') } : undefined;
}

/** Reads the key of a slice below {@link walPrefix}; undefined for anything that is not one in its place. */
export function parseTailKey(key: string): { readonly segment: WalFile; readonly slice: TailKey } | undefined {
  const slash = key.lastIndexOf('/');
  const name = /([^/]+)\.tail$/.exec(key.slice(0, slash))?.[1];
  const segment = name === undefined ? undefined : parseWalFileName(name);
  const slice = parseTailName(key.slice(slash + 1));
  if (segment?.kind !== 'segment' || slice === undefined) return undefined;
  return tailFolder(segment) === key.slice(0, slash + 1) ? { segment, slice } : undefined;
}

const LEASE_ID = /^[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}$/;

/** A new id of a lease: as that of a backup, with more chance in it. */
export function newLeaseId(time: Date, random: () => number = Math.random): string {
  const chance = Math.floor(random() * 0x100000000);
  return `${newBackupId(time).slice(0, 17)}${chance.toString(16).padStart(8, '0')}`;
}

/** The key of a lease below {@link leasesPrefix}. */
export function leaseKey(id: string, until: number): string {
  return `${id}/${formatStamp(until)}.json`;
}

/** Reads a key below {@link leasesPrefix}; undefined for anything that is no lease in its place. */
export function parseLeaseKey(key: string): { readonly id: string; readonly until: number } | undefined {
  const [id = '', name = '', ...more] = key.split('/');
  const until = name.endsWith('.json') ? parseStamp(name.slice(0, -'.json'.length)) : undefined;
  return more.length === 0 && until !== undefined && LEASE_ID.test(id) ? { id, until } : undefined;
}

/** Reads a key below {@link factsPrefix} of all subjects; undefined for anything that is no fact in its place. */
export function parseFactKey(
  key: string,
): { readonly subject: string; readonly time: number; readonly kind: string } | undefined {
  const match = /^([A-Za-z0-9-]+)\/([0-9]{8}T[0-9]{9}Z)-([a-z][a-z-]*)\.json$/.exec(key);
  const time = parseStamp(match?.[2] ?? '');
  return match === null || time === undefined ? undefined : { subject: match[1] ?? '', time, kind: match[3] ?? '' };
}

/** What the key of an object with commit times says: the names of the first and the last segment that it speaks of. */
export interface TimesKey {
  readonly timeline: number;
  readonly first: string;
  readonly last: string;
  readonly digest: string;
}

/** The key of an object with commit times, below {@link timesPrefix}. */
export function timesKey({ timeline, first, last, digest }: TimesKey): string {
  return `${hex8(timeline)}/${first}-${last}-${digest}.json`;
}

/** Where the listing of commit times begins that may speak of a segment or a later one of a timeline, below {@link timesPrefix}. */
export function timesFrom(timeline: number, segment: string): { readonly folder: string; readonly startAfter: string } {
  return { folder: `${hex8(timeline)}/`, startAfter: `${hex8(timeline)}/${segment}` };
}

/** Reads a key below {@link timesPrefix}; undefined for anything else. */
export function parseTimesKey(key: string): TimesKey | undefined {
  const match = /^([0-9A-F]{8})\/([0-9A-F]{24})-([0-9A-F]{24})-([0-9a-f]{32})\.json$/.exec(key);
  const [, folder = '', first = '', last = '', digest = ''] = match ?? [];
  if (match === null || !first.startsWith(folder) || !last.startsWith(folder) || first > last) return undefined;
  return { timeline: Number.parseInt(folder, 16), first, last, digest };
}

/** `['zst', 'age']` as `.zst.age`. */
export function joinSuffixes(codecs: readonly string[]): string {
  const text = codecs.map((suffix) => `.${suffix}`).join('');
  if (!SUFFIXES.test(text)) throw new ArchiveError('PLUGIN_INVALID', `not a list of codec suffixes: "${text}"`);
  return text;
}

export function splitSuffixes(text: string): readonly string[] {
  return text === '' ? [] : text.slice(1).split('.');
}
