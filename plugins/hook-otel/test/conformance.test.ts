import { Secret, type ArchiveEvent } from '@pgark/sdk';
import { describeHook, HttpHookReceiver, type HttpHookRequest } from '@pgark/sdk/testing';
import { OtelHook } from '../src/index.ts';
import { metricsOf, spansOf } from './collector.ts';

const TOKEN = 'Bearer hush-hush/42';
const headers = [{ name: 'Authorization', value: new Secret(TOKEN) }];
const refusal = { status: 401, body: JSON.stringify({ code: 16, message: `no: ${TOKEN}` }) };
const accept = { status: 200, headers: { 'content-type': 'application/json' }, body: '{"partialSuccess":{}}' };

/** Names of everything, and nothing of what was measured or said. */
function shapeOf(request: HttpHookRequest): string {
  const names = request.path.endsWith('traces')
    ? spansOf(request).map(({ name, attributes, resource }) => [name, Object.keys(attributes), Object.keys(resource)])
    : [...metricsOf(request).values()].map(({ name, points }) => [
        name,
        points.map((point) => Object.keys(point.attributes)),
      ]);
  return JSON.stringify([request.path, Object.keys(request.headers), names]);
}

describeHook('otel, traces', {
  receiver: () =>
    HttpHookReceiver.start({
      accept,
      reject: refusal,
      shape: shapeOf,
      id: (request) => spansOf(request)[0]?.attributes['pgark.event.id'] as string,
      text: (request) => String(spansOf(request)[0]?.attributes['pgark.event.summary']),
    }),
  create: ({ url }) => new OtelHook({ url, headers, metrics: false }),
  sends: ({ name }: ArchiveEvent) => /^(?:backup|restore|verify|drill)\.(?:finished|failed)$/.test(name),
  secrets: [TOKEN],
});

describeHook('otel, metrics', {
  receiver: () => HttpHookReceiver.start({ accept, reject: refusal, shape: shapeOf, id: () => undefined }),
  create: ({ url }) => new OtelHook({ url, headers, traces: false }),
  carriesId: false,
  carriesText: false,
  secrets: [TOKEN],
});
