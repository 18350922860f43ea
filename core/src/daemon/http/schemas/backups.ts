/** Backups, as `pgark list --json`. */
import * as z from 'zod';
import { bytes, lsn, problem, systemId, time, timeline } from './common.ts';
import { gap } from './map.ts';

const object = z.object({
  name: z.string(),
  plainSize: bytes('Decoded.'),
  plainSha256: z.string().optional(),
  storedSize: bytes('As stored.'),
  storedSha256: z.string(),
});

/** What a list says of a record: not its parts, of which there may be thousands. */
export const shortRecord: z.ZodObject = z.object({
  format: z.literal(1),
  id: z.string(),
  kind: z.literal('full'),
  cluster: z.string(),
  systemId,
  serverVersion: z.int(),
  segmentSize: bytes('Of a segment.'),
  timeline,
  startLsn: lsn('Where it begins.'),
  stopTimeline: timeline,
  stopLsn: lsn('From here on it is consistent.'),
  startTime: time('When it began.'),
  stopTime: time('It can be restored to any moment from here on.'),
  nextXid: z.string(),
  dataChecksums: z.boolean(),
  host: z.string(),
  fromStandby: z.boolean(),
  label: z.string(),
  tool: z.string(),
  tablespaces: z.array(z.object({ oid: z.string(), location: z.string() })),
  codecs: z.array(z.object({ id: z.string(), suffix: z.string(), keyIds: z.array(z.string()) })),
  files: z.int().nonnegative(),
  dataSize: bytes('Of the files.'),
  suspect: z.object({ message: z.string(), files: z.array(z.string()) }).optional(),
});

export const record: z.ZodObject = shortRecord
  .extend({
    parts: z.array(
      object.extend({ archive: z.string(), number: z.int().nonnegative(), entries: z.int().nonnegative() }),
    ),
    manifest: object,
    fileList: object,
  })
  .meta({ id: 'BackupRecord', description: 'The content of `backup.json`; see docs/reference/format.md.' });

const verified = z
  .union([
    z.enum(['never', 'unknown']),
    z.object({ level: z.string(), finished: time('When it ended.'), verdict: z.enum(['good', 'damaged', 'unknown']) }),
  ])
  .describe('Its last verification.');

const drill = z
  .union([z.literal('unknown'), z.looseObject({ finished: time('When it ended.'), outcome: z.string() })])
  .optional()
  .describe('Its last drill with a verdict; absent without one. See docs/reference/format.md.');

const pin = z
  .object({ repository: z.string(), reason: z.string(), until: time('When it ends.').optional() })
  .optional()
  .describe('Why it is kept whatever the policy says.');

const place = { id: z.string(), repository: z.string(), systemId };
const onRecord = { storedSize: bytes('As stored.'), gaps: z.array(gap), verified, drill, pin };

export const listedBackup: z.ZodType = z
  .discriminatedUnion('state', [
    z.object({ ...place, ...onRecord, state: z.literal('complete'), record: shortRecord }),
    z.object({ ...place, state: z.literal('incomplete').describe('It runs still, or was interrupted.') }),
    z.object({ ...place, state: z.literal('expired').describe('It is being removed.') }),
    z.object({ ...place, state: z.literal('unreadable'), error: problem, verified }),
  ])
  .meta({ id: 'ListedBackup', description: 'A backup in one repository.' });

export const backup: z.ZodType = z
  .object({
    id: z.string(),
    state: z
      .enum(['restorable', 'suspect', 'damaged', 'no-wal', 'unknown'])
      .describe('Whether it can be restored, by the map; `unknown` when the map could not be drawn.'),
    problem: z.string().optional(),
    record,
    copies: z
      .array(z.object({ repository: z.string(), ...onRecord }))
      .describe('In each repository that has it complete.'),
  })
  .meta({ id: 'Backup', description: 'One backup with its parts and all of its copies.' });
