/** A webhook on loopback that takes what Discord's documentation allows, and refuses as Discord does. */
import { HttpReceiver, type ReceivedRequest } from '../../../test/support/http-receiver.ts';

export const PATH = '/api/webhooks/223704706495545344/3d89bb7572e0fb30d8128367b3b1b44fecd1726de135cbe28a41f8b2f777c372';

interface Field {
  readonly name: string;
  readonly value: string;
}

export interface DiscordMessage {
  readonly content?: string;
  readonly allowed_mentions: { readonly parse: readonly string[] };
  readonly embeds: readonly {
    readonly title: string;
    readonly description: string;
    readonly color: number;
    readonly timestamp: string;
    readonly fields: readonly Field[];
    readonly footer: { readonly text: string };
  }[];
}

export function startDiscord(): Promise<HttpReceiver> {
  return HttpReceiver.listen((request) => {
    if (new URL(request.path, 'http://discord').pathname !== PATH) {
      return { status: 404, body: JSON.stringify({ message: 'Unknown Webhook', code: 10_015 }) };
    }
    const fault = faultOf(request);
    if (fault === undefined) return { status: 200, body: JSON.stringify({ id: '1234' }) };
    return { status: 400, body: JSON.stringify({ message: `Invalid Form Body: ${fault}`, code: 50_035 }) };
  });
}

/** https://discord.com/developers/docs/resources/webhook#execute-webhook and the limits of embeds. */
function faultOf({ method, headers, body }: ReceivedRequest): string | undefined {
  if (method !== 'POST' || headers['content-type'] !== 'application/json') return 'content type';
  const message = JSON.parse(body) as DiscordMessage;
  if (message.embeds.length < 1 || message.embeds.length > 10) return 'embeds';
  let total = 0;
  for (const { title, description, color, timestamp, fields, footer } of message.embeds) {
    if (!Number.isInteger(color) || color < 0 || color > 0xff_ff_ff) return 'color';
    if (new Date(timestamp).toISOString() !== timestamp) return 'timestamp';
    if (fields.length > 25) return 'fields';
    const texts: readonly (readonly [string, number])[] = [
      [title, 256],
      [description, 4096],
      [footer.text, 2048],
      ...fields.flatMap(({ name, value }) => [[name, 256] as const, [value, 1024] as const]),
    ];
    for (const [text, limit] of texts) {
      if (text.trim() === '' || text.length > limit) return `a text of ${text.length}, at most ${limit}`;
      total += text.length;
    }
  }
  return total > 6000 ? `${total} characters in all` : undefined;
}
