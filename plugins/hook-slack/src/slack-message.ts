import { oneLine, originLine, type ArchiveEvent } from '@pgark/sdk';

/** Slack's limits, in characters. */
const MOST_HEADER = 150;
const MOST_SECTION = 3000;
const MOST_BLOCK_ID = 255;

/** Slack takes what stands between < and > for links and mentions, in every text (https://docs.slack.dev/messaging/formatting-message-text). */
const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;' };
const escaped = (character: string): string => ENTITIES[character] ?? character;

interface PlainText {
  readonly type: 'plain_text';
  readonly text: string;
  readonly emoji: false;
}

/** Nothing in it is read as formatting, and `:name:` stays what it is. */
const plain = (text: string, limit: number): PlainText => ({
  type: 'plain_text',
  text: oneLine(text, limit, escaped),
  emoji: false,
});

/** The message of an event, in blocks, with a text for notifications. `mention` is used when a critical event opens something. */
export function slackMessage(event: ArchiveEvent, mention: readonly string[]): object {
  const { cluster, summary, name, id } = event;
  const closed = event.condition?.state === 'closed';
  const sign = closed ? '✅' : { info: 'ℹ️', warning: '⚠️', critical: '🔴' }[event.severity];
  const urgent = event.severity === 'critical' && !closed && mention.length > 0;
  return {
    text: oneLine(`${sign} ${cluster}: ${summary}`, MOST_SECTION, escaped),
    mrkdwn: false,
    unfurl_links: false,
    unfurl_media: false,
    blocks: [
      // The id of the event is that of the first block: Slack has no other place where a second delivery could be told.
      { type: 'header', block_id: id.slice(0, MOST_BLOCK_ID), text: plain(`${sign} ${cluster}: ${name}`, MOST_HEADER) },
      { type: 'section', text: plain(summary === '' ? name : summary, MOST_SECTION) },
      ...(urgent ? [{ type: 'section', text: { type: 'mrkdwn', text: mention.map(mentionOf).join(' ') } }] : []),
      {
        type: 'context',
        elements: [plain(originLine(event), MOST_SECTION)],
      },
    ],
  };
}

/** Made of the config alone, never of an event. */
function mentionOf(whom: string): string {
  if (whom === 'here' || whom === 'channel') return `<!${whom}>`;
  return whom.startsWith('S') ? `<!subteam^${whom}>` : `<@${whom}>`;
}
