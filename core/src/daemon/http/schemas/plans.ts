/** Plans of restores and expiries. */
import * as z from 'zod';
import { bytes, failure, lsn, moment, problem, systemId, time, timeline } from './common.ts';

const plan = z
  .object({
    reachable: z.boolean(),
    cluster: z.string(),
    systemId,
    serverVersion: z.int(),
    target: z.object({
      kind: z.string(),
      text: z.string(),
      lsn: lsn('Where it is.').optional(),
      time: moment('When it was').optional(),
    }),
    action: z.string(),
    standby: z.boolean(),
    repositories: z.array(z.string()),
    backup: z.object({
      id: z.string(),
      repositories: z.array(z.string()),
      stopLsn: lsn('From here on it is consistent.'),
      stopTime: time('When that was.'),
      timeline,
    }),
    timeline,
    path: z.array(z.object({ timeline, start: lsn('From.'), end: lsn('To.').optional() })),
    wal: z.object({
      segments: z.int().nonnegative(),
      first: z.string().optional(),
      last: z.string().optional(),
      storedBytes: bytes('As stored.'),
      end: lsn('Where it ends.').optional(),
      lastTransaction: moment('The last transaction in it').optional(),
      missing: z
        .object({
          names: z.array(z.string()),
          count: z.int(),
          behind: z.object({ from: z.string(), to: z.string(), count: z.int() }),
        })
        .optional(),
    }),
    data: z.object({ bytes: bytes('Of the files.'), files: z.int() }),
    folders: z.array(z.unknown()).describe('Always empty here: no folder was named.'),
    tablespaces: z.array(z.object({ oid: z.string(), from: z.string(), to: z.string().optional() })),
    settings: z.record(z.string(), z.string()).describe('What the restored server gets.'),
    problems: z.array(failure),
    warnings: z.array(z.string()),
  })
  .meta({ id: 'RestorePlan', description: 'As `pgark restore --plan --json`.' });

export const planAnswer: z.ZodType = z.object({
  plan,
  command: z
    .string()
    .optional()
    .describe(
      'What to run on the host that restores, with the folder in the place of DIRECTORY; absent when the target cannot be reached.',
    ),
});

const backupDecision = z.object({
  id: z.string(),
  systemId,
  state: z.enum(['complete', 'incomplete', 'unreadable', 'expired']),
  label: z.string().optional(),
  stopTime: time('When it was consistent.').optional(),
  objects: z.int().nonnegative(),
  bytes: bytes('As stored.'),
  action: z.enum(['keep', 'remove']),
  reasons: z.array(z.object({ rule: z.string(), text: z.string(), line: timeline.optional() })).optional(),
  rule: z.string().optional(),
  reason: z.string().optional(),
  text: z.string().describe('`kept because ...`, `removed because ...`'),
});

export const expireAnswer: z.ZodType = z.object({
  plans: z.array(
    z
      .object({
        repository: z.string(),
        confirmed: z.literal(false),
        backups: z.array(backupDecision),
        wal: z.array(
          z.object({
            systemId,
            timeline,
            from: z.string(),
            to: z.string(),
            objects: z.int().nonnegative(),
            bytes: bytes('As stored.'),
            action: z.enum(['keep', 'remove']),
            reason: z.string(),
            text: z.string(),
          }),
        ),
        notes: z.array(z.string()),
      })
      .meta({ id: 'ExpirePlan', description: 'As `pgark expire --json`.' }),
  ),
  failures: z.array(problem.extend({ repository: z.string() })),
});
