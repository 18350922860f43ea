import { randomUUID } from 'node:crypto';
import {
  ArchiveError,
  HttpDelivery,
  oneLine,
  type ArchiveEvent,
  type DeliveryAnswer,
  type Hook,
  type HookContext,
} from '@pgark/sdk';
import type { OtelHookOptions } from './options.ts';
import { Starts } from './starts.ts';
import type { Telemetry } from './telemetry.ts';

/** Clusters and hosts that are told apart at once; an archive has one of each. */
const MOST_SOURCES = 16;

/**
 * Sends spans of operations and metrics to a collector, with each event and not from time to time: what `handle` has resolved for is there.
 *
 * The exporters of the libraries are left out: they try again by themselves, and cannot be cancelled.
 */
export class OtelHook implements Hook {
  readonly #options: OtelHookOptions;
  readonly #delivery: HttpDelivery;
  readonly #starts = new Starts();
  readonly #sources = new Map<string, Telemetry>();
  /** Two processes of one host are two writers of metrics. */
  readonly #instance = randomUUID();

  constructor(options: OtelHookOptions) {
    this.#options = options;
    const secrets = (options.headers ?? []).map(({ value }) => value);
    this.#delivery = new HttpDelivery({
      to: `the collector ${new URL(options.url).host}`,
      secrets,
      reason: statusMessage,
    });
  }

  async handle(event: ArchiveEvent, context: HookContext): Promise<void> {
    const { traces = true, metrics = true } = this.#options;
    // Of some events nothing is sent, so that nobody else looks at the signal.
    if (context.signal.aborted)
      throw new ArchiveError('HOOK_FAILED', `telling the collector of ${event.name} was cancelled`);
    const ended = this.#starts.take(event);
    const telemetry = await this.#telemetryOf(event);
    if (traces && ended !== undefined) await this.#send('traces', telemetry.trace(event, ended), context);
    if (metrics) await this.#send('metrics', await telemetry.metrics(event, ended), context);
  }

  async close(): Promise<void> {
    await this.#delivery.close();
  }

  async #send(signal: 'traces' | 'metrics', body: string, context: HookContext): Promise<void> {
    const { url, headers = [] } = this.#options;
    const answer = await this.#delivery.send(
      {
        url: `${url.replace(/\/+$/, '')}/v1/${signal}`,
        headers: Object.fromEntries(headers.map(({ name, value }) => [name.toLowerCase(), value.reveal()])),
        body,
      },
      context,
    );
    const refused = partOf(answer);
    if (refused === undefined) return;
    const { count, message } = refused;
    const reason = message === '' ? '' : `: ${this.#withoutSecrets(message)}`;
    throw new ArchiveError(
      'HOOK_REJECTED',
      `the collector ${new URL(url).host} refused ${count} of the ${signal}${reason}`,
    );
  }

  /** What a collector says may repeat what it was sent: a whole header, or the token in it. */
  #withoutSecrets(text: string): string {
    const values = (this.#options.headers ?? []).map(({ value }) => value.reveal());
    const parts = values.flatMap((value) => value.split(/\s+/)).filter((part) => part.length > 3);
    const hidden = [...values, ...parts].reduce((left, part) => left.replaceAll(part, '[redacted]'), text);
    return oneLine(hidden, 200);
  }

  async #telemetryOf({ cluster, host }: ArchiveEvent): Promise<Telemetry> {
    // Loaded with the first event: most runs have none.
    const { Telemetry } = await import('./telemetry.ts');
    const key = JSON.stringify([cluster, host]);
    let telemetry = this.#sources.get(key);
    if (telemetry === undefined) {
      const { serviceName = 'pgark', resource } = this.#options;
      telemetry = new Telemetry({
        ...resource,
        'service.name': serviceName,
        'service.instance.id': this.#instance,
        'host.name': host,
        'pgark.cluster': cluster,
      });
      this.#sources.set(key, telemetry);
      const [oldest] = this.#sources.keys();
      if (this.#sources.size > MOST_SOURCES && oldest !== undefined) this.#sources.delete(oldest);
    }
    return telemetry;
  }
}

/** What a collector says of a refusal: a status of gRPC as JSON (https://opentelemetry.io/docs/specs/otlp/#failures-1). */
function statusMessage({ body }: DeliveryAnswer): string {
  const { message } = json(body) as { readonly message?: unknown };
  return typeof message === 'string' ? message : '';
}

/** An answer of 200 may still say that a part was not taken. */
function partOf({ body }: DeliveryAnswer): { readonly count: number; readonly message: string } | undefined {
  const { partialSuccess } = json(body) as { readonly partialSuccess?: Readonly<Record<string, unknown>> };
  // Numbers of 64 bits are texts in the JSON of protobuf.
  const count = Number(partialSuccess?.['rejectedSpans'] ?? partialSuccess?.['rejectedDataPoints'] ?? 0);
  const message = partialSuccess?.['errorMessage'];
  return count > 0 ? { count, message: typeof message === 'string' ? message : '' } : undefined;
}

function json(body: string): object {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    return {}; // most collectors answer with nothing at all
  }
}
