import { oneLine, type ArchiveEvent } from '@pgark/sdk';
import { inUrl } from './in-url.ts';

interface Preset {
  readonly contentType: string;
  readonly content: (event: ArchiveEvent) => object;
}

export type PresetName = 'event' | 'cloudevents' | 'mattermost';

/** What is posted, by kind of receiver. */
export const PRESETS: Readonly<Record<PresetName, Preset>> = {
  event: { contentType: 'application/json', content: (event) => event },
  cloudevents: { contentType: 'application/cloudevents+json', content: cloudEvent },
  mattermost: { contentType: 'application/json', content: mattermostMessage },
};

/** CloudEvents 1.0, structured (https://github.com/cloudevents/spec). */
function cloudEvent(event: ArchiveEvent): object {
  const { id, name, time, cluster, host, severity, summary, condition, data } = event;
  return {
    specversion: '1.0',
    id,
    source: `/pgark/${inUrl(cluster)}`,
    type: `pgark.${name}`,
    time: new Date(time).toISOString(),
    ...(condition === undefined ? {} : { subject: condition.key }),
    severity,
    datacontenttype: 'application/json',
    data: { cluster, host, summary, ...(condition === undefined ? {} : { condition }), data },
  };
}

/** Mattermost, Rocket.Chat and their kind: Markdown in `text`. */
function mattermostMessage({ cluster, name, summary, severity, condition, host }: ArchiveEvent): object {
  const state = condition?.state === 'closed' ? 'recovered' : severity;
  const line = `${cluster}: ${summary === '' ? name : summary}`;
  return { text: `**${state}** ${oneLine(line, 8000, inMarkdown)} (${oneLine(host, 500, inMarkdown)})` };
}

/** No formatting, no link; and a name after @ is no mention when something invisible stands between. */
function inMarkdown(character: string): string {
  if (character === '@') return '@\u200B';
  return /[\\*_~`|<>#+\-[\](){}!:]/.test(character) ? `\\${character}` : character;
}
