/** The hooks on the page about them: pgark takes every section and shows none of its secrets, and each delivers what it is told. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exampleEvent, type EventName } from '@pgark/sdk';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { loadConfig } from '../../core/src/config/load.ts';
import { Registry } from '../../core/src/plugins/registry.ts';
import { PATH as DISCORD, startDiscord } from '../../plugins/hook-discord/test/discord-server.ts';
import { CHECK, HealthchecksServer } from '../../plugins/hook-healthchecks/test/healthchecks-server.ts';
import { PATH as SLACK, startSlack } from '../../plugins/hook-slack/test/slack-server.ts';
import { PATH as TEAMS, startTeams } from '../../plugins/hook-teams/test/teams-server.ts';
import { runCli } from '../support/cli.ts';
import { HttpReceiver } from '../support/http-receiver.ts';
import { silentLogger } from '../support/silent-logger.ts';
import { readPage } from './pages.ts';

interface Section {
  readonly use: string;
  readonly events?: readonly EventName[];
  readonly success?: readonly EventName[];
}

const folder = mkdtempSync(join(tmpdir(), 'pgark-notify-'));
const { blocks } = readPage('docs/how-to/notify.md');
const sections = blocks
  .filter(({ language }) => language === 'yaml')
  .flatMap(({ text }) => (parse(here(text)) as { readonly hooks: readonly Section[] }).hooks);

/** The files that the page names, in the folder of the test. */
function here(text: string): string {
  return text.replaceAll(/\/etc\/pgark\/|\/usr\/local\/bin\//g, `${folder}/`);
}

const KEY = 'abcdef0123456789abcdef0123456789';
const receivers: HttpReceiver[] = [];
let env: Readonly<Record<string, string>>;

beforeAll(async () => {
  const [slack, discord, teams, webhook] = await Promise.all([
    startSlack(),
    startDiscord(),
    startTeams(),
    HttpReceiver.listen(),
  ]);
  const { receiver: healthchecks, url: check } = await HealthchecksServer.start();
  receivers.push(slack, discord, teams, webhook, healthchecks);
  env = {
    SLACK_URL: slack.url(SLACK),
    DISCORD_URL: discord.url(DISCORD),
    PAGERDUTY_KEY: KEY,
    BACKUP_CHECK_URL: check,
    DRILL_CHECK_URL: check,
    WEBHOOK_URL: webhook.url(`/hook/${KEY}`),
    WEBHOOK_SECRET: KEY,
    WEBHOOK_TOKEN: `Bearer ${KEY}`,
    NTFY_URL: webhook.url(`/?auth=${KEY}`),
  };
  writeFileSync(join(folder, 'teams.url'), `${teams.url(TEAMS)}\n`, { mode: 0o600 });
  for (const name of ['on-event.sh', 'after-backup.sh', 'may-delete.sh']) {
    writeFileSync(join(folder, name), `#!/bin/sh\necho "$0 $* $PGARK_EVENT_NAME $BARMAN_PHASE" >>told\n`);
    chmodSync(join(folder, name), 0o755);
  }
  const repositories = [{ name: 'primary', storage: { use: 'memory' } }];
  writeFileSync(join(folder, 'pgark.yaml'), stringify({ cluster: 'main', repositories, hooks: sections }));
});
afterAll(async () => {
  await Promise.all(receivers.map((receiver) => receiver.close()));
  rmSync(folder, { recursive: true });
});

test('every hook has its section on the page', () => {
  expect(new Set(sections.map(({ use }) => use))).toEqual(
    new Set(['slack', 'teams', 'discord', 'pagerduty', 'healthchecks', 'webhook', 'exec']),
  );
});

test('H-64 a secret that stands in the config itself is not shown', async () => {
  const references = JSON.stringify(parse(readFileSync(join(folder, 'pgark.yaml'), 'utf8')));
  const literal = references.replaceAll(/\{"env":"(\w+)"\}/g, (_, name: string) => JSON.stringify(env[name]));
  expect(literal).toContain(KEY);
  writeFileSync(join(folder, 'literal.yaml'), literal);
  const explained = await runCli(['config', 'explain', '--config', 'literal.yaml'], { cwd: folder });
  expect(explained).toMatchObject({ code: 0, stderr: '' });
  expect(explained.stdout.match(/\[redacted\]/g)?.length).toBe(Object.keys(env).length + 1);
  for (const secret of [KEY, SLACK, DISCORD, TEAMS, CHECK]) expect(explained.stdout).not.toContain(secret);
});

test('pgark takes each of them, and it delivers', async () => {
  const { config, directory } = await loadConfig({ path: 'pgark.yaml', directory: folder, env });
  const registry = new Registry({ directory, env, logger: silentLogger });
  const { signal } = new AbortController();
  for (const [at, section] of sections.entries()) {
    const configured = config.hooks[at]?.hook ?? expect.unreachable();
    const hook = await registry.createHook(configured);
    // Its address does not stand on the page: the tests of the plugin have a PagerDuty of their own.
    if (section.use === 'pagerduty') continue;
    await hook.handle(exampleEvent((section.success ?? section.events)?.[0] ?? 'backup.failed'), { signal });
    await hook.close();
  }
  expect(receivers.map(({ received }) => received.length)).toEqual([2, 1, 1, 2, 2]);
  expect(readFileSync(join(folder, 'told'), 'utf8')).toBe(
    [
      `${folder}/on-event.sh --verbose backup.finished \n`,
      `${folder}/after-backup.sh  backup.finished post\n`,
      `${folder}/may-delete.sh  expire.planned pre\n`,
    ].join(''),
  );
});

test('the event that is shown is one', () => {
  const shown = blocks.filter(({ language }) => language === 'json').map(({ text }) => JSON.parse(text) as unknown);
  expect(shown).toEqual([exampleEvent('backup.failed')]);
});
