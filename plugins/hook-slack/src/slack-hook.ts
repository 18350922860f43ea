import { HttpDelivery, type ArchiveEvent, type Hook, type HookContext, type Secret } from '@pgark/sdk';
import { slackMessage } from './slack-message.ts';

export interface SlackHookOptions {
  /** URL of an incoming webhook. */
  readonly url: Secret;
  /** Whom to mention when something critical begins: `here`, `channel`, ids of users and groups. */
  readonly mention: readonly string[];
}

/** Posts events to a Slack channel, by an incoming webhook. */
export class SlackHook implements Hook {
  readonly #options: SlackHookOptions;
  readonly #delivery: HttpDelivery;

  constructor(options: SlackHookOptions) {
    this.#options = options;
    this.#delivery = new HttpDelivery({
      to: 'the webhook of Slack',
      secrets: [options.url],
      // Slack answers with one word, such as `channel_is_archived`.
      reason: ({ body }) => /^[a-z_]{1,80}$/.exec(body.trim())?.[0],
    });
  }

  async handle(event: ArchiveEvent, { signal }: HookContext): Promise<void> {
    const { url, mention } = this.#options;
    await this.#delivery.send({ url: url.reveal(), body: JSON.stringify(slackMessage(event, mention)) }, { signal });
  }

  close(): Promise<void> {
    return this.#delivery.close();
  }
}
