/** A real SMTP server on loopback that keeps what it is sent. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SMTPServer, type SMTPServerOptions } from 'smtp-server';
import { afterAll, beforeAll, onTestFinished } from 'vitest';
import { CertificateAuthority } from '../../../test/support/certificates.ts';

export interface ReceivedMail {
  readonly from: string;
  readonly to: readonly string[];
  /** Whether it came over TLS, and who had logged in. */
  readonly secure: boolean;
  readonly user: string | undefined;
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** Decoded, if it is quoted-printable. */
  readonly body: string;
}

export interface MailServer {
  readonly port: number;
  readonly mails: readonly ReceivedMail[];
  /** Connections that are open now. */
  readonly connections: () => number;
}

/** What a server answers: `[450, 'try later']`, or nothing for yes. */
export type Answer = readonly [code: number, text: string] | undefined;

export interface MailServerOptions {
  readonly settings?: SMTPServerOptions;
  readonly onLogin?: (user: string, password: string) => Answer;
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
  const { settings = {}, onLogin, onRecipient, onMail } = options;
  const mails: ReceivedMail[] = [];
  const { key, cert } = certificates();
  const server = new SMTPServer({
    key,
    cert,
    disableReverseLookup: true,
    authOptional: onLogin === undefined,
    closeTimeout: 100,
    ...settings,
    onAuth: ({ username, password }, _session, done) => {
      const answer = onLogin?.(username ?? '', password ?? '');
      done(refusal(answer) ?? null, answer === undefined ? { user: username } : undefined);
    },
    onRcptTo: ({ address }, _session, done) => done(refusal(onRecipient?.(address))),
    onData: (stream, session, done) => {
      let raw = '';
      stream.setEncoding('utf8');
      stream.on('data', (text: string) => (raw += text));
      stream.on('end', () => {
        void Promise.resolve(onMail?.()).then((answer) => {
          if (answer === undefined) {
            const { mailFrom, rcptTo } = session.envelope;
            mails.push({
              from: mailFrom === false ? '' : mailFrom.address,
              to: rcptTo.map(({ address }) => address),
              secure: session.secure,
              user: session.user as string | undefined,
              ...parsed(raw),
            });
          }
          done(refusal(answer));
        });
      });
    },
  });
  server.on('error', () => undefined); // a client that leaves is part of the tests
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => new Promise<void>((resolve) => server.close(() => resolve())));
  return {
    port: (server.server.address() as AddressInfo).port,
    mails,
    connections: () => server.connections.size,
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
  return { headers, body: raw.includes('quoted-printable') ? unquoted(body) : body };
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
