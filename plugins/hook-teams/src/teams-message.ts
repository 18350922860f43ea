import { oneLine, originLine, type ArchiveEvent } from '@pgark/sdk';

/** Teams takes about 28 KB for the whole message: these stay below it in characters of three bytes. */
const MOST_SUMMARY = 4000;
const MOST_TITLE = 250;
const MOST_ORIGIN = 400;
const MOST_ID = 100;

const COLORS = { closed: 'good', info: 'accent', warning: 'warning', critical: 'attention' } as const;

interface TextBlock {
  readonly type: 'RichTextBlock';
  readonly inlines: readonly object[];
}

/** A run of text and not a `TextBlock`: only in the latter Teams reads Markdown, links and mentions. */
const text = (content: string, limit: number, style: object = {}): TextBlock => ({
  type: 'RichTextBlock',
  inlines: [{ type: 'TextRun', text: oneLine(content, limit), ...style }],
});

/** The message of an event: one Adaptive Card, of version 1.4 as Teams has it. */
export function teamsMessage(event: ArchiveEvent): object {
  const { cluster, summary, name, id, severity } = event;
  const closed = event.condition?.state === 'closed';
  const color = COLORS[closed ? 'closed' : severity];
  return {
    type: 'message',
    attachments: [
      {
        contentType: 'application/vnd.microsoft.card.adaptive',
        content: {
          $schema: 'http://adaptivecards.io/schemas/adaptive-card.json',
          type: 'AdaptiveCard',
          version: '1.4',
          fallbackText: oneLine(`${cluster}: ${summary}`, MOST_TITLE),
          msteams: { width: 'Full' },
          body: [
            // By its id a second delivery can be told.
            {
              ...text(`${cluster}: ${name}`, MOST_TITLE, { weight: 'bolder', size: 'medium', color }),
              id: oneLine(id, MOST_ID),
            },
            text(summary === '' ? name : summary, MOST_SUMMARY),
            text(originLine(event), MOST_ORIGIN, {
              size: 'small',
              isSubtle: true,
            }),
          ],
        },
      },
    ],
  };
}
