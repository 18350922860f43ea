/** An incoming webhook on loopback that takes what Slack's documentation allows, and refuses in Slack's words. */
import { HttpReceiver, type ReceivedRequest } from '../../../test/support/http-receiver.ts';

export const PATH = '/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX';

interface Text {
  readonly type: string;
  readonly text: string;
  readonly emoji?: boolean;
  readonly verbatim?: boolean;
}

export interface Block {
  readonly type: string;
  readonly block_id?: string;
  readonly text?: Text;
  readonly elements?: readonly Text[];
}

export interface SlackMessage {
  readonly text: string;
  readonly blocks: readonly Block[];
}

export function startSlack(): Promise<HttpReceiver> {
  return HttpReceiver.listen((request) => {
    const fault = faultOf(request);
    return fault === undefined
      ? { status: 200, body: 'ok' }
      : { status: fault === 'no_service' ? 404 : 400, body: fault };
  });
}

/** https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks and the reference of Block Kit. */
function faultOf({ method, path, headers, body }: ReceivedRequest): string | undefined {
  if (path !== PATH) return 'no_service';
  if (method !== 'POST' || headers['content-type'] !== 'application/json') return 'invalid_payload';
  const message = JSON.parse(body) as SlackMessage;
  if (typeof message.text !== 'string' || message.text === '' || message.text.length > 4000) return 'no_text';
  if (message.blocks.length === 0 || message.blocks.length > 50) return 'invalid_blocks';
  const ids = message.blocks.flatMap(({ block_id: id }) => (id === undefined ? [] : [id]));
  if (new Set(ids).size !== ids.length || ids.some((id) => id === '' || id.length > 255)) return 'invalid_blocks';
  return message.blocks.every(isBlock) ? undefined : 'invalid_blocks';
}

function isBlock(block: Block): boolean {
  switch (block.type) {
    case 'header':
      return block.text?.type === 'plain_text' && isText(block.text, 150);
    case 'section':
      return block.text !== undefined && isText(block.text, 3000);
    case 'context':
      return (
        block.elements !== undefined &&
        block.elements.length <= 10 &&
        block.elements.every((text) => isText(text, 3000))
      );
    default:
      return false;
  }
}

function isText({ type, text, emoji }: Text, limit: number): boolean {
  if (type !== 'plain_text' && (type !== 'mrkdwn' || emoji !== undefined)) return false;
  return text !== '' && text.length <= limit;
}
