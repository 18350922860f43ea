/** The sections of the config that only `pgark run` reads. */
import { Cron } from 'croner';
import * as z from 'zod';
import { isLoopback } from '../listen/listen-address.ts';
import { LISTEN, tls } from './schema-commands.ts';
import { choice, duration, flag, NAME, nameMessage, secret, text, typeNames, uniqueNames } from './schema-types.ts';

type Section = z.ZodType<object, object>;

/** Part of names of objects. */
const JOB_NAME = /^[a-z0-9][a-z0-9-]{0,40}$/;

const HOST_NAME = /^[A-Za-z0-9][A-Za-z0-9.-]{0,252}$/;

const ZONES = new Set(['UTC', ...Intl.supportedValuesOf('timeZone')]);

const job = z
  .strictObject({
    name: text()
      .regex(JOB_NAME, 'must be up to 41 lower case letters, digits and dashes')
      .optional()
      .describe('Its name in messages and on record; without it, that of what it does.'),
    do: choice(['backup', 'verify', 'drill', 'expire', 'gc', 'check']).describe('The command that it is like.'),
    at: text('a cron expression').describe(
      'When, as a cron expression of five fields (minute, hour, day, month, weekday), of six with seconds first, or such as `@daily`.',
    ),
    timeZone: text('a time zone')
      .refine((zone) => ZONES.has(zone), 'must be a time zone such as UTC or Europe/Berlin')
      .default('UTC')
      .describe('Whose clock `at` is about.'),
    jitter: duration({ least: '0s', most: '1d' })
      .prefault('0s')
      .describe('It begins later by a random time of at most this, so that many clusters do not begin at once.'),
    window: duration({ least: '1s', most: '31d' })
      .optional()
      .describe('How late it may still begin after an outage; without it, until it is due again.'),
    timeout: duration({ least: '1s', most: '31d' })
      .optional()
      .describe('After which it is cancelled; without it, never.'),
    label: text().max(900, 'must be at most 900 characters').optional().describe('Of a backup: its label.'),
    level: choice(['chain', 'sample', 'full']).optional().describe('Of a verification: its level.'),
  })
  .superRefine(({ do: kind, at, label, level }, context) => {
    const complain = (key: string, message: string): void => context.addIssue({ code: 'custom', path: [key], message });
    const problem = cronProblem(at);
    if (problem !== undefined) complain('at', `is not a cron expression: ${problem}`);
    if (label !== undefined && kind !== 'backup') complain('label', 'belongs to a backup');
    if (level !== undefined && kind !== 'verify') complain('level', 'belongs to a verification');
  });

function cronProblem(pattern: string): string | undefined {
  try {
    const next = new Cron(pattern, { paused: true, timezone: 'UTC' }).nextRun();
    return next === null ? 'it is never due' : undefined;
  } catch (error) {
    return error instanceof Error ? error.message.replace(/^[A-Za-z]+: /, '') : String(error);
  }
}

/** A list of jobs; their names, given or not, differ. */
export const schedule: z.ZodType<readonly object[], readonly object[]> = z
  .array(job, { error: 'must be a list of jobs' })
  .superRefine((jobs, context) => {
    for (const [at, { name, do: kind }] of jobs.entries()) {
      const first = jobs.findIndex((other) => (other.name ?? other.do) === (name ?? kind));
      if (first === at) continue;
      const message = `is named "${name ?? kind}" like schedule[${first}]: give each a name of its own`;
      context.addIssue({ code: 'custom', path: [at], message });
    }
  });

const peer = z
  .strictObject({
    name: text().regex(NAME, nameMessage).describe('Its name on the page, and no other peer has it.'),
    url: text('a URL')
      .refine((value) => /^https?:$/.test(URL.parse(value)?.protocol ?? ''), 'must be an http or https URL')
      .refine((value) => !hasUserInfo(value), 'must not hold a user or a password: the page shows it')
      .describe('Of its page. With a `token` it is https, unless it is an address of this host.'),
    token: secret.optional().describe('A token of it whose role is `viewer`.'),
  })
  .superRefine(({ url, token }, context) => {
    const { protocol, hostname = '' } = URL.parse(url) ?? {};
    if (token === undefined || protocol !== 'http:' || isLoopback(hostname.replaceAll(/[[\]]/g, ''))) return;
    const message =
      'is plain http to another host, where anybody on the way could read the token: write https, or the address of a tunnel on this host';
    context.addIssue({ code: 'custom', path: ['url'], message });
  });

export const daemon: Section = z.strictObject({
  listen: z
    .union([
      z.literal('off').transform(() => undefined),
      text().regex(LISTEN, 'must be an address and a port such as 127.0.0.1:8733, or off'),
    ])
    .register(typeNames, { name: 'text or `off`' })
    .prefault('127.0.0.1:8733')
    .describe(
      'Where the page, the API and the metrics are. Any but an address of this host alone needs `tls`. `off` answers nobody.',
    ),
  tls: tls.optional().describe('HTTPS; without it, plain HTTP.'),
  names: z
    .array(text('a name').regex(HOST_NAME, 'must be the name of a host, without port'))
    .default([])
    .describe(
      'Names by which browsers and programs ask for it, beside its address, the name of this host and those of its certificate: such as that of a proxy. Others are refused.',
    ),
  tokens: z
    .array(
      z.strictObject({
        name: text().regex(NAME, nameMessage).describe('Who has it, for the log and for what is on record.'),
        role: choice(['viewer', 'operator']).describe(
          '`viewer` reads; `operator` also starts and cancels backups, verifications and drills.',
        ),
        token: secret.describe('At least 16 characters.'),
      }),
    )
    .default([])
    .describe('Who may ask. Without any, and without `tls.clientCa`, only health is answered.'),
  clientRole: choice(['viewer', 'operator'])
    .default('viewer')
    .describe('What those may do who show a certificate of `tls.clientCa`.'),
  openMetrics: flag().default(false).describe('Whether `/metrics` is answered to anybody who can reach it.'),
  refresh: duration({ least: '1s', most: '1h' })
    .prefault('30s')
    .describe(
      'Time between looks at server and archive, for the page, the API and the metrics; backups and runs are listed at every tenth, and when this daemon has changed them.',
    ),
  drain: duration({ least: '1s', most: '1h' })
    .prefault('60s')
    .describe('Time in which, when asked to stop, it ships what was received.'),
  serveWal: flag().default(false).describe('Give WAL to other hosts too, as `pgark serve` does by its section.'),
  peers: z
    .array(peer)
    .superRefine(uniqueNames('daemon.peers'))
    .default([])
    .describe('Other daemons that the page shows too.'),
});

function hasUserInfo(url: string): boolean {
  const { username = '', password = '' } = URL.parse(url) ?? {};
  return username !== '' || password !== '';
}
