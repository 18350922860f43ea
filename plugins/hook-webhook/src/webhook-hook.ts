import { HttpDelivery, type ArchiveEvent, type Hook, type HookContext, type Secret } from '@pgark/sdk';
import { PRESETS, type PresetName } from './presets.ts';
import { signatureHeaders } from './signature.ts';
import { fillTemplate, type Json } from './template.ts';

export interface WebhookHookOptions {
  readonly url: Secret;
  /** Signs every request: with each of several, while one takes the place of another. */
  readonly secret?: Secret | readonly Secret[];
  readonly headers: readonly { readonly name: string; readonly value: Secret }[];
  /** Default `event`. */
  readonly preset?: PresetName;
  /** A template in the place of a preset. */
  readonly body?: Json;
}

/** Posts events as JSON, with the headers of Standard Webhooks (https://www.standardwebhooks.com): id, time, and a signature where there is a secret. */
export class WebhookHook implements Hook {
  readonly #options: WebhookHookOptions;
  readonly #delivery: HttpDelivery;

  constructor(options: WebhookHookOptions) {
    this.#options = options;
    // Any server may answer, and may give back what it got: its words are not passed on.
    this.#delivery = new HttpDelivery({ to: 'the webhook' });
  }

  async handle(event: ArchiveEvent, { signal }: HookContext): Promise<void> {
    const { url, secret, headers, preset = 'event', body: template } = this.#options;
    const { contentType, content } = template === undefined ? PRESETS[preset] : { contentType: 'application/json' };
    // A template may be nothing but a name that this event does not have.
    const filled = (template === undefined ? content?.(event) : fillTemplate(template, event)) ?? null;
    const body = JSON.stringify(filled);
    const secrets = secret === undefined ? [] : [secret].flat();
    const more = headers.map(({ name, value }) => [name.toLowerCase(), value.reveal()] as const);
    await this.#delivery.send(
      {
        url: url.reveal(),
        headers: {
          'content-type': contentType,
          ...Object.fromEntries(more),
          ...signatureHeaders(event.id, body, secrets),
        },
        body,
      },
      { signal },
    );
  }

  close(): Promise<void> {
    return this.#delivery.close();
  }
}
