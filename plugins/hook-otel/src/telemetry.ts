/** What is kept of one cluster on one host: the libraries of OpenTelemetry, without anything registered for the whole process. */
import { JsonMetricsSerializer, JsonTraceSerializer } from '@opentelemetry/otlp-transformer';
import { resourceFromAttributes } from '@opentelemetry/resources';
import type { ArchiveEvent } from '@pgark/sdk';
import { Meters } from './meters.ts';
import { SpanMaker } from './span-maker.ts';
import type { EndedOperation } from './starts.ts';

/** Attributes of everything that is sent. */
export type ResourceAttributes = Readonly<Record<string, string>>;

export class Telemetry {
  readonly #spans: SpanMaker;
  readonly #meters: Meters;

  constructor(attributes: ResourceAttributes) {
    const resource = resourceFromAttributes({ ...attributes });
    this.#spans = new SpanMaker(resource);
    this.#meters = new Meters(resource);
  }

  /** The request to `/v1/traces` for an operation that has ended. */
  trace(event: ArchiveEvent, ended: EndedOperation): string {
    return text(JsonTraceSerializer.serializeRequest([this.#spans.make(event, ended)]));
  }

  /** The request to `/v1/metrics`, with this event counted. */
  async metrics(event: ArchiveEvent, ended: EndedOperation | undefined): Promise<string> {
    this.#meters.count(event, ended);
    return text(JsonMetricsSerializer.serializeRequest(await this.#meters.collect()));
  }
}

function text(bytes: Uint8Array | undefined): string {
  return new TextDecoder().decode(bytes);
}
