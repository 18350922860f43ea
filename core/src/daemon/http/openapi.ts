/** The OpenAPI document of the table of routes. */
import * as z from 'zod';
import { ERRORS, type ErrorCode } from '../../contracts/errors.ts';
import { statusOf } from './failure-status.ts';
import { REFUSALS } from './refusal.ts';
import { COMMON_ERRORS, type Route } from './route.ts';
import { errorDocument } from './schemas/common.ts';

type Json = Readonly<Record<string, unknown>>;

/** Of the API, not of pgark: it changes when something is taken away. */
const VERSION = '1';

/** `base` comes before each path. */
export function openApi(routes: readonly Route[], base: string): Json {
  const schemas: Record<string, unknown> = {};
  const schemaOf = (schema: z.ZodType, io: 'input' | 'output' = 'input'): unknown => {
    const { $schema: _, $defs = {}, ...made } = z.toJSONSchema(schema, { io, target: 'draft-2020-12' }) as Json;
    for (const [id, definition] of Object.entries($defs as Json)) schemas[id] = plain(definition);
    return plain(made);
  };
  const error = { 'application/json': { schema: schemaOf(errorDocument) } };
  const paths: Record<string, Record<string, unknown>> = {};
  for (const one of routes) {
    const responses: Record<string, unknown> = {
      [one.status]: {
        description: one.status === 202 ? 'It has begun.' : 'As asked for.',
        content: { 'application/json': { schema: schemaOf(one.answer) } },
      },
    };
    for (const [status, codes] of errorsOf(one))
      responses[status] = { description: codes.map((code) => `\`${code}\``).join(', '), content: error };
    const path = (base + one.path).replace(/(?<=.)\/$/, '');
    (paths[path] ??= {})[one.method.toLowerCase()] = {
      summary: one.summary,
      ...(one.description !== undefined && { description: one.description }),
      operationId: operationId(one),
      'x-role': one.role,
      parameters: [...parameters(one.params, 'path', schemaOf), ...parameters(one.query, 'query', schemaOf)],
      ...(one.body !== undefined && {
        requestBody: { required: true, content: { 'application/json': { schema: schemaOf(one.body) } } },
      }),
      responses,
    };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'pgark',
      version: VERSION,
      description:
        'What the daemon knows, as JSON. LSNs and 64-bit numbers are text, times ISO 8601 in UTC, sizes bytes. More fields may come; none is taken away within v1.',
    },
    security: [{ token: [] }, { session: [] }, { certificate: [] }],
    paths,
    components: {
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer', description: 'One of `daemon.tokens`.' },
        session: {
          type: 'apiKey',
          in: 'cookie',
          name: 'pgark-session',
          description: 'Of the page; the name goes on with the port.',
        },
        certificate: { type: 'mutualTLS', description: 'Signed by `daemon.tls.clientCa`.' },
      },
      schemas: Object.fromEntries(Object.entries(schemas).sort(([one], [other]) => (one < other ? -1 : 1))),
    },
  };
}

/** The codes of a route by their status. */
export function errorsOf({ errors }: Route): ReadonlyMap<number, readonly string[]> {
  const found = new Map<number, string[]>();
  for (const code of [...COMMON_ERRORS, ...errors]) {
    const status = REFUSALS.find((one) => one.code === code)?.status ?? statusOf(code as ErrorCode);
    found.set(status, [...(found.get(status) ?? []), code]);
  }
  return new Map([...found].sort(([one], [other]) => one - other));
}

/** Codes that routes name and no table has. */
export function unknownCodes(routes: readonly Route[]): readonly string[] {
  return routes
    .flatMap(({ errors }) => errors)
    .filter((code) => !(code in ERRORS) && !REFUSALS.some((one) => one.code === code));
}

/** `get /clusters/{cluster}/runs/{id}/log` as `getClusterRunsByIdLog`. */
function operationId({ method, path }: Route): string {
  const words = path
    .replace('clusters/{cluster}', 'cluster')
    .replaceAll(/\{(\w+)\}/g, 'by-$1')
    .split(/[^a-z]+/i)
    .filter((word) => word !== '');
  return [
    method.toLowerCase(),
    ...words.map((word) => word[0]?.toUpperCase() + word.slice(1)),
    ...(words.length === 0 ? ['Daemon'] : []),
  ].join('');
}

function parameters(
  shape: z.ZodObject,
  place: 'path' | 'query',
  schemaOf: (schema: z.ZodType) => unknown,
): readonly unknown[] {
  return Object.entries(shape.shape).map(([name, schema]) => {
    const { description, ...rest } = schemaOf(schema as z.ZodType) as Json;
    return {
      name,
      in: place,
      required: place === 'path',
      ...(description !== undefined && { description }),
      schema: rest,
    };
  });
}

/** Without what only JSON Schema alone knows: references lead to the components, and a time needs no pattern. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  const { id: _, ...rest } = value as Json & { readonly id?: unknown };
  const kept = typeof (value as Json)['id'] === 'string' && 'type' in value ? rest : (value as Json);
  return Object.fromEntries(
    Object.entries(kept)
      .filter(([key]) => key !== 'pattern' || kept['format'] !== 'date-time')
      .map(([key, item]) => [
        key,
        key === '$ref' && typeof item === 'string' ? item.replace('#/$defs/', '#/components/schemas/') : plain(item),
      ]),
  );
}
