import { oneLine, type ArchiveEvent } from '@pgark/sdk';

/** Discord's limits, in characters (https://discord.com/developers/docs/resources/message#embed-object-embed-limits); 6000 in all. */
const MOST_TITLE = 256;
const MOST_DESCRIPTION = 4000;
const MOST_FIELD = 200;
const MOST_FOOTER = 300;

const COLORS = { closed: 0x2e_b6_7d, info: 0x43_9f_e0, warning: 0xec_b2_2e, critical: 0xe0_1e_5a };

/** Discord reads Markdown, names of users and channels between < and >, and links in titles and descriptions; a backslash takes that from them. */
const escaped = (character: string): string =>
  /[\\*_~`|<>#+\-[\]()@:]/.test(character) ? `\\${character}` : character;

/** The message of an event: one embed, which mentions nobody whatever stands in it. */
export function discordMessage(event: ArchiveEvent): object {
  const { cluster, summary, host, name, time, id, severity } = event;
  const closed = event.condition?.state === 'closed';
  return {
    allowed_mentions: { parse: [] },
    embeds: [
      {
        title: oneLine(`${cluster}: ${name}`, MOST_TITLE, escaped),
        description: oneLine(summary === '' ? name : summary, MOST_DESCRIPTION, escaped),
        color: COLORS[closed ? 'closed' : severity],
        timestamp: new Date(time).toISOString(),
        fields: [
          { name: 'severity', value: closed ? 'recovered' : severity, inline: true },
          { name: 'host', value: oneLine(host, MOST_FIELD, escaped) || '?', inline: true },
        ],
        // By it a second delivery can be told. A footer is no Markdown.
        footer: { text: oneLine(id, MOST_FOOTER) },
      },
    ],
  };
}
