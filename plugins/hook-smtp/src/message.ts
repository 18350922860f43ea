/** From an event to a mail. */
import { createHash } from 'node:crypto';
import { oneLine, type ArchiveEvent } from '@pgark/sdk';
import type { SendMailOptions } from 'nodemailer';
import { parseAddress, type Address } from './address.ts';
import { bodyOf } from './body.ts';
import type { SmtpHookOptions } from './options.ts';
import { subjectOf } from './subject.ts';

/** Characters of what a header says of the event. */
const MOST_OF_HEADER = 200;

/**
 * The mail of an event, to these recipients.
 *
 * Its Message-ID is made from the event's id, so that mail programs show a second delivery as one. All events of a condition refer to one id,
 * made from cluster and key: the recovery stands below the outage, also where another process reports it.
 */
export function messageOf(event: ArchiveEvent, options: SmtpHookOptions, to: readonly Address[]): SendMailOptions {
  const { from, subject, attachJson = false } = options;
  const sender = parseAddress(from);
  const domain = sender?.address.split('@').at(-1) ?? 'pgark.invalid';
  const { condition, cluster, time } = event;
  const thread = condition && `<condition.${digest(`${cluster}\0${condition.key}`)}@${domain}>`;
  return {
    from: sender,
    to: [...to],
    subject: subjectOf(event, subject),
    date: new Date(time),
    messageId: `<${messageName(event.id)}@${domain}>`,
    ...(thread === undefined ? {} : { inReplyTo: thread, references: [thread] }),
    ...(event.severity === 'critical' ? { priority: 'high' as const } : {}),
    headers: {
      // Out-of-office answers to it would go to a mailbox that nobody reads: RFC 3834.
      'Auto-Submitted': 'auto-generated',
      'X-Pgark-Event': oneLine(event.name, MOST_OF_HEADER),
      'X-Pgark-Event-Id': oneLine(event.id, MOST_OF_HEADER),
      'X-Pgark-Severity': oneLine(event.severity, MOST_OF_HEADER),
      'X-Pgark-Cluster': oneLine(cluster, MOST_OF_HEADER),
    },
    text: bodyOf(event),
    attachments: attachJson
      ? [
          {
            filename: 'event.json',
            contentType: 'application/json',
            content: `${JSON.stringify(event, undefined, 2)}\n`,
          },
        ]
      : [],
    // Nothing in an event is a path or an address to be read.
    disableFileAccess: true,
    disableUrlAccess: true,
  };
}

function messageName(id: string): string {
  return /^[\w-]{1,64}$/.test(id) ? id : `event.${digest(id)}`;
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 32);
}
