/** HTML that is escaped by construction: what stands between the pieces of a template is text, unless a template made it. */
import { html } from 'hono/html';

/** What {@link markup} has made. */
export interface Markup {
  readonly isEscaped: true;
  toString(): string;
}

/** What may stand in a template; `undefined` and `false` are nothing. */
export type Child = string | number | bigint | Markup | undefined | false | readonly Child[];

/** The tag of templates. None of their children is a promise, so that the result is there at once. */
export function markup(strings: TemplateStringsArray, ...children: readonly Child[]): Markup {
  return html(strings, ...children) as Markup;
}
