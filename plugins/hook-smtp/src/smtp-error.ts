import { ArchiveError, oneLine, type Secret } from '@pgark/sdk';
import type { NodemailerError } from 'nodemailer';

/** Characters of what the server said. */
const LONGEST = 500;

export interface FailureOptions {
  /** `mail.example.com:587`. */
  readonly server: string;
  readonly user: string | undefined;
  readonly password: Secret | undefined;
}

/**
 * What became of a mail that was not taken: `HOOK_REJECTED` where the server said for good that it does not take it (5xx), else
 * `HOOK_FAILED`. The library's error is not passed on as cause: it holds what the server said to the login.
 */
export function mailFailure(error: unknown, options: FailureOptions): ArchiveError {
  const { message, code, responseCode, permanent } = error as Partial<NodemailerError>;
  const text = oneLine(withoutSecrets(message ?? String(error), options), LONGEST);
  // Without TLS the mail was never offered, and who answered may not be the server.
  const rejected = permanent === true && code !== 'ETLS';
  return new ArchiveError(
    rejected ? 'HOOK_REJECTED' : 'HOOK_FAILED',
    `mail server ${options.server} ${rejected ? 'refused the mail' : 'did not take the mail'}: ${text}`,
    {
      ...(rejected ? { hint: hintOf(code) } : {}),
      details: {
        ...(code === undefined ? {} : { reason: code }),
        ...(responseCode === undefined ? {} : { responseCode }),
      },
    },
  );
}

function hintOf(code: string | undefined): string {
  if (code === 'EAUTH') return 'Check user and password of the hook, and which ways to log in the server offers.';
  return 'Check the addresses of the hook, and whether the server lets this host and user send to them.';
}

/** Some servers repeat what they were sent: the password as it is, in base64, or as the one text of PLAIN. */
function withoutSecrets(text: string, { user, password }: FailureOptions): string {
  if (password === undefined) return text;
  const value = password.reveal();
  const forms = [value, base64(value), base64(`\0${user ?? ''}\0${value}`)];
  return forms.filter((form) => form !== '').reduce((left, form) => left.replaceAll(form, '[redacted]'), text);
}

function base64(text: string): string {
  return Buffer.from(text, 'utf8').toString('base64');
}
