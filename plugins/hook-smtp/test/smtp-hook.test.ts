import { exampleEvent, Secret, type ArchiveEvent } from '@pgark/sdk';
import { testContext } from '@pgark/sdk/testing';
import { describe, expect, test, vi } from 'vitest';
import { optionFaults } from '../../../test/support/configured-hook.ts';
import { documentedHookOptions } from '../../../test/support/documented-hook.ts';
import { readPage } from '../../../test/docs/pages.ts';
import plugin, { SmtpHook, type SmtpHookOptions } from '../src/index.ts';
import { certificates, header, mailServer, type MailServer, type ReceivedMail } from './mail-server.ts';

const PASSWORD = 'hunter2-öß';
const { signal } = new AbortController();

function hookFor({ port }: Pick<MailServer, 'port'>, options: Partial<SmtpHookOptions> = {}): SmtpHook {
  const base = {
    host: '127.0.0.1',
    port,
    tls: 'none' as const,
    from: 'pgark <pgark@example.com>',
    to: ['dba@example.com'],
  };
  return new SmtpHook({ ...base, ...options }, testContext({ directory: certificates().folder }));
}

async function sent(
  server: MailServer,
  event: ArchiveEvent,
  options: Partial<SmtpHookOptions> = {},
): Promise<ReceivedMail> {
  await hookFor(server, options).handle(event, { signal });
  return server.mails.at(-1) as ReceivedMail;
}

const failed: ArchiveEvent = exampleEvent('backup.failed');

