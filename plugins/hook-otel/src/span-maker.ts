import { createHash } from 'node:crypto';
import { ROOT_CONTEXT, SpanStatusCode, type Attributes, type Tracer } from '@opentelemetry/api';
import type { Resource } from '@opentelemetry/resources';
import { AlwaysOnSampler, TracerProvider, type ReadableSpan } from '@opentelemetry/sdk-trace';
import { ArchiveError, type ArchiveEvent } from '@pgark/sdk';
import type { EndedOperation } from './starts.ts';

/** Characters of an attribute: back ends refuse, or cut, much longer ones. */
const LONGEST = 4096;

/** Makes the span of an operation from the event that ends it. */
export class SpanMaker {
  readonly #tracer: Tracer;
  /** Where the SDK leaves a span when it ends, which it does at once. */
  #ended: ReadableSpan | undefined;
  #ids = '';

  constructor(resource: Resource) {
    const nothing = async (): Promise<void> => undefined;
    const provider = new TracerProvider({
      resource,
      // Whatever the environment says for the program around it.
      sampler: new AlwaysOnSampler(),
      spanLimits: { attributeValueLengthLimit: LONGEST },
      idGenerator: { generateTraceId: () => this.#ids.slice(0, 32), generateSpanId: () => this.#ids.slice(32, 48) },
      spanProcessors: [
        { onStart: () => undefined, onEnd: (span) => (this.#ended = span), forceFlush: nothing, shutdown: nothing },
      ],
    });
    this.#tracer = provider.getTracer('pgark');
  }

  /** The ids are made from that of the event: told again, it is the same span. */
  make(event: ArchiveEvent, { operation, outcome, start, end }: EndedOperation): ReadableSpan {
    this.#ids = createHash('sha256').update(event.id).digest('hex');
    const attributes: Attributes = {
      'pgark.event.id': event.id,
      'pgark.event.name': event.name,
      'pgark.event.severity': event.severity,
      'pgark.event.summary': event.summary,
      'pgark.operation.outcome': outcome,
      // A span has a start, and this one has none that is known: it is as long as nothing.
      'pgark.operation.start_known': start !== undefined,
      ...dataAttributes(event.data),
    };
    const span = this.#tracer.startSpan(
      `pgark ${operation}`,
      { root: true, startTime: start ?? end, attributes },
      ROOT_CONTEXT,
    );
    span.setStatus(statusOf(event, outcome));
    span.end(end);
    const ended = this.#ended;
    this.#ended = undefined;
    if (ended === undefined) throw new ArchiveError('INTERNAL', `no span was recorded of ${event.name}`);
    return ended;
  }
}

function statusOf(event: ArchiveEvent, outcome: EndedOperation['outcome']): { code: SpanStatusCode; message?: string } {
  const { code } = event.data as { readonly code?: unknown };
  // Somebody wanted it to end.
  if (code === 'ABORTED') return { code: SpanStatusCode.UNSET };
  if (outcome === 'failed' || event.severity === 'critical') {
    return { code: SpanStatusCode.ERROR, message: event.summary.slice(0, LONGEST) };
  }
  return { code: SpanStatusCode.OK };
}

function dataAttributes(data: object): Attributes {
  return Object.fromEntries(
    Object.entries(data).flatMap(([key, value]: [string, unknown]) => {
      if (value === undefined || value === null) return [];
      const isList = Array.isArray(value) && value.every((item) => typeof item === 'string');
      const plain = isList || ['string', 'number', 'boolean'].includes(typeof value);
      return [[`pgark.data.${key}`, plain ? (value as string | number | boolean | string[]) : JSON.stringify(value)]];
    }),
  );
}
