import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { ArchiveError, type ArchiveEvent, type Hook, type HookContext, type PluginContext } from '@pgark/sdk';
import type { SMTPTransportOptions } from 'nodemailer/lib/smtp-transport';
import { parseAddress, type Address } from './address.ts';
import { messageOf } from './message.ts';
import type { SmtpHookOptions } from './options.ts';
import { mailFailure, type FailureOptions } from './smtp-error.ts';

const PORTS = { starttls: 587, implicit: 465, none: 25 } as const;
/** Milliseconds for a connection, a greeting and an answer, where the deadline of the delivery is not sooner. */
const PATIENCE = 60_000;
/** Events of which some recipients have the mail and others not yet. */
const MOST_HALF_SENT = 100;

/** Sends each event as a mail of its own, over a connection of its own. */
export class SmtpHook implements Hook {
  readonly #options: SmtpHookOptions;
  readonly #context: Pick<PluginContext, 'directory' | 'logger'>;
  readonly #recipients: readonly Address[];
  readonly #closing = new AbortController();
  readonly #sending = new Set<Promise<void>>();
  /** By the id of the event: who has its mail already, while others do not. */
  readonly #halfSent = new Map<string, ReadonlySet<string>>();

  constructor(options: SmtpHookOptions, context: Pick<PluginContext, 'directory' | 'logger'>) {
    this.#options = options;
    this.#context = context;
    this.#recipients = options.to.flatMap((text) => parseAddress(text) ?? []);
  }

  async handle(event: ArchiveEvent, { signal }: HookContext): Promise<void> {
    const sent = this.#send(event, AbortSignal.any([signal, this.#closing.signal]));
    this.#sending.add(sent);
    try {
      await sent;
    } finally {
      this.#sending.delete(sent);
    }
  }

  async close(): Promise<void> {
    this.#closing.abort(new ArchiveError('HOOK_FAILED', 'the hook was closed'));
    await Promise.allSettled(this.#sending);
  }

  async #send(event: ArchiveEvent, signal: AbortSignal): Promise<void> {
    const failure = this.#failureOptions();
    if (signal.aborted) throw mailFailure(signal.reason, failure);
    const before = this.#halfSent.get(event.id) ?? new Set();
    const to = this.#recipients.filter(({ address }) => !before.has(address));
    const transport = await this.#transport();
    try {
      const { accepted, rejectedErrors = [] } = await transport.sendMail({
        ...messageOf(event, this.#options, to),
        signal,
      });
      const later = rejectedErrors.find(({ permanent }) => permanent !== true);
      for (const error of rejectedErrors) {
        const { message } = mailFailure(error, failure);
        if (error !== later) this.#context.logger.warn({ event: event.name, to: error.recipient }, message);
      }
      if (later === undefined) {
        this.#halfSent.delete(event.id);
        return;
      }
      this.#remember(event.id, new Set([...before, ...accepted]));
      throw mailFailure(later, failure);
    } catch (error) {
      throw error instanceof ArchiveError ? error : mailFailure(error, failure);
    } finally {
      transport.close();
    }
  }

  /** A further try goes only to those who have no mail: the others would have two. */
  #remember(id: string, taken: ReadonlySet<string>): void {
    this.#halfSent.delete(id);
    this.#halfSent.set(id, taken);
    const [oldest] = this.#halfSent.keys();
    if (this.#halfSent.size > MOST_HALF_SENT && oldest !== undefined) this.#halfSent.delete(oldest);
  }

  async #transport() {
    const { host, tls = 'starttls', port = PORTS[tls], user, password, caFile } = this.#options;
    const settings: SMTPTransportOptions = {
      host,
      port,
      secure: tls === 'implicit',
      requireTLS: tls === 'starttls',
      ignoreTLS: tls === 'none',
      tls: { minVersion: 'TLSv1.2', ...(caFile === undefined ? {} : { ca: await this.#certificates(caFile) }) },
      ...(password === undefined ? {} : { auth: { user, pass: password.reveal() } }),
      connectionTimeout: PATIENCE,
      greetingTimeout: PATIENCE,
      socketTimeout: PATIENCE,
    };
    // Loaded with the first event: most runs have none.
    const { createTransport } = await import('nodemailer');
    return createTransport(settings);
  }

  async #certificates(caFile: string): Promise<Buffer> {
    const path = resolve(this.#context.directory, caFile);
    try {
      return await readFile(path);
    } catch (error) {
      throw new ArchiveError('HOOK_FAILED', `cannot read the certificates in ${path}`, { cause: error });
    }
  }

  #failureOptions(): FailureOptions {
    const { host, tls = 'starttls', port = PORTS[tls], user, password } = this.#options;
    return { server: `${host}:${port}`, user, password };
  }
}