describe('the mail', () => {
  test('says what has happened, then the facts', async () => {
    const mail = await sent(await mailServer(), failed);
    expect(mail).toMatchObject({ from: 'pgark@example.com', to: ['dba@example.com'] });
    expect(header(mail, 'From')).toBe('pgark <pgark@example.com>');
    expect(header(mail, 'Subject')).toBe(
      '[pgark main] warning: backup 20261129T010203Z-3f9a failed: repository primary: no space left on the storage',
    );
    expect(header(mail, 'Date')).toBe('Sun, 29 Nov 2026 01:02:03 +0000');
    expect(header(mail, 'Auto-Submitted')).toBe('auto-generated');
    expect(header(mail, 'X-Pgark-Event')).toBe('backup.failed');
    expect(header(mail, 'Content-Type')).toContain('text/plain');
    expect(mail.body.replaceAll('\r\n', '\n'))
      .toBe(`backup 20261129T010203Z-3f9a failed: repository primary: no space left on the storage

cluster    main
host       backup1
event      backup.failed
severity   warning
time       2026-11-29T01:02:03.000Z
condition  backup is open
id         0b7e9a54-6f0c-4d0e-9d53-6a3f5c1d2e4f

id         20261129T010203Z-3f9a
code       STORAGE_FULL
message    repository primary: no space left on the storage
`);
  });

  test('the subject is that of the config; a critical event has a high priority', async () => {
    const server = await mailServer();
    const subject = '{severity} at {cluster} on {host}: {name} {status}';
    const gap = await sent(server, exampleEvent('wal.gap'), { subject });
    expect(header(gap, 'Subject')).toBe('critical at main on backup1: wal.gap critical');
    expect(header(gap, 'Importance')).toBe('High');
    const closed = await sent(server, exampleEvent('receive.connected'), { subject });
    expect(header(closed, 'Subject')).toBe('info at main on backup1: receive.connected recovered');
    expect(header(closed, 'Importance')).toBeUndefined();
  });

  test('HOOK-04 a second delivery has the same Message-ID', async () => {
    const server = await mailServer();
    const [first, second] = [await sent(server, failed), await sent(server, failed)].map((mail) =>
      header(mail, 'Message-ID'),
    );
    expect(first).toBe('<0b7e9a54-6f0c-4d0e-9d53-6a3f5c1d2e4f@example.com>');
    expect(second).toBe(first);
  });

  test('outage and recovery are one thread, also from two processes; other conditions and clusters are others', async () => {
    const server = await mailServer();
    const thread = async (name: 'receive.disconnected' | 'receive.connected' | 'backup.failed', cluster: string) => {
      const mail = await sent(server, exampleEvent(name, { cluster, id: crypto.randomUUID() }));
      expect(header(mail, 'In-Reply-To')).toBe(header(mail, 'References'));
      return header(mail, 'References');
    };
    const outage = await thread('receive.disconnected', 'main');
    expect(outage).toMatch(/^<condition\.[0-9a-f]{32}@example\.com>$/);
    expect(await thread('receive.connected', 'main')).toBe(outage);
    expect(await thread('backup.failed', 'main')).not.toBe(outage);
    expect(await thread('receive.disconnected', 'other')).not.toBe(outage);
    expect(header(await sent(server, exampleEvent('wal.timeline')), 'References')).toBeUndefined();
  });

  test('the event goes along as JSON where that is wanted', async () => {
    const mail = await sent(await mailServer(), failed, { attachJson: true });
    expect(header(mail, 'Content-Type')).toContain('multipart/mixed');
    const part = mail.body.split(/--[-_\w]+/).find((text) => text.includes('filename=event.json')) ?? '';
    const content = part.slice(part.indexOf('\r\n\r\n'));
    const text = /base64/i.test(part) ? Buffer.from(content, 'base64').toString() : content;
    expect(JSON.parse(text)).toEqual(failed);
  });

  test('HOOK-05 an event of a later version is told by its summary and its data', async () => {
    const event = { ...failed, name: 'moon.full', summary: 'the moon is full', data: { phase: { part: 1 }, list: [] } };
    const mail = await sent(await mailServer(), event as unknown as ArchiveEvent);
    expect(mail.body).toMatch(/^the moon is full\r\n[^]*phase +\{"part":1\}\r\nlist +none\r\n$/);
  });

  test('HOOK-06 no text of an event begins a header, adds a recipient or leaves its line', async () => {
    const server = await mailServer();
    const evil = 'x\r\nBcc: evil@example.com\r\n\r\n.\r\nRSET\u2028{host}\u0000\u001B[2J';
    const clean = await sent(server, failed);
    const event = {
      ...failed,
      id: evil,
      name: evil,
      cluster: evil,
      host: evil,
      severity: evil,
      summary: evil,
      condition: { key: evil, state: 'open' },
      data: { [evil]: evil, list: [evil] },
    } as unknown as ArchiveEvent;
    const mail = await sent(server, event);
    expect(mail.to).toEqual(['dba@example.com']);
    const names = ({ headers }: ReceivedMail): readonly string[] => headers.map(([name]) => name);
    expect(names(mail)).toEqual(names(clean));
    expect(header(mail, 'Subject')).toContain('{host}'); // it is no template either
    expect(header(mail, 'Message-ID')).toMatch(/^<event\.[0-9a-f]{32}@example\.com>$/);
    // As many lines as without: a table has one for each fact.
    const lines = mail.body.split('\r\n');
    expect(lines.filter((line) => /^(?:Bcc|RSET|\.$)/.test(line))).toEqual([]);
    expect(server.mails).toHaveLength(2);
  });
});

