/** The types that keys of the config have, with the words for what is none. */
import * as z from 'zod';
import { Secret } from '../contracts/secret.ts';
import { DURATION, parseDuration, parseSize, SIZE } from './units.ts';

/** How the reference calls a type that JSON knows only as a text. */
export const typeNames: z.core.$ZodRegistry<{ readonly name: string }> = z.registry<{ readonly name: string }>();

export const text = (what = 'a text'): z.ZodString =>
  z.string({ error: `must be ${what}` }).min(1, 'must not be empty');
export const choice = <const Values extends readonly [string, ...string[]]>(
  values: Values,
): z.ZodEnum<{ [K in Values[number]]: K }> => z.enum(values, { error: `must be one of ${values.join(', ')}` });
export const count = (least: number, most: number): z.ZodInt =>
  z
    .int({ error: 'must be a whole number' })
    .min(least, `must be at least ${least}`)
    .max(most, `must be at most ${most}`);
export const flag = (): z.ZodBoolean => z.boolean({ error: 'must be true or false' });

interface Limits {
  readonly least: string;
  readonly most?: string;
}

export function duration({ least, most }: Limits): z.ZodPipe<z.ZodString, z.ZodTransform<number, string>> {
  return unit('duration', DURATION, parseDuration, 'must be a duration such as 10s, 5m or 14d', least, most);
}

export function size({ least, most }: Limits): z.ZodPipe<z.ZodString, z.ZodTransform<number, string>> {
  return unit('size', SIZE, parseSize, 'must be a size such as 256MiB or 1GB', least, most);
}

function unit(
  name: string,
  pattern: RegExp,
  parse: (text: string) => number,
  message: string,
  least: string,
  most: string | undefined,
): z.ZodPipe<z.ZodString, z.ZodTransform<number, string>> {
  const schema = z
    .string({ error: message })
    .regex(pattern, { error: message, abort: true })
    .transform((value, context) => {
      const number = parse(value);
      if (number < parse(least)) context.addIssue({ code: 'custom', message: `must be at least ${least}` });
      if (most !== undefined && number > parse(most))
        context.addIssue({ code: 'custom', message: `must be at most ${most}` });
      return number;
    });
  return schema.register(typeNames, { name });
}

/** Of clusters, repositories and hooks: part of keys and of paths. */
export const NAME: RegExp = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
export const nameMessage: string =
  'must be up to 63 letters, digits, dots, dashes and underscores, beginning with a letter or digit';

/** A secret, or where it is found. */
export const secret: z.ZodType = z.union(
  [
    text().transform((value) => new Secret(value)),
    z.strictObject({ env: text().describe('Environment variable that holds it.') }),
    z.strictObject({ file: text().describe('File that holds it; relative to the config file.') }),
    z.strictObject({
      command: z.array(text()).min(1).describe('Program and arguments that print it; no shell.'),
    }),
  ],
  { error: 'must be a text, {env: NAME}, {file: PATH} or {command: [PROGRAM, ARGUMENT...]}' },
);

/** Which plugin. */
export const use: z.ZodString = text('the name of a plugin').describe(
  'Short name, full name of a package, or a path that begins with `./`, relative to the config file.',
);

/** Of lists whose items messages, options and what is remembered tell apart by their names. */
export function uniqueNames(
  key: 'repositories' | 'hooks' | 'daemon.peers',
): (list: readonly { readonly name?: string | undefined }[], context: z.RefinementCtx) => void {
  return (list, context) => {
    for (const [at, { name }] of list.entries()) {
      const first = list.findIndex((other) => other.name === name);
      if (first === at || name === undefined) continue;
      const message = `is named "${name}" like ${key}[${first}]: give each a name of its own`;
      context.addIssue({ code: 'custom', path: [at], message });
    }
  };
}
