import { describeHook, testContext, type HookBehaviour, type HookReceiver } from '@pgark/sdk/testing';
import { Secret } from '@pgark/sdk';
import { SmtpHook } from '../src/index.ts';
import { certificates, header, mailServer, type MailServer } from './mail-server.ts';

const PASSWORD = 'hush-hush/42';
const user = 'pgark';

interface MailReceiver extends HookReceiver, Pick<MailServer, 'port'> {}

async function mailReceiver(): Promise<MailReceiver> {
  let behaviour: HookBehaviour = 'accept';
  let attempts = 0;
  const server = await mailServer({
    onLogin: () => undefined,
    onSender: () => {
      // One that is to hang is counted when all of it is here: what an abort finds on the way was sent before.
      if (behaviour !== 'hang') attempts += 1;
      return behaviour === 'cut' ? 'cut' : undefined;
    },
    onRecipient: () => {
      if (behaviour === 'reject') return [550, `5.1.1 unknown, and ${PASSWORD} is no secret here`];
      return behaviour === 'fail' ? [450, '4.2.0 try later'] : undefined;
    },
    onMail: () => {
      if (behaviour !== 'hang') return undefined;
      attempts += 1;
      return new Promise(() => undefined);
    },
  });
  return {
    port: server.port,
    close: server.close,
    behave: (next) => void (behaviour = next),
    attempts: () => attempts,
    received: () =>
      server.mails.map((mail) => {
        const id = header(mail, 'X-Pgark-Event-Id');
        const names = mail.headers.map(([name]) => name);
        return {
          ...(id === undefined ? {} : { id }),
          text: mail.body,
          // A line of the body is one fact, whatever the text in it is.
          shape: JSON.stringify([mail.from, mail.to, names, mail.body.split('\n').length]),
        };
      }),
  };
}

describeHook<MailReceiver>('smtp', {
  receiver: mailReceiver,
  create: ({ port }) =>
    new SmtpHook(
      {
        host: '127.0.0.1',
        port,
        caFile: 'ca.crt',
        user,
        password: new Secret(PASSWORD),
        from: 'pgark@example.com',
        to: ['dba@example.com'],
      },
      testContext({ directory: certificates().folder }),
    ),
  secrets: [PASSWORD],
});