describe('the connection', () => {
  const login = { user: 'pgark', password: new Secret(PASSWORD) };
  const onLogin = (user: string, password: string): readonly [number, string] | undefined =>
    user === 'pgark' && password === PASSWORD ? undefined : [535, '5.7.8 authentication failed'];

  test.each(['starttls', 'implicit'] as const)('%s: the mail goes over TLS, after the login', async (mode) => {
    const server = await mailServer({
      settings: { secure: mode === 'implicit' },
      onLogin,
    });
    const mail = await sent(server, failed, { tls: mode, caFile: 'ca.crt', ...login });
    expect(mail).toMatchObject({ secure: true, user: 'pgark' });
  });

  test('a server without TLS, or with a certificate of somebody else, is told nothing', async () => {
    const users: string[] = [];
    const watch = (user: string): undefined => void users.push(user);
    const plain = await mailServer({ settings: { disabledCommands: ['STARTTLS'] }, onLogin: watch });
    await expect(sent(plain, failed, { tls: 'starttls', ...login })).rejects.toMatchObject({
      code: 'HOOK_FAILED',
      retriable: true,
      details: { reason: 'ETLS' },
    });
    const other = await mailServer({ onLogin: watch });
    await expect(sent(other, failed, { tls: 'starttls', ...login })).rejects.toMatchObject({ code: 'HOOK_FAILED' });
    await expect(sent(other, failed, { tls: 'starttls', caFile: 'gone.crt', ...login })).rejects.toMatchObject({
      code: 'HOOK_FAILED',
      message: `cannot read the certificates in ${certificates().folder}/gone.crt`,
    });
    expect([...plain.mails, ...other.mails, ...users]).toEqual([]);
  });

  test('HOOK-03, HOOK-06 a wrong password is refused for good, and no error shows it, whatever the server repeats', async () => {
    const wrong = 'wröng-secret';
    const echoes = [wrong, Buffer.from(wrong).toString('base64'), Buffer.from(`\0pgark\0${wrong}`).toString('base64')];
    const server = await mailServer({
      onLogin: () => [535, `no: ${echoes.join(' ')}`],
    });
    const error: unknown = await sent(server, failed, {
      tls: 'starttls',
      caFile: 'ca.crt',
      user: 'pgark',
      password: new Secret(wrong),
    }).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'HOOK_REJECTED', retriable: false, details: { responseCode: 535 } });
    expect((error as Error).message).toContain('[redacted]');
    const all = JSON.stringify([error, Object.getOwnPropertyDescriptors(error), (error as Error).stack]);
    for (const echo of echoes) expect(all).not.toContain(echo);
  });
});

describe('a mail that is not taken', () => {
  test('HOOK-03 5xx is refused for good; 4xx and a dead network are not', async () => {
    const answer = async (options: Parameters<typeof mailServer>[0]): Promise<unknown> =>
      sent(await mailServer(options), failed).catch((reason: unknown) => reason);
    expect(await answer({ onRecipient: () => [550, '5.1.1 no such user'] })).toMatchObject({
      code: 'HOOK_REJECTED',
      retriable: false,
      message: expect.stringMatching(/^mail server 127\.0\.0\.1:\d+ refused the mail: .*no such user/) as unknown,
    });
    expect(await answer({ onMail: () => [554, 'spam'] })).toMatchObject({ code: 'HOOK_REJECTED' });
    expect(await answer({ onRecipient: () => [450, '4.2.0 greylisted'] })).toMatchObject({
      code: 'HOOK_FAILED',
      retriable: true,
    });
    expect(await answer({ onMail: () => [452, 'disk full'] })).toMatchObject({ code: 'HOOK_FAILED', retriable: true });
    expect(
      await answer({
        settings: { onConnect: (_, done) => done(Object.assign(new Error('busy'), { responseCode: 421 })) },
      }),
    ).toMatchObject({ code: 'HOOK_FAILED', retriable: true });
    expect(await sent({ port: 1 } as MailServer, failed).catch((reason: unknown) => reason)).toMatchObject({
      code: 'HOOK_FAILED',
      retriable: true,
      message: expect.stringContaining('ECONNREFUSED') as unknown,
    });
  });

  test('of several recipients one that is to wait gets it at the next try, and the others no second time', async () => {
    let grey = true;
    const server = await mailServer({
      onRecipient: (address) => (address === 'b@example.com' && grey ? [450, 'greylisted'] : undefined),
    });
    const hook = hookFor(server, { to: ['a@example.com', 'b@example.com', 'c@example.com'] });
    await expect(hook.handle(failed, { signal })).rejects.toMatchObject({ code: 'HOOK_FAILED' });
    grey = false;
    await hook.handle(failed, { signal });
    expect(server.mails.map(({ to }) => to)).toEqual([['a@example.com', 'c@example.com'], ['b@example.com']]);
    await hook.handle({ ...failed, id: 'next' }, { signal });
    expect(server.mails.at(-1)?.to).toHaveLength(3);
  });

  test('of several recipients one that does not exist is a warning in the log', async () => {
    const server = await mailServer({
      onRecipient: (address) => (address === 'b@example.com' ? [550, 'unknown'] : undefined),
    });
    const warn = vi.fn<(fields: unknown, message: string) => void>();
    const context = testContext();
    const options = {
      host: '127.0.0.1',
      port: server.port,
      tls: 'none',
      from: 'x@example.com',
      to: ['a@example.com', 'b@example.com'],
    } as const;
    await new SmtpHook(options, { ...context, logger: { ...context.logger, warn } }).handle(failed, { signal });
    expect(server.mails).toMatchObject([{ to: ['a@example.com'] }]);
    expect(warn.mock.calls).toEqual([
      [{ event: 'backup.failed', to: 'b@example.com' }, expect.stringContaining('unknown')],
    ]);
  });

  test('HOOK-02, HOOK-07 an abort and a close end the wait and the connection', async () => {
    let arrived: (() => void) | undefined;
    const server = await mailServer({
      onMail: () => {
        arrived?.();
        return new Promise(() => undefined);
      },
    });
    for (const end of ['abort', 'close'] as const) {
      const hook = hookFor(server);
      const controller = new AbortController();
      const waiting = new Promise<void>((resolve) => (arrived = resolve));
      const handled = hook.handle(failed, { signal: controller.signal }).catch((reason: unknown) => reason);
      await waiting;
      expect(server.connections()).toBe(1);
      if (end === 'abort') controller.abort();
      else await hook.close();
      expect(await handled).toMatchObject({ code: 'HOOK_FAILED' });
      await vi.waitFor(() => expect(server.connections()).toBe(0));
      await hook.close();
    }
    const closed = hookFor(server);
    await closed.close();
    await expect(closed.handle(failed, { signal })).rejects.toMatchObject({ code: 'HOOK_FAILED' });
    await expect(hookFor(server).handle(failed, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'HOOK_FAILED',
    });
    expect(server.mails).toEqual([]);
  });
});

