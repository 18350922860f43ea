/** The recoverability map, as `pgark map --json`. */
import * as z from 'zod';
import { bytes, lsn, moment, problem, seconds, systemId, time, timeline } from './common.ts';

export const gap: z.ZodType = z
  .object({
    repository: z.string(),
    timeline,
    toTimeline: timeline,
    from: lsn('Where it begins.'),
    to: lsn('Where there is WAL again.'),
  })
  .meta({ id: 'Gap', description: 'WAL that was lost, as it is on record.' });

const verified = z.object({
  time: time('When it ended.'),
  level: z.string(),
  findings: z.int().nonnegative(),
});

const end = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('end-of-archive'), text: z.string() }),
  z.object({
    kind: z.literal('missing'),
    from: z.string(),
    to: z.string(),
    count: z.int().positive(),
    behind: z.string().optional(),
    text: z.string(),
  }),
  z.object({ kind: z.literal('conflict'), segment: z.string(), text: z.string() }),
  z.object({ kind: z.literal('damaged'), segment: z.string(), problem: z.string(), text: z.string() }),
]);

export const window: z.ZodType = z
  .object({
    from: z.object({ timeline, lsn: lsn('The end of its first backup.'), time: time('When that was.') }),
    to: z.object({
      timeline,
      lsn: lsn('The last that can be a target.'),
      time: moment('Every moment before it can be a target').optional(),
      timeKnown: z
        .boolean()
        .describe('False: what is the last moment nobody knows. True without `time`: no transaction ended.'),
    }),
    walEnd: lsn('The end of the last record, as far as it was read.').optional(),
    backups: z.array(z.string()).describe('Ids of those that lead into it, oldest first.'),
    end: end.describe('Why it ends there; `text` is for people.'),
    unreadable: z
      .object({
        state: z.literal('unreadable'),
        segment: z.string(),
        code: z.string(),
        message: z.string(),
        recordedTime: moment('What commit times beside the WAL say').optional(),
      })
      .optional()
      .describe('What of its end could not be read.'),
  })
  .meta({ id: 'Window', description: 'A stretch in which each position and moment can be restored.' });

const system = z.object({
  systemId,
  segmentSize: bytes('Of a segment.'),
  segments: z.int().nonnegative().describe('Whole segments.'),
  latestTimeline: timeline.describe('That a restore follows when none is named.'),
  timelines: z.array(
    z.object({
      timeline,
      historyMissing: z.boolean(),
      problem: z.string().optional(),
      windows: z.array(window),
    }),
  ),
  backups: z.array(
    z.object({
      id: z.string(),
      state: z.enum(['restorable', 'suspect', 'damaged', 'no-wal']),
      problem: z.string().optional(),
      timeline,
      stopLsn: lsn('From here on it is consistent.'),
      stopTime: time('When that was.'),
      repositories: z.array(z.string()),
      verified: verified.optional(),
    }),
  ),
  otherBackups: z.array(z.object({ id: z.string(), repository: z.string(), problem: z.string() })),
  gaps: z.array(gap),
  conflicts: z.array(z.object({ name: z.string(), timeline, repositories: z.array(z.string()) })),
  notCompared: z
    .int()
    .positive()
    .optional()
    .describe('Segments of which nobody knows whether all repositories hold the same.'),
  unreadFacts: z.array(z.string()).optional(),
  unnamedDamage: z.int().positive().optional(),
  walVerified: verified.optional(),
});

export const map: z.ZodType = z
  .object({
    cluster: z.string(),
    systems: z.array(system),
    repositories: z.array(
      z.object({
        name: z.string(),
        id: z.string(),
        listed: time('When it was listed.'),
        since: time('When what does not change any more was.'),
      }),
    ),
    failures: z.array(problem.extend({ repository: z.string() })),
  })
  .meta({ id: 'Map', description: 'What can be restored, as `pgark map --json`; see docs/reference/status.md.' });

const age = {
  ageSeconds: seconds('How old it is.').optional(),
  aheadSeconds: seconds('How far ahead of this clock.').optional(),
};

