import type { ArchiveEvent } from '@pgark/sdk';

export type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json };

const PLACE = /\{\{\s*([a-z]+(?:\.\w+)*)\s*\}\}/g;

/** What a template can name. */
const NAMES = ['id', 'name', 'time', 'cluster', 'host', 'severity', 'summary', 'condition', 'data', 'event'];

/**
 * The template with `{{name}}` in its texts replaced. It is filled as values and written as JSON only afterwards: whatever stands in an event, the
 * structure is that of the template. A text that is one name alone becomes the value, of whatever kind; a property whose value the event does not
 * have is left out.
 */
export function fillTemplate(template: Json, event: ArchiveEvent): unknown {
  const view = { ...event, time: new Date(event.time).toISOString(), event };
  return fill(template, view);
}

function fill(template: Json, view: object): unknown {
  if (typeof template === 'string') return fillText(template, view);
  if (Array.isArray(template)) return template.map((item: Json) => fill(item, view));
  if (typeof template !== 'object' || template === null) return template;
  const entries = Object.entries(template).map(([name, value]) => [name, fill(value, view)]);
  return Object.fromEntries(entries) as unknown;
}

function fillText(text: string, view: object): unknown {
  const whole = new RegExp(`^${PLACE.source}$`).exec(text)?.[1];
  if (whole !== undefined) return valueAt(view, whole);
  return text.replaceAll(PLACE, (_, path: string) => {
    const value = valueAt(view, path);
    if (value === undefined) return '';
    return typeof value === 'string' ? value : JSON.stringify(value);
  });
}

function valueAt(view: object, path: string): unknown {
  let value: unknown = view;
  for (const step of path.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return undefined;
    value = (value as Readonly<Record<string, unknown>>)[step];
  }
  return value;
}

/** What is wrong with a template: a name that no event has, or braces that hold no name. */
export function faultOfTemplate(template: Json): string | undefined {
  if (typeof template === 'string') return faultOfText(template);
  if (typeof template !== 'object' || template === null) return undefined;
  return Object.values(template)
    .map(faultOfTemplate)
    .find((fault) => fault !== undefined);
}

function faultOfText(text: string): string | undefined {
  const paths = [...text.matchAll(PLACE)].map(([, path = '']) => path);
  const unknown = paths.find((path) => !NAMES.includes(path.split('.')[0] ?? ''));
  if (unknown !== undefined) return `{{${unknown}}} is nothing of an event: there are ${NAMES.join(', ')}`;
  return text.replaceAll(PLACE, '').includes('{{') ? 'has "{{" without a name and "}}" behind it' : undefined;
}