describe('the options', () => {
  const good = { host: 'mail', from: 'a@b.example', to: ['Team <c@d.example>'] };

  test.each([
    [{}, []],
    [
      { from: 'A "B" <a@b.example>, x@y.example' },
      ['from: must be one address: "a@b.example" or "Name <a@b.example>"'],
    ],
    [{ from: 'a@b.example\r\nBcc: x@y.example' }, ['from: must be one address: "a@b.example" or "Name <a@b.example>"']],
    [{ to: [] }, ['to: Too small: expected array to have >=1 items']],
    [{ to: ['nobody'] }, ['to.0: must be one address: "a@b.example" or "Name <a@b.example>"']],
    [{ user: 'u' }, ['password: User and password belong together']],
    [
      { user: 'u', password: new Secret('p'), tls: 'none' },
      ['tls: A password would be sent in the clear: use "starttls" or "implicit"'],
    ],
    [{ user: 'u', password: new Secret('p'), tls: 'none', host: '127.0.0.1' }, []],
    [
      { subject: '{cluster} {secret}' },
      ['subject: has only these placeholders: {cluster}, {host}, {name}, {severity}, {status}, {summary}'],
    ],
    [{ host: 'mail/evil' }, ['host: must be a host name or an address']],
  ])('%j', async (change, expected) => {
    expect((await optionFaults(plugin, { ...good, ...change })) ?? []).toEqual(expected);
  });
});

test('the page shows the mail of the example, and its configs are taken', async () => {
  const page = readPage('docs/how-to/notify-mail.md');
  const mail = await sent(await mailServer(), failed);
  const shown = page.blocks.find(({ language }) => language === 'text')?.text;
  expect(`${header(mail, 'Subject')}\n\n${mail.body.replaceAll('\r\n', '\n')}`).toBe(shown);
  const documented = await documentedHookOptions(page.path, 'smtp', plugin.secrets ?? []);
  expect(documented).not.toEqual([]);
  for (const options of documented) expect(await optionFaults(plugin, options)).toBeUndefined();
});
