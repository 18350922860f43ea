import {
  HttpDelivery,
  type ArchiveEvent,
  type DeliveryAnswer,
  type Hook,
  type HookContext,
  type Secret,
} from '@pgark/sdk';
import { pagerDutyAlert, type PagerDutySeverities } from './pagerduty-alert.ts';

export interface PagerDutyHookOptions {
  /** Integration key of an "Events API v2" integration. */
  readonly routingKey: Secret;
  /** URL of `enqueue`. */
  readonly endpoint: string;
  readonly severities: PagerDutySeverities;
}

/**
 * Triggers and resolves alerts of PagerDuty. A condition is one alert, from its opening to its close; an event without one is an alert of its own
 * when it is at least a warning, and else no business of whoever is on call.
 */
export class PagerDutyHook implements Hook {
  readonly #options: PagerDutyHookOptions;
  readonly #delivery: HttpDelivery;

  constructor(options: PagerDutyHookOptions) {
    this.#options = options;
    this.#delivery = new HttpDelivery({ to: 'PagerDuty', secrets: [options.routingKey], reason: reasonOf });
  }

  async handle(event: ArchiveEvent, { signal }: HookContext): Promise<void> {
    const { routingKey, endpoint, severities } = this.#options;
    const alert = pagerDutyAlert(event, severities);
    if (alert === undefined) return;
    const body = JSON.stringify({ routing_key: routingKey.reveal(), ...alert });
    await this.#delivery.send({ url: endpoint, body }, { signal });
  }

  close(): Promise<void> {
    return this.#delivery.close();
  }
}

/** What is wrong with the event, in PagerDuty's words. */
function reasonOf({ body }: DeliveryAnswer): string | undefined {
  try {
    const { message, errors } = JSON.parse(body) as { readonly message?: unknown; readonly errors?: unknown };
    const texts = [message, ...(Array.isArray(errors) ? (errors as unknown[]) : [])].filter(
      (text) => typeof text === 'string',
    );
    return texts.join(', ');
  } catch {
    return undefined; // not from PagerDuty, but from something before it
  }
}
