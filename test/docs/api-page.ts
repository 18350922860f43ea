import * as z from 'zod';
import { errorsOf, openApi } from '../../core/src/daemon/http/openapi.ts';
import { REFUSALS } from '../../core/src/daemon/http/refusal.ts';
import type { Route } from '../../core/src/daemon/http/route.ts';
import { API, ROUTES } from '../../core/src/daemon/http/routes/index.ts';
import { code, MADE, table } from './page.ts';

/** docs/reference/openapi.json */
export function apiDocument(): string {
  return JSON.stringify(openApi(ROUTES, API));
}

/** docs/reference/api.md */
export function apiPage(): string {
  const routes = ROUTES.map((row) => [
    `[${code(`${row.method} ${pathOf(row)}`)}](#${anchorOf(row)})`,
    row.role,
    row.summary,
  ]);
  return `${MADE}

# API

What the HTTP side of \`pgark run\` answers, in JSON. [How to use it](../how-to/api.md) has examples, tokens and proxies. The same as an
[OpenAPI 3.1 document](openapi.json), which a running daemon gives at \`${API}/openapi.json\`.

LSNs and 64-bit numbers are text, times ISO 8601 in UTC, sizes bytes. Within \`v1\` fields and routes may be added, and none is taken away. Parameters and
fields of a body that are not in this list are refused.

${table(['Request', 'Role', ''], routes)}

Beside the API, without credentials:

${table(
  ['Request', ''],
  [
    [
      code('GET /livez'),
      '200, or 503 when a new start of the process would help: a receiving thread gives no sign of life',
    ],
    [
      code('GET /readyz'),
      '200 while every receiver streams, or stands by for one that does; else 503, with a reason for each that does not, and while the daemon starts or drains',
    ],
    [code('POST /login'), 'takes a token, as JSON or as a form, and gives a session as a cookie'],
    [code('GET /assets/...'), 'what the page is drawn with'],
    [code('GET /metrics'), 'with `daemon.openMetrics`; else with the credentials of a viewer'],
  ],
)}

With credentials \`POST /logout\` ends the session of its cookie. WAL for other hosts is [on a port of its own](../how-to/serve-wal.md).

## Errors

\`{ "error": { "code": ..., "message": ..., "hint": ... } }\`, with one of these codes or of [those of all commands](errors.md):

${table(
  ['Code', 'Status', ''],
  REFUSALS.map((one) => [code(one.code), String(one.status), one.hint]),
)}

Errors of the storage, the server and everything else around are 503: nothing is known then, and the same request may be answered in a moment.

${ROUTES.map(routeText).join('\n\n')}
`;
}

function pathOf({ path }: Route): string {
  return (API + path).replace(/\/$/, '');
}

function anchorOf(row: Route): string {
  return `${row.method} ${pathOf(row)}`
    .toLowerCase()
    .replaceAll(/[^a-z0-9 -]/g, '')
    .replaceAll(' ', '-');
}

function routeText(row: Route): string {
  const parameters = [...fields(row.query, 'query'), ...(row.body === undefined ? [] : fields(row.body, 'body'))];
  const statuses = [...errorsOf(row)].map(([status, codes]) => `${status} ${codes.map(code).join(' ')}`);
  return `## ${code(`${row.method} ${pathOf(row)}`)}

${row.summary}. ${row.description ?? ''}

${parameters.length === 0 ? '' : `${table(['Parameter', 'in', ''], parameters)}\n`}
Answers ${row.status}: ${fields(row.answer, '')
    .map(([name]) => name)
    .join(', ')}. Else: ${statuses.join('; ')}.`;
}

interface Described {
  readonly properties?: Readonly<Record<string, { readonly description?: string; readonly enum?: readonly string[] }>>;
}

function fields(schema: z.ZodType, place: string): readonly (readonly string[])[] {
  const made = z.toJSONSchema(schema, { io: 'input' }) as Described & {
    readonly $ref?: string;
    readonly $defs?: Readonly<Record<string, Described>>;
  };
  const whole = made.$ref === undefined ? made : made.$defs?.[made.$ref.slice('#/$defs/'.length)];
  return Object.entries(whole?.properties ?? {}).map(([name, { description = '', enum: choices = [] }]) => [
    code(name),
    place,
    [description, choices.map(code).join(', ')].filter((text) => text !== '').join(' '),
  ]);
}
