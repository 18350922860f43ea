/** A workflow on loopback that takes the messages which the documentation of Teams allows. */
import { HttpReceiver, type ReceivedRequest } from '../../../test/support/http-receiver.ts';

export const PATH =
  '/powerautomate/automations/direct/workflows/0a1b/triggers/manual/paths/invoke?api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sig=SIGNATUREsignature';

export interface CardElement {
  readonly type: string;
  readonly id?: string;
  readonly inlines: readonly { readonly type: string; readonly text: string; readonly color?: string }[];
}

export interface TeamsMessage {
  readonly type: string;
  readonly attachments: readonly {
    readonly contentType: string;
    readonly content: {
      readonly type: string;
      readonly version: string;
      readonly body: readonly CardElement[];
      readonly msteams?: { readonly entities?: unknown };
    };
  }[];
}

export function startTeams(): Promise<HttpReceiver> {
  return HttpReceiver.listen((request) => {
    if (request.path !== PATH) return { status: 401, body: `{"error":{"code":"DirectApiAuthorizationRequired"}}` };
    const fault = faultOf(request);
    return fault === undefined ? { status: 202 } : { status: fault === 'size' ? 413 : 400, body: fault };
  });
}

/** https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using and the schema of Adaptive Cards. */
function faultOf({ method, headers, body }: ReceivedRequest): string | undefined {
  if (method !== 'POST' || headers['content-type'] !== 'application/json') return 'content type';
  if (Buffer.byteLength(body) > 28_000) return 'size';
  const { type, attachments } = JSON.parse(body) as TeamsMessage;
  if (type !== 'message' || attachments.length !== 1) return 'message';
  for (const { contentType, content } of attachments) {
    if (contentType !== 'application/vnd.microsoft.card.adaptive') return 'attachment';
    if (content.type !== 'AdaptiveCard' || !/^1\.[0-5]$/.test(content.version)) return 'card';
    const ids = content.body.flatMap(({ id }) => (id === undefined ? [] : [id]));
    if (new Set(ids).size !== ids.length) return 'id';
    for (const { type: element, inlines } of content.body) {
      if (element !== 'RichTextBlock' || inlines.length === 0) return 'element';
      if (inlines.some((run) => run.type !== 'TextRun' || run.text === '')) return 'run';
    }
  }
  return undefined;
}
