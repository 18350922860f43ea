import { Secret } from '@pgark/sdk';
import { describeHook, HttpHookReceiver } from '@pgark/sdk/testing';
import { __Name__Hook } from '../src/index.ts';

describeHook('__name__', {
  // A real receiver of the protocol on loopback; for another protocol than HTTP bring your own (HookReceiver).
  receiver: () => HttpHookReceiver.start(),
  create: ({ url }) => new __Name__Hook({ url, token: new Secret('not for logs') }),
  // Must be in no error.
  secrets: ['not for logs'],
});
