/** What `backup.json` says: everything one must know to restore a backup without looking at anything else. */
import * as z from 'zod';
import { ArchiveError } from '../contracts/errors.ts';
import { parseLsn } from '../postgres/lsn.ts';
import { FORMAT } from './layout.ts';

/** One stored object of a backup, sizes in bytes, digests as 64 hexadecimal digits. */
export interface BackupObject {
  /** Below the backup's folder, with suffixes. */
  readonly name: string;
  readonly plainSize: number;
  /** Absent for a compressed part: each file in it has a SHA-256 of its own, in `files.json` and in the manifest. */
  readonly plainSha256?: string | undefined;
  readonly storedSize: number;
  readonly storedSha256: string;
}

/** A tar archive of whole files. */
export interface BackupPart extends BackupObject {
  /** `base`, or the OID of a tablespace. */
  readonly archive: string;
  /** From 0, in the order of the server. */
  readonly number: number;
  /** Files, directories and links in the part. */
  readonly entries: number;
}

/** The content of `backup.json`. Times are ISO 8601 in UTC, LSNs are PostgreSQL's text. */
export interface BackupRecord {
  readonly format: typeof FORMAT;
  readonly id: string;
  readonly kind: 'full';
  readonly cluster: string;
  readonly systemId: string;
  /** As `server_version_num`. */
  readonly serverVersion: number;
  readonly segmentSize: number;
  readonly timeline: number;
  readonly startLsn: string;
  readonly stopTimeline: number;
  readonly stopLsn: string;
  readonly startTime: string;
  /** The backup can be restored to any moment from here on. */
  readonly stopTime: string;
  /** The transaction id with its epoch that came next at the last checkpoint which the backup's control file knows, decimal text. */
  readonly nextXid: string;
  readonly dataChecksums: boolean;
  /** Where it was taken from, `host:port`. */
  readonly host: string;
  readonly fromStandby: boolean;
  readonly label: string;
  /** The version of pgark that wrote it. */
  readonly tool: string;
  readonly tablespaces: readonly { readonly oid: string; readonly location: string }[];
  readonly codecs: readonly { readonly id: string; readonly suffix: string; readonly keyIds: readonly string[] }[];
  /** Number of the files in the data directory and its tablespaces. */
  readonly files: number;
  /** Bytes of these files. */
  readonly dataSize: number;
  readonly parts: readonly BackupPart[];
  readonly manifest: BackupObject;
  readonly fileList: BackupObject;
  /** Set when the server found damaged pages while it sent them. */
  readonly suspect?: { readonly message: string; readonly files: readonly string[] } | undefined;
}

const lsn = z.string().regex(/^[0-9A-Fa-f]{1,8}\/[0-9A-Fa-f]{1,8}$/);
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const bytes = z.int().nonnegative();
const oid = z.string().regex(/^[1-9][0-9]*$/);

// Names are joined to the backup's folder: what could leave it is refused.
const storedObject = z.object({
  name: z.string().regex(/^(?:[a-z0-9]+\/)?[A-Za-z0-9_]+(?:\.[a-z0-9]+)*$/),
  plainSize: bytes,
  plainSha256: sha256.optional(),
  storedSize: bytes,
  storedSha256: sha256,
});

const schema: z.ZodType<BackupRecord> = z.object({
  format: z.literal(FORMAT),
  id: z.string(),
  kind: z.literal('full'),
  cluster: z.string(),
  systemId: z.string(),
  serverVersion: z.int(),
  segmentSize: bytes,
  timeline: z.int().positive(),
  startLsn: lsn,
  stopTimeline: z.int().positive(),
  stopLsn: lsn,
  startTime: z.iso.datetime(),
  stopTime: z.iso.datetime(),
  nextXid: z.string().regex(/^[0-9]+$/),
  dataChecksums: z.boolean(),
  host: z.string(),
  fromStandby: z.boolean(),
  label: z.string(),
  tool: z.string(),
  tablespaces: z.array(z.object({ oid, location: z.string() })),
  codecs: z.array(z.object({ id: z.string(), suffix: z.string(), keyIds: z.array(z.string()) })),
  files: bytes,
  dataSize: bytes,
  parts: z.array(storedObject.extend({ archive: z.union([z.literal('base'), oid]), number: bytes, entries: bytes })),
  manifest: storedObject,
  fileList: storedObject,
  suspect: z.object({ message: z.string(), files: z.array(z.string()) }).optional(),
});

/** Reads the bytes of a `backup.json`. Errors: `REPOSITORY_FORMAT`. */
export function parseBackupRecord(content: Uint8Array, key: string): BackupRecord {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(content).toString('utf8'));
  } catch (error) {
    throw new ArchiveError('REPOSITORY_FORMAT', `${key} is not JSON`, { cause: error });
  }
  const result = schema.safeParse(value);
  if (!result.success) {
    const [issue] = result.error.issues;
    const where = issue?.path.join('.') ?? '';
    throw new ArchiveError(
      'REPOSITORY_FORMAT',
      `${key} is not a backup record of format ${FORMAT}: ${where}: ${issue?.message ?? ''}`,
    );
  }
  return result.data;
}

/** The path of the first key in the bytes of a record that {@link parseBackupRecord} made nothing of; undefined without one. */
export function unknownKey(content: Uint8Array, record: BackupRecord): string | undefined {
  return unknownIn(JSON.parse(Buffer.from(content).toString('utf8')), record, '');
}

function unknownIn(given: unknown, known: unknown, path: string): string | undefined {
  if (typeof given !== 'object' || given === null || typeof known !== 'object' || known === null) return undefined;
  for (const [key, value] of Object.entries(given)) {
    if (!Object.hasOwn(known, key)) return path + key;
    const unknown = unknownIn(value, (known as Readonly<Record<string, unknown>>)[key], `${path}${key}.`);
    if (unknown !== undefined) return unknown;
  }
  return undefined;
}

/** The start and stop LSN of a backup as numbers. */
export function backupRange(backup: BackupRecord): { readonly start: bigint; readonly stop: bigint } {
  return { start: parseLsn(backup.startLsn), stop: parseLsn(backup.stopLsn) };
}
