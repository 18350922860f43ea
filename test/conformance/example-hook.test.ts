/** The hook of examples/hook-plugin keeps the contract. */
import { Secret } from '@pgark/sdk';
import { describeHook, HttpHookReceiver, testContext } from '@pgark/sdk/testing';
import plugin from '../../examples/hook-plugin/plugin/src/index.ts';

describeHook('ntfy', {
  receiver: () => HttpHookReceiver.start(),
  create: ({ url }) => plugin.create({ url, topic: 'backups', token: new Secret('tk_secret') }, testContext()),
  carriesId: false,
  secrets: ['tk_secret'],
});
