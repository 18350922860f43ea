import {
  HttpDelivery,
  type ArchiveEvent,
  type DeliveryAnswer,
  type Hook,
  type HookContext,
  type Secret,
} from '@pgark/sdk';
import { discordMessage } from './discord-message.ts';

export interface DiscordHookOptions {
  /** URL of a webhook of the channel. */
  readonly url: Secret;
  /** Id of a thread in the channel; default: the channel itself. */
  readonly thread?: string;
}

/** Posts events to a Discord channel, by a webhook. */
export class DiscordHook implements Hook {
  readonly #options: DiscordHookOptions;
  readonly #delivery: HttpDelivery;

  constructor(options: DiscordHookOptions) {
    this.#options = options;
    this.#delivery = new HttpDelivery({ to: 'the webhook of Discord', secrets: [options.url], reason: reasonOf });
  }

  async handle(event: ArchiveEvent, { signal }: HookContext): Promise<void> {
    const { url, thread } = this.#options;
    const target = new URL(url.reveal());
    // Without it Discord says yes to a message that it then does not keep.
    target.searchParams.set('wait', 'true');
    if (thread !== undefined) target.searchParams.set('thread_id', thread);
    await this.#delivery.send({ url: target.href, body: JSON.stringify(discordMessage(event)) }, { signal });
  }

  close(): Promise<void> {
    return this.#delivery.close();
  }
}

/** Discord's own number of the error, and its sentence. */
function reasonOf({ body }: DeliveryAnswer): string | undefined {
  try {
    const { code, message } = JSON.parse(body) as { readonly code?: unknown; readonly message?: unknown };
    if (typeof message !== 'string') return undefined;
    return typeof code === 'number' ? `${message} (${code})` : message;
  } catch {
    return undefined; // not from Discord, but from something before it
  }
}