const receiverStatus = z.object({
  format: z.literal(1),
  pid: z.int(),
  host: z.string(),
  time: time('When it was written.'),
  started: z.string(),
  state: z.string(),
  since: z.string(),
  message: z.string(),
  slot: z.string(),
  systemId: systemId.optional(),
  connected: z.object({ host: z.string(), since: z.string() }).optional(),
  position: z
    .object({
      timeline,
      received: lsn('Received.'),
      flushed: lsn('Durable in the spool.'),
      serverEnd: lsn('The end of the server’s WAL.'),
      lagBytes: bytes('Behind the server.'),
      lagSeconds: seconds('Since it last had all.'),
    })
    .optional(),
  repositories: z.array(
    z.object({ name: z.string(), shipped: lsn('All before it is there.').optional(), waiting: z.int().nonnegative() }),
  ),
});

const receiver = z.discriminatedUnion('state', [
  z.object({
    state: z.enum(['running', 'stale', 'stopped']),
    status: receiverStatus,
    ageSeconds: seconds('Of its last word.'),
  }),
  z.object({ state: z.literal('absent') }),
  z.object({ state: z.literal('unreadable'), problem: z.string() }),
]);

const server = z.discriminatedUnion('state', [
  z.object({
    state: z.literal('answered'),
    host: z.string(),
    systemId,
    inRecovery: z.boolean(),
    timeline,
    walEnd: lsn('The end of its WAL.'),
    slot: z
      .object({
        active: z.boolean(),
        restartLsn: lsn('From here on it keeps WAL.').optional(),
        walStatus: z.string().optional(),
        keptBytes: z.int().optional(),
        safeBytes: z.int().optional(),
        invalidation: z.string().optional(),
      })
      .optional(),
    stream: z
      .object({
        state: z.string(),
        client: z.string().optional(),
        since: z.string().optional(),
        sent: z.string().optional(),
        flushed: z.string().optional(),
      })
      .optional(),
  }),
  z.object({ state: z.literal('unknown'), code: z.string().optional(), problem: z.string() }),
]);

export const status: z.ZodType = z
  .object({
    cluster: z.string(),
    time: time('When it was found out.'),
    level: z.enum(['ok', 'warning', 'critical', 'unknown']),
    reasons: z.array(z.string()).describe('Why, the worst first.'),
    canRestoreTo: z.string().describe('The one line that counts, for people.'),
    newestWindow: window.optional(),
    receiver: receiver.describe('What the receiver of the daemon’s host says of itself.'),
    server: server.describe('What the server says.'),
    lag: z.object({
      bytes: bytes('Of the server’s WAL that no storage has.').optional(),
      seconds: seconds('For how long at most.').optional(),
    }),
    archived: z
      .object({ segment: z.string(), timeline, time: time('When the storage took it.'), ...age })
      .optional()
      .describe('The last whole segment.'),
    lastBackup: z
      .object({
        id: z.string(),
        stopTime: time('From here on it is consistent.'),
        stopLsn: lsn('Where that is.'),
        ...age,
      })
      .optional()
      .describe('The newest that can be restored.'),
    walVerified: verified.optional(),
    lastDrill: z
      .looseObject({ time: time('When it was put on record.') })
      .optional()
      .describe('See docs/reference/format.md.'),
    map,
  })
  .meta({ id: 'Status', description: 'As `pgark status --json`; see docs/reference/status.md.' });

const segments = z.object({
  from: z.string().describe('Name of the first segment.'),
  to: z.string().describe('Name of the last one.'),
  count: z.int().positive(),
  fromLsn: lsn('Its first byte.'),
  toLsn: lsn('Behind its last byte.'),
});

export const wal: z.ZodType = z
  .object({
    systemId,
    segmentSize: bytes('Of a segment.'),
    segments: z.int().nonnegative(),
    timelines: z.array(
      z.object({
        timeline,
        history: z.enum(['none', 'archived', 'conflict']).describe('Whether its history file is there.'),
        runs: z.array(segments).describe('Whole segments without a hole.'),
        holes: z
          .array(segments)
          .describe('What is missing between them; where nothing is needed of it, it was removed.'),
        conflicts: z.array(z.string()).describe('Segments that are there with several contents.'),
        open: z
          .array(
            z.object({
              segment: z.string(),
              partial: z.boolean().describe('The last segment before a promotion.'),
              slices: z
                .array(z.object({ from: z.int().nonnegative(), to: z.int().nonnegative() }))
                .describe('Bytes of it.'),
            }),
          )
          .describe('Segments that are not there as a whole.'),
        last: z.object({ name: z.string(), modified: time('When the storage took it.') }).optional(),
      }),
    ),
    gaps: z.array(gap),
  })
  .meta({ id: 'Wal', description: 'The WAL of one system in all repositories together.' });
