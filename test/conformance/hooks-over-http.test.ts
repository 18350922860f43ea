/** The hooks that deliver over HTTP, each to a server that checks what the documentation of the service demands. */
import discord from '@pgark/hook-discord';
import healthchecks from '@pgark/hook-healthchecks';
import pagerduty from '@pgark/hook-pagerduty';
import slack from '@pgark/hook-slack';
import teams from '@pgark/hook-teams';
import webhook from '@pgark/hook-webhook';
import { Secret } from '@pgark/sdk';
import { describeHook } from '@pgark/sdk/testing';
import { PATH as DISCORD, startDiscord, type DiscordMessage } from '../../plugins/hook-discord/test/discord-server.ts';
import { CHECK, HealthchecksServer } from '../../plugins/hook-healthchecks/test/healthchecks-server.ts';
import { PagerDutyServer, ROUTING_KEY } from '../../plugins/hook-pagerduty/test/pagerduty-server.ts';
import { PATH as SLACK, startSlack, type SlackMessage } from '../../plugins/hook-slack/test/slack-server.ts';
import { PATH as TEAMS, startTeams, type TeamsMessage } from '../../plugins/hook-teams/test/teams-server.ts';
import { configuredHook } from '../support/configured-hook.ts';
import { HookService } from '../support/hook-service.ts';
import { HttpReceiver } from '../support/http-receiver.ts';

describeHook('slack', {
  receiver: async () =>
    new HookService(await startSlack(), {
      id: (body) => (body as SlackMessage).blocks[0]?.block_id,
      // Not &lt;: what a text in < and > does, it does not do by this.
      shown: (text) => text.replaceAll('&gt;', '>').replaceAll('&amp;', '&'),
    }),
  create: ({ http }) => configuredHook(slack, { url: new Secret(http.url(SLACK)), mention: ['U012ABCDEF'] }),
  secrets: ['T00000000', 'XXXXXXXXXXXXXXXXXXXXXXXX'],
  active: ['<!channel>', '<!here>', '<@U012345>', '<!subteam^S012345>', '<https://evil.example|click>'],
});

describeHook('discord', {
  receiver: async () =>
    new HookService(await startDiscord(), {
      id: (body) => (body as DiscordMessage).embeds[0]?.footer.text,
      shown: (text) => text.replaceAll(/\\([-:_#+()])/g, '$1'),
    }),
  create: ({ http }) => configuredHook(discord, { url: new Secret(http.url(DISCORD)) }),
  secrets: [DISCORD.split('/').at(-1) ?? ''],
  active: ['<@123456789012345678>', '<#123456789012345678>', '**bold**', '[click](https://evil.example)', '`code`'],
});

describeHook('teams', {
  receiver: async () =>
    new HookService(await startTeams(), {
      id: (body) => (body as TeamsMessage).attachments[0]?.content.body[0]?.id,
    }),
  create: ({ http }) => configuredHook(teams, { url: new Secret(http.url(TEAMS)) }),
  secrets: ['SIGNATUREsignature'],
});

describeHook('pagerduty', {
  receiver: async () =>
    new HookService((await PagerDutyServer.start()).receiver, {
      id: (body) =>
        (body as { readonly payload: { readonly custom_details: { readonly event: string } } }).payload.custom_details
          .event,
    }),
  create: ({ http }) =>
    configuredHook(pagerduty, { routingKey: new Secret(ROUTING_KEY), endpoint: http.url('/v2/enqueue') }),
  sends: ({ severity, condition }) => severity !== 'info' || condition !== undefined,
  secrets: [ROUTING_KEY],
});

describeHook('healthchecks', {
  receiver: async () =>
    new HookService((await HealthchecksServer.start()).receiver, {
      id: (body) => /^event (.*)$/m.exec(String(body))?.[1],
      path: (path) => path.replace(/rid=[0-9a-f-]{36}$/, 'rid='),
    }),
  create: ({ http }) => configuredHook(healthchecks, { url: new Secret(http.url(`/ping/${CHECK}`)) }),
  sends: ({ name }) => ['backup.started', 'backup.finished', 'backup.failed'].includes(name),
  secrets: [CHECK],
});

const SIGNING_KEY = 'a key of at least twenty-four bytes';

const SIGNED = {
  secret: new Secret(SIGNING_KEY),
  headers: [{ name: 'Authorization', value: new Secret('Bearer TOKENtokenTOKEN') }],
};
const TEMPLATE = { body: { text: '{{cluster}}: {{summary}}', event: '{{event}}' } };

for (const [name, options] of [
  ['webhook', SIGNED],
  ['webhook with a template', TEMPLATE],
] as const) {
  describeHook(name, {
    receiver: async () =>
      new HookService(await HttpReceiver.listen(), { id: (_, { headers }) => String(headers['webhook-id']) }),
    create: ({ http }) => configuredHook(webhook, { url: new Secret(http.url('/hook/PATHpathPATH')), ...options }),
    secrets: ['PATHpathPATH', SIGNING_KEY, 'TOKENtokenTOKEN'],
  });
}
