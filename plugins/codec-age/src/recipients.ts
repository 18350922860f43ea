import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Encrypter } from 'age-encryption';
import { ArchiveError, errnoOf } from '@pgark/sdk';
import { MOST_RECIPIENTS } from './header.ts';

/** Recipients whose header no quantum computer opens. */
const POST_QUANTUM = /^age1(?:pq|tagpq)1/;

/** Why a text is no recipient that the library can write for; undefined when it is one. Never holds the text, which may be a key. */
export function faultOfRecipient(text: string): string | undefined {
  if (/^age-(?:secret-key|plugin)-/i.test(text))
    return 'is a secret key, not a recipient: give what "age-keygen -y" prints for it';
  if (text.startsWith('ssh-')) return 'is an SSH key, which is not supported: make a key with "age-keygen"';
  try {
    new Encrypter().addRecipient(text);
    return undefined;
  } catch {
    const plugin = /^age1([a-z0-9-]+)1/.exec(text)?.[1];
    if (plugin !== undefined && !/^(?:pq|tag|tagpq)$/.test(plugin) && text.length > 70)
      return `needs the age plugin "${plugin}", which is not supported`;
    return 'is not an age recipient ("age1...")';
  }
}

/** Why no object can be written for these together; undefined when it can. Each of them alone is valid. */
export function faultOfRecipients(recipients: readonly string[]): string | undefined {
  const most = `${MOST_RECIPIENTS} recipients`;
  if (recipients.length > MOST_RECIPIENTS) return `there are ${recipients.length} recipients; ${most} are the most`;
  const strong = recipients.filter((recipient) => POST_QUANTUM.test(recipient)).length;
  // The format advises against it and the age command refuses it: the weaker recipient decides for all.
  if (strong > 0 && strong < recipients.length)
    return 'post-quantum recipients (age1pq1...) cannot be mixed with others: an object is as safe as the weakest of them';
  return undefined;
}

/**
 * The recipients in files of one a line, with comments (`#`) and empty lines. Errors: `PLUGIN_OPTIONS` for a file that cannot be
 * read, has none, or has a line that is none.
 */
export async function readRecipientsFiles(files: readonly string[], directory: string): Promise<readonly string[]> {
  const recipients = await Promise.all(files.map((file) => readRecipientsFile(resolve(directory, file))));
  return recipients.flat();
}

async function readRecipientsFile(file: string): Promise<readonly string[]> {
  const refuse = (fault: string): ArchiveError =>
    new ArchiveError('PLUGIN_OPTIONS', `recipients file ${file} ${fault}`, {
      hint: 'Correct the file, or "recipientsFiles" of codec age in the config.',
    });
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw refuse(`cannot be read: ${errnoOf(error) ?? 'unknown'}`);
  });
  const recipients: string[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    const recipient = line.trim();
    if (recipient === '' || recipient.startsWith('#')) continue;
    const fault = faultOfRecipient(recipient);
    if (fault !== undefined) throw refuse(`has a line ${index + 1} that ${fault}`);
    recipients.push(recipient);
  }
  if (recipients.length === 0) throw refuse('holds no recipient');
  return recipients;
}
