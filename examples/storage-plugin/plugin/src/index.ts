import { definePlugin, Secret, type Plugin } from '@pgark/sdk';
import * as z from 'zod';
import { DepotStorage, type DepotStorageOptions } from './depot-storage.ts';

const plugin: Plugin<'storage', DepotStorageOptions> = definePlugin({
  name: 'depot',
  kind: 'storage',
  // Wrapped before the schema sees it, and printed nowhere.
  secrets: ['token'],
  options: z.strictObject({
    url: z.url({ protocol: /^https?$/ }).describe('Address of the depot.'),
    bucket: z
      .string()
      .regex(/^[a-z0-9-]+$/)
      .describe('Name of the bucket, which must be there.'),
    token: z
      .instanceof(Secret as unknown as new () => Secret, { error: 'must be a text' })
      .describe('Token of the depot.'),
    blockSize: z
      .int()
      .min(1000)
      .default(8 * 1024 * 1024)
      .describe('Bytes of an object that are sent by one request; twice as many are held in memory.'),
    idleSeconds: z.number().min(0.1).default(60).describe('Seconds without a byte until a request is given up.'),
  }),
  create: (options) => new DepotStorage(options),
});

export default plugin;
