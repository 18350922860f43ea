import { definePlugin, Secret, type Plugin } from '@pgark/sdk';
import * as z from 'zod';
import { AgeCodec, WORK, type AgeCodecOptions } from './age-codec.ts';
import { makeHeader } from './header.ts';
import { faultOfPassphrase, MOST_WORK } from './passphrase.ts';
import { faultOfRecipient, faultOfRecipients, readRecipientsFiles } from './recipients.ts';

const secret = z.instanceof(Secret as unknown as new () => Secret, { error: 'must be a secret' });
const passphrase = secret.superRefine((given, context) => {
  const fault = faultOfPassphrase(given.reveal());
  if (fault !== undefined) context.addIssue({ code: 'custom', message: fault });
});

const recipient = z.string().superRefine((text, context) => {
  const fault = faultOfRecipient(text.trim());
  if (fault !== undefined) context.addIssue({ code: 'custom', message: fault });
});

const options = z
  .strictObject({
    recipients: z
      .array(recipient.transform((text) => text.trim()))
      .default([])
      .describe('Whom objects are encrypted for, "age1..." or "age1pq1...": each of them can open every object.'),
    recipientsFiles: z
      .array(z.string().min(1))
      .default([])
      .describe("Files with a recipient a line, relative to the config file's folder."),
    passphrase: passphrase.optional().describe('Encrypts and decrypts, in place of recipients.'),
    workFactor: z
      .int()
      .min(10)
      .max(MOST_WORK)
      .default(WORK)
      .describe(
        `Cost of a passphrase: 18, as the age command has it, takes 256 MiB and a second; one more doubles both.`,
      ),
  })
  .superRefine(({ recipients, recipientsFiles, passphrase }, context) => {
    const fault = faultOfRecipients(recipients);
    if (fault !== undefined) context.addIssue({ code: 'custom', path: ['recipients'], message: fault });
    if (passphrase !== undefined && recipients.length + recipientsFiles.length > 0)
      context.addIssue({
        code: 'custom',
        path: ['passphrase'],
        message: 'a passphrase and recipients exclude each other',
      });
  });

interface AgeOptions extends AgeCodecOptions {
  readonly recipients: readonly string[];
  readonly recipientsFiles: readonly string[];
}

const plugin: Plugin<'codec', AgeOptions> = definePlugin({
  name: 'age',
  kind: 'codec',
  suffix: 'age',
  secrets: ['passphrase'],
  options,
  // The files are read here and not with the first object: `keyIds` names whom they name, and a backup should not begin without them.
  create: async ({ recipientsFiles, ...options }, context) => {
    const recipients = [...options.recipients, ...(await readRecipientsFiles(recipientsFiles, context.directory))];
    const codec = new AgeCodec({ ...options, recipients }, context);
    // What has the form of a recipient may still be no point of its curve.
    for (const recipient of new Set(recipients)) await makeHeader([recipient]);
    return codec;
  },
});

export default plugin;
export { AgeCodec, type AgeCodecOptions } from './age-codec.ts';
