import { definePlugin, Secret, type Plugin } from '@pgark/sdk';
import * as z from 'zod';
import { AesGcmCodec, type AesGcmCodecOptions } from './aes-gcm-codec.ts';
import { keyProblems } from './keys.ts';

const key = z.strictObject({
  id: z
    .string({ error: 'must be a text; put what looks like a number in quotes' })
    .describe('Name of the key, 1 to 64 letters, digits, ".", "_", "-"; it stands in the clear in every object.'),
  key: z
    .custom<Secret>((value) => value instanceof Secret, {
      error: 'must be a text, or one of { env: NAME }, { file: PATH }, { command: [PROGRAM, ...] }',
    })
    .describe('32 bytes as base64 or hexadecimal digits.'),
});

const options = z.strictObject({
  keys: z
    .array(key)
    .min(1, { error: 'must hold at least one key' })
    .superRefine((keys, context) => {
      for (const { path, message } of keyProblems(keys)) context.addIssue({ code: 'custom', path: [...path], message });
    })
    .default([])
    .describe('Objects are written with the first key, and read with any.'),
});

const plugin: Plugin<'codec', AesGcmCodecOptions> = definePlugin({
  name: 'aes-gcm',
  kind: 'codec',
  suffix: 'aesgcm',
  secrets: ['keys[].key'],
  options,
  create: (options, context) => new AesGcmCodec(options, context),
});

export default plugin;
export { AesGcmCodec, type AesGcmCodecOptions } from './aes-gcm-codec.ts';
export type { AesGcmKey } from './keys.ts';
