/** Pieces of documents. In answers, more fields may come with later versions; in requests every unknown one is refused. */
import * as z from 'zod';

export const time = (what: string): z.ZodISODateTime => z.iso.datetime().describe(what);
export const lsn = (what: string): z.ZodString =>
  z
    .string()
    .regex(/^[0-9A-F]{1,8}\/[0-9A-F]{1,8}$/)
    .describe(what);
export const bytes = (what: string): z.ZodInt => z.int().nonnegative().describe(what);
export const seconds = (what: string): z.ZodNumber => z.number().nonnegative().describe(what);
export const timeline: z.ZodInt = z.int().positive();
export const systemId: z.ZodString = z.string().regex(/^\d{1,20}$/);

/** A moment as PostgreSQL writes it, to the microsecond. */
export const moment = (what: string): z.ZodString => z.string().describe(`${what}, as \`2026-11-21 06:00:00.5+00\``);

export const failure: z.ZodObject<{ code: z.ZodString; message: z.ZodString; hint: z.ZodString }> = z.object({
  code: z.string().describe('See the reference of errors.'),
  message: z.string(),
  hint: z.string().describe('What to do.'),
});

export const problem: z.ZodObject<{ code: z.ZodString; message: z.ZodString }> = failure.omit({ hint: true });

export const errorDocument: z.ZodType = z
  .object({ error: failure })
  .meta({ id: 'Error', description: 'Why a request was refused or failed.' });

export const look: z.ZodType = z
  .object({
    began: time('When the look began: what is answered was so then, or later, but for backups and runs.'),
    ended: time('When it ended.'),
    listed: time(
      'When backups and runs were listed: every tenth look, and when the daemon has changed them.',
    ).optional(),
    ageSeconds: seconds('Since it began.'),
    stale: z.boolean().describe('The daemon should have looked again since: what it says may not hold any more.'),
    failures: z.array(failure).describe('What could not be looked at: of that nothing is known.'),
  })
  .meta({ id: 'Look', description: 'Reads answer from the last look of the daemon at a cluster.' });

/** The name of a cluster, repository or hook. */
export const name: z.ZodString = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/);

export const clusterParams: z.ZodObject<{ cluster: z.ZodString }, z.core.$strict> = z.strictObject({
  cluster: name.describe('Its name in the config.'),
});

/** No parameters. */
export const none: z.ZodObject<z.core.$ZodLooseShape, z.core.$strict> = z.strictObject({});

/** A whole number in a query. */
export const number = (least: number, most: number): z.ZodPipe<z.ZodString, z.ZodTransform<number, string>> =>
  z
    .string()
    .regex(/^\d{1,9}$/, { error: 'must be a whole number', abort: true })
    .transform((text, context) => {
      const value = Number(text);
      if (value < least || value > most)
        context.addIssue({ code: 'custom', message: `must be from ${least} to ${most}` });
      return value;
    })
    // For the reference: it is written as a number.
    .meta({ type: 'integer', minimum: least, maximum: most });
