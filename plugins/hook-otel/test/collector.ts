/** What a collector reads out of OTLP over HTTP in JSON: https://opentelemetry.io/docs/specs/otlp/#otlphttp */
import type { HttpHookReceiver, HttpHookRequest } from '@pgark/sdk/testing';

type Value = string | number | boolean | readonly Value[];
interface AnyValue {
  readonly stringValue?: string;
  readonly intValue?: string | number;
  readonly doubleValue?: number;
  readonly boolValue?: boolean;
  readonly arrayValue?: { readonly values: readonly AnyValue[] };
}
type Attributes = readonly { readonly key: string; readonly value: AnyValue }[];

export interface ReadSpan {
  readonly resource: Readonly<Record<string, Value>>;
  readonly traceId: string;
  readonly spanId: string;
  readonly name: string;
  /** Epoch milliseconds. */
  readonly start: number;
  readonly end: number;
  /** 0 unset, 1 ok, 2 error. */
  readonly status: { readonly code: number; readonly message?: string };
  readonly attributes: Readonly<Record<string, Value>>;
}

export interface ReadPoint {
  readonly attributes: Readonly<Record<string, Value>>;
  /** Of a histogram the sum. */
  readonly value: number;
  readonly count?: number;
}

export interface ReadMetric {
  readonly name: string;
  readonly unit: string;
  readonly type: 'sum' | 'gauge' | 'histogram';
  readonly isMonotonic?: boolean;
  /** 2 is cumulative. */
  readonly temporality?: number;
  readonly points: readonly ReadPoint[];
}

function valueOf(value: AnyValue): Value {
  const { stringValue, intValue, doubleValue, boolValue, arrayValue } = value;
  if (intValue !== undefined) return Number(intValue);
  if (arrayValue !== undefined) return arrayValue.values.map(valueOf);
  return stringValue ?? doubleValue ?? boolValue ?? '';
}

function record(attributes: Attributes = []): Readonly<Record<string, Value>> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, valueOf(value)]));
}

const milliseconds = (nanoseconds: string): number => Number(BigInt(nanoseconds) / 1_000_000n);

interface TraceRequest {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: Attributes };
    readonly scopeSpans: readonly {
      readonly spans: readonly {
        readonly traceId: string;
        readonly spanId: string;
        readonly name: string;
        readonly startTimeUnixNano: string;
        readonly endTimeUnixNano: string;
        readonly status: ReadSpan['status'];
        readonly attributes: Attributes;
      }[];
    }[];
  }[];
}

/** The spans of a request to `/v1/traces`. */
export function spansOf({ body }: HttpHookRequest): readonly ReadSpan[] {
  const { resourceSpans } = JSON.parse(body.toString()) as TraceRequest;
  return resourceSpans.flatMap(({ resource, scopeSpans }) =>
    scopeSpans.flatMap(({ spans }) =>
      spans.map(({ traceId, spanId, name, startTimeUnixNano, endTimeUnixNano, status, attributes }) => ({
        resource: record(resource.attributes),
        traceId,
        spanId,
        name,
        status,
        start: milliseconds(startTimeUnixNano),
        end: milliseconds(endTimeUnixNano),
        attributes: record(attributes),
      })),
    ),
  );
}

interface Points {
  readonly dataPoints: readonly {
    readonly attributes: Attributes;
    readonly asInt?: string | number;
    readonly asDouble?: number;
    readonly sum?: number;
    readonly count?: string | number;
  }[];
  readonly isMonotonic?: boolean;
  readonly aggregationTemporality?: number;
}

interface MetricsRequest {
  readonly resourceMetrics: readonly {
    readonly resource: { readonly attributes: Attributes };
    readonly scopeMetrics: readonly {
      readonly metrics: readonly ({ readonly name: string; readonly unit: string } & Partial<
        Record<'sum' | 'gauge' | 'histogram', Points>
      >)[];
    }[];
  }[];
}

/** The metrics of a request to `/v1/metrics`, by name. */
export function metricsOf({ body }: HttpHookRequest): ReadonlyMap<string, ReadMetric> {
  const { resourceMetrics } = JSON.parse(body.toString()) as MetricsRequest;
  const all = resourceMetrics.flatMap(({ scopeMetrics }) => scopeMetrics.flatMap(({ metrics }) => metrics));
  return new Map(
    all.map((metric) => {
      const type = (['sum', 'gauge', 'histogram'] as const).find((one) => metric[one] !== undefined) ?? 'gauge';
      const { dataPoints = [], isMonotonic, aggregationTemporality } = metric[type] ?? {};
      const points = dataPoints.map(({ attributes, asInt, asDouble, sum, count }) => ({
        attributes: record(attributes),
        value: Number(asInt ?? asDouble ?? sum),
        ...(count === undefined ? {} : { count: Number(count) }),
      }));
      const { name, unit } = metric;
      const read: ReadMetric = {
        name,
        unit,
        type,
        points,
        ...(isMonotonic === undefined ? {} : { isMonotonic }),
        ...(aggregationTemporality === undefined ? {} : { temporality: aggregationTemporality }),
      };
      return [name, read] as const;
    }),
  );
}

/** The attributes of the resource of a request to `/v1/metrics`. */
export function resourceOf({ body }: HttpHookRequest): Readonly<Record<string, Value>> {
  const { resourceMetrics } = JSON.parse(body.toString()) as MetricsRequest;
  return record(resourceMetrics[0]?.resource.attributes);
}

/** Requests to one address, in order. */
export function requestsTo({ requests }: HttpHookReceiver, path: string): readonly HttpHookRequest[] {
  return requests.filter((request) => request.path === path);
}
