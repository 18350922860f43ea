import { HttpDelivery, type ArchiveEvent, type Hook, type HookContext, type Secret } from '@pgark/sdk';
import { teamsMessage } from './teams-message.ts';

export interface TeamsHookOptions {
  /** URL of a workflow that begins "when a Teams webhook request is received". */
  readonly url: Secret;
}

/** Posts events to a channel or chat of Microsoft Teams, by a workflow. */
export class TeamsHook implements Hook {
  readonly #url: Secret;
  readonly #delivery: HttpDelivery;

  constructor({ url }: TeamsHookOptions) {
    this.#url = url;
    // What a workflow answers to a failure quotes the request: no reason is taken from it.
    this.#delivery = new HttpDelivery({ to: 'the workflow of Teams', secrets: [url] });
  }

  async handle(event: ArchiveEvent, { signal }: HookContext): Promise<void> {
    await this.#delivery.send({ url: this.#url.reveal(), body: JSON.stringify(teamsMessage(event)) }, { signal });
  }

  close(): Promise<void> {
    return this.#delivery.close();
  }
}
