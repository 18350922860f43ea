/** A real SMTP server on loopback that keeps what it is sent. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SMTPServer, type SMTPServerOptions, type SMTPServerSession } from 'smtp-server';
import { afterAll, beforeAll, onTestFinished } from 'vitest';
import { CertificateAuthority } from '../../../test/support/certificates.ts';

export interface ReceivedMail {
  readonly from: string;
  readonly to: readonly string[];
  /** Whether it came over TLS, and who had logged in. */
  readonly secure: boolean;
  readonly user: string | undefined;
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** Decoded, unless it has parts. */
  readonly body: string;
}

export interface MailServer {
  readonly port: number;
  readonly mails: readonly ReceivedMail[];
  /** Connections that are open now. */
  readonly connections: () => number;
  readonly close: () => Promise<void>;
}

/** What a server answers: `[450, 'try later']`, or nothing for yes. */
export type Answer = readonly [code: number, text: string] | undefined;

export interface MailServerOptions {
  readonly settings?: SMTPServerOptions;
  readonly onLogin?: (user: string, password: string) => Answer;
  /** Asked when a mail begins to come. */
  readonly onSender?: () => 'cut' | undefined;
  readonly onRecipient?: (address: string) => Answer;
  readonly onMail?: () => Answer | Promise<Answer>;
}

/** What servers of the test file show, and the authority that clients are to trust. */
export interface Certificates {
  /** Holds `ca.crt`. */
  readonly folder: string;
  readonly key: Buffer;
  readonly cert: Buffer;
}

let made: Certificates | undefined;

/** For localhost; made once for a test file. */
export function certificates(): Certificates {
  if (made === undefined) throw new Error('there are certificates only while tests run');
  return made;
}

beforeAll(() => {
  const folder = mkdtempSync(join(tmpdir(), 'pgark-mail-'));
  const files = new CertificateAuthority(folder, 'ca').issue('localhost', {
    alternative: 'DNS:localhost,IP:127.0.0.1',
  });
  made = { folder, key: readFileSync(files.key), cert: readFileSync(files.certificate) };
});
afterAll(() => rmSync(certificates().folder, { recursive: true, force: true }));

/** Starts a server; it ends with the test. */
export async function mailServer(options: MailServerOptions = {}): Promise<MailServer> {
  const { settings = {}, onLogin, onSender, onRecipient, onMail } = options;
  const mails: ReceivedMail[] = [];
  const { key, cert } = certificates();
  const take = async (raw: string, session: SMTPServerSession): Promise<Error | undefined> => {
    const answer = await onMail?.();
    const { mailFrom, rcptTo } = session.envelope;
    if (answer !== undefined) return refusal(answer);
    mails.push({
      from: mailFrom === false ? '' : mailFrom.address,
      to: rcptTo.map(({ address }) => address),
      secure: session.secure,
      user: session.user as string | undefined,
      ...parsed(raw),
    });
    return undefined;
  };
  const server = new SMTPServer({
    key,
    cert,
    disableReverseLookup: true,
    authOptional: onLogin === undefined,
    closeTimeout: 100,
    ...settings,
    onAuth: ({ username, password }, _session, respond) => {
      const answer = onLogin?.(username ?? '', password ?? '');
      respond(refusal(answer) ?? null, answer === undefined ? { user: username } : undefined);
    },
    onMailFrom: (_, session, respond) => {
      if (onSender?.() === 'cut')
        for (const one of server.connections) if (one.id === session.id) one._socket.destroy();
      respond();
    },
    onRcptTo: ({ address }, _session, respond) => respond(refusal(onRecipient?.(address))),
    onData: (stream, session, respond) => {
      let raw = '';
      stream.setEncoding('utf8');
      stream.on('data', (text: string) => (raw += text));
      stream.on('end', () => void take(raw, session).then(respond));
    },
  });
  server.on('error', () => undefined); // a client that leaves is part of the tests
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const close = (): Promise<void> => new Promise((resolve) => server.close(() => resolve()));
  onTestFinished(close);
  return {
    port: (server.server.address() as AddressInfo).port,
    mails,
    connections: () => server.connections.size,
    close,
  };
}

function refusal(answer: Answer): Error | undefined {
  return answer && Object.assign(new Error(answer[1]), { responseCode: answer[0] });
}

function parsed(raw: string): Pick<ReceivedMail, 'headers' | 'body'> {
  const end = raw.indexOf('\r\n\r\n');
  const unfolded = raw.slice(0, end).replaceAll(/\r\n[ \t]+/g, ' ');
  const headers = unfolded.split('\r\n').map((line) => {
    const [, name = line, value = ''] = /^([^:]+): ?(.*)$/.exec(line) ?? [];
    return [name, value] as const;
  });
  const body = raw.slice(end + 4);
  const encoding = headers.find(([name]) => name === 'Content-Transfer-Encoding')?.[1];
  if (encoding === 'base64') return { headers, body: Buffer.from(body, 'base64').toString() };
  return { headers, body: encoding === 'quoted-printable' ? unquoted(body) : body };
}

function unquoted(text: string): string {
  const bytes = text
    .replaceAll('=\r\n', '')
    .replaceAll(/=([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
  return Buffer.from(bytes, 'latin1').toString();
}

/** The one value of a header; undefined for none. Errors: when it is there twice. */
export function header({ headers }: ReceivedMail, name: string): string | undefined {
  const values = headers.filter(([key]) => key.toLowerCase() === name.toLowerCase()).map(([, value]) => value);
  if (values.length > 1) throw new Error(`the header ${name} is there ${values.length} times`);
  return values[0];
}
